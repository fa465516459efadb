//! A whole world in one process: a CA, a token endpoint, a service that wants mutual TLS and a bound token, and the
//! config that leads Sidekey to both.
//!
//! Everything listens on free loopback ports and is made anew at each start; the files lie in a private folder that
//! is removed when the [`Demo`] is dropped.
//!
//! ```text
//!  app ── HTTP ──► Sidekey ── mutual TLS, Bearer … ──► service
//!                     │
//!                     └────── client id and secret ──► token endpoint
//! ```

pub(crate) mod certificates;
mod endpoint;
mod folder;
mod idp;
mod service;
#[cfg(test)]
mod tests;
mod token;

use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;

use self::certificates::{CertificateAuthority, certificate_pem};
use self::endpoint::{ClientCertificatePolicy, DemoServer, server_tls};
use self::folder::Folder;
use self::idp::{Idp, TOKEN_PATH};
use self::service::DemoService;
use self::token::TokenSigner;
use crate::hex::hex;
use crate::secret::Secret;

/// A token endpoint and a service that run until this is dropped.
pub struct Demo {
    folder: Folder,
    #[allow(dead_code, reason = "held for what its drop does")]
    idp: DemoServer,
    #[allow(dead_code, reason = "held for what its drop does")]
    service: DemoServer,
}

impl Demo {
    /// Starts both on the runtime that this is called on, and writes the config.
    ///
    /// # Errors
    /// When nothing can be written to the folder for temporary files, or loopback has no port left.
    pub async fn start() -> Result<Self, Error> {
        let authority = CertificateAuthority::new("Sidekey demo CA")?;
        let server = authority.server()?;
        let signer = TokenSigner::new()?;
        let client_secret = random_hex()?;

        let service = DemoService { audience: AUDIENCE.to_owned(), verifier: signer.verifier() };
        let service_tls = server_tls(&authority, &server, ClientCertificatePolicy::Required)?;
        let service = DemoServer::start(service_tls, service).await?;

        let idp = Idp {
            client_id: CLIENT.to_owned(),
            client_secret: Secret::new(client_secret.clone()),
            audience: AUDIENCE.to_owned(),
            scope: SCOPE.to_owned(),
            signer,
        };
        let idp_tls = server_tls(&authority, &server, ClientCertificatePolicy::Optional)?;
        let idp = DemoServer::start(idp_tls, idp).await?;

        let folder = write_files(&authority, &client_secret, &config(&service, &idp))?;
        Ok(Self { folder, idp, service })
    }

    /// The config: one service, [`Demo::SERVICE`], and listeners on free ports.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join(CONFIG)
    }

    /// Where the config and the files that it names are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The name of the service in the config.
    pub const SERVICE: &'static str = "demo";
}

/// Why the demo can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate can't be made.
    #[error("a certificate can't be made")]
    Certificate(#[from] rcgen::Error),
    /// The key that signs tokens, or a random number, can't be had.
    #[error("the system gives no random numbers for a key")]
    SigningKey,
    /// TLS does not take the certificates just made.
    #[error("the demo's TLS can't be set up")]
    Tls(#[from] rustls::Error),
    /// TLS does not take the CA just made.
    #[error("the demo's CA can't be used")]
    Authority(#[from] rustls::server::VerifierBuilderError),
    /// A loopback port can't be opened.
    #[error("the demo can't listen on loopback")]
    Listen(#[source] io::Error),
    /// The folder or a file in it can't be written.
    #[error("can't write {}", path.display())]
    Write {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

fn write_files(authority: &CertificateAuthority, client_secret: &str, config: &str) -> Result<Folder, Error> {
    let app = authority.client(CLIENT)?;
    let folder = Folder::new()?;
    folder.write("ca.pem", &certificate_pem(authority.certificate()))?;
    folder.write("app.pem", &certificate_pem(&app.certificate))?;
    folder.write("app.key", &app.key_pem())?;
    folder.write("client-secret", client_secret)?;
    folder.write(CONFIG, config)?;
    Ok(folder)
}

fn config(service: &DemoServer, idp: &DemoServer) -> String {
    format!(
        "\
listen: 127.0.0.1:0
admin: {{ listen: 127.0.0.1:0 }}

certificates:
  {CLIENT}:
    title: Demo client certificate
    chain: app.pem
    key: app.key

services:
  {name}:
    title: OAuth2 + mTLS Certificate
    url: https://{service}
    certificate: {CLIENT}
    auth:
      type: oauth2_client_credentials
      token_url: https://{idp}{TOKEN_PATH}
      client_id: {CLIENT}
      client_secret: {{ file: client-secret }}
      scope: {SCOPE}
    tls: {{ ca: ca.pem }}
",
        name = Demo::SERVICE,
        service = service.address,
        idp = idp.address,
    )
}

fn random_hex() -> Result<String, Error> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| Error::SigningKey)?;
    Ok(hex(&bytes))
}

const CONFIG: &str = "sidekey.yaml";
const CLIENT: &str = "demo-app";
const SCOPE: &str = "orders.read";
const AUDIENCE: &str = "https://demo.sidekey.example";
