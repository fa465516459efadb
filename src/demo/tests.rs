//! Token endpoint and service, asked as a stranger would: over HTTPS, with the files of the demo's folder.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;
use crate::config::{self, ConfigSource, Inputs, Secrets};
use crate::tls;

/// A client of the demo, with or without the app's certificate.
struct Client(TlsConnector);

impl Client {
    fn with_certificate(demo: &Demo) -> Self {
        let chain = CertificateDer::from_pem_file(demo.folder().join("app.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(demo.folder().join("app.key")).unwrap();
        Self::new(builder(demo).with_client_auth_cert(vec![chain], key).unwrap())
    }

    fn without_certificate(demo: &Demo) -> Self {
        Self::new(builder(demo).with_no_client_auth())
    }

    fn new(config: ClientConfig) -> Self {
        Self(TlsConnector::from(Arc::new(config)))
    }

    async fn send(&self, to: SocketAddr, request: Request<String>) -> Result<(StatusCode, Value), String> {
        let stream = TcpStream::connect(to).await.unwrap();
        let stream = self.0.connect(ServerName::from(to.ip()), stream).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let answer = match sender.send_request(request.map(Full::<bytes::Bytes>::from)).await {
            Ok(answer) => answer,
            // What the server thinks of a certificate comes after the handshake, and hyper tells why in its source.
            Err(error) => return Err(format!("{error:?}")),
        };
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        connection.abort();
        Ok((status, serde_json::from_slice(&body).unwrap()))
    }
}

fn builder(demo: &Demo) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(demo.folder().join("ca.pem")).unwrap()).unwrap();
    ClientConfig::builder_with_provider(Arc::clone(tls::provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
}

fn client_secret(demo: &Demo) -> String {
    fs::read_to_string(demo.folder().join("client-secret")).unwrap()
}

fn token_request(form: &str) -> Request<String> {
    Request::post("/token").header("content-type", "application/x-www-form-urlencoded").body(form.to_owned()).unwrap()
}

async fn token(demo: &Demo, client: &Client) -> String {
    let form = format!("grant_type=client_credentials&client_id={CLIENT}&client_secret={}", client_secret(demo));
    let (status, answer) = client.send(demo.idp.address, token_request(&form)).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

fn order(token: &str) -> Request<String> {
    let authorization = format!("Bearer {token}");
    Request::builder()
        .method(Method::PUT)
        .uri("/orders?x=1")
        .header(AUTHORIZATION, authorization)
        .body(String::new())
        .unwrap()
}

#[tokio::test]
async fn a_bound_token_and_its_certificate_open_the_service() {
    let demo = Demo::start().await.unwrap();
    let client = Client::with_certificate(&demo);
    let token = token(&demo, &client).await;

    let (status, saw) = client.send(demo.service.address, order(&token)).await.unwrap();

    assert_eq!(status, StatusCode::OK, "{saw}");
    assert_eq!(saw["method"], "PUT");
    assert_eq!(saw["path"], "/orders?x=1");
    assert_eq!(saw["client_certificate"], "CN=demo-app");
    assert!(saw["authorization"].as_str().unwrap().starts_with("Bearer eyJ"), "{saw}");
    assert_eq!(saw["scope"], "orders.read");
    assert_eq!(saw["lifetime"], "300 s");
    assert!(!saw.to_string().contains(&token), "the token is shown whole");
}

#[tokio::test]
async fn the_service_refuses_who_shows_no_certificate() {
    let demo = Demo::start().await.unwrap();
    let client = Client::without_certificate(&demo);
    let token = token(&demo, &client).await;

    let error = client.send(demo.service.address, order(&token)).await.unwrap_err();

    assert!(error.contains("CertificateRequired"), "{error}");
}

#[tokio::test]
async fn the_service_refuses_a_token_that_is_bound_to_nothing() {
    let demo = Demo::start().await.unwrap();
    let unbound = token(&demo, &Client::without_certificate(&demo)).await;

    let client = Client::with_certificate(&demo);
    let (status, answer) = client.send(demo.service.address, order(&unbound)).await.unwrap();

    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer["error_description"], "the token is bound to another certificate, or to none");
}

#[tokio::test]
async fn the_service_refuses_a_token_that_somebody_else_signed() {
    let (demo, other) = (Demo::start().await.unwrap(), Demo::start().await.unwrap());
    let foreign = token(&other, &Client::without_certificate(&other)).await;

    let client = Client::with_certificate(&demo);
    for token in [foreign.as_str(), "no-jwt", "a.b.c"] {
        let (status, answer) = client.send(demo.service.address, order(token)).await.unwrap();

        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer["error_description"], "the token was not issued by the demo's token endpoint", "{token}");
    }
}

#[tokio::test]
async fn the_token_endpoint_takes_basic_and_post_but_not_both() {
    let demo = Demo::start().await.unwrap();
    let client = Client::without_certificate(&demo);
    let secret = client_secret(&demo);
    let basic = format!("Basic {}", STANDARD.encode(format!("demo%2Dapp:{secret}")));
    let form = "grant_type=client_credentials";

    let mut by_basic = token_request(form);
    by_basic.headers_mut().insert(AUTHORIZATION, basic.parse().unwrap());
    let (status, answer) = client.send(demo.idp.address, by_basic).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["expires_in"], 300);
    assert_eq!(answer["scope"], "orders.read");

    let mut by_both = token_request(&format!("{form}&client_id={CLIENT}&client_secret={secret}"));
    by_both.headers_mut().insert(AUTHORIZATION, basic.parse().unwrap());
    let (status, answer) = client.send(demo.idp.address, by_both).await.unwrap();
    assert_eq!((status, &answer["error"]), (StatusCode::BAD_REQUEST, &Value::from("invalid_request")));
}

#[tokio::test]
async fn the_token_endpoint_rejects_as_the_rfc_says() {
    let demo = Demo::start().await.unwrap();
    let client = Client::without_certificate(&demo);
    let right = format!("client_id={CLIENT}&client_secret={}", client_secret(&demo));
    let cases = [
        (format!("grant_type=client_credentials&client_id={CLIENT}&client_secret=wrong"), 401, "invalid_client"),
        ("grant_type=client_credentials".to_owned(), 401, "invalid_client"),
        (format!("grant_type=password&{right}"), 400, "unsupported_grant_type"),
        (format!("grant_type=client_credentials&scope=everything&{right}"), 400, "invalid_scope"),
        (format!("grant_type=client_credentials&grant_type=password&{right}"), 400, "invalid_request"),
        (right.clone(), 400, "invalid_request"),
    ];

    for (form, status, error) in cases {
        let (seen, answer) = client.send(demo.idp.address, token_request(&form)).await.unwrap();

        assert_eq!((seen.as_u16(), answer["error"].as_str()), (status, Some(error)), "{form}");
    }
}

#[tokio::test]
async fn the_folder_is_private_and_goes_away_with_the_demo() {
    let demo = Demo::start().await.unwrap();
    let folder = demo.folder().to_owned();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;

    assert_eq!(mode(&folder), 0o700);
    for file in ["app.key", "client-secret", "sidekey.yaml"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
    drop(demo);
    assert!(!folder.exists());
}

#[tokio::test]
async fn connections_are_closed_once_the_demo_is_dropped() {
    let demo = Demo::start().await.unwrap();
    let mut to_idp = TcpStream::connect(demo.idp.address).await.unwrap();
    let mut to_service = TcpStream::connect(demo.service.address).await.unwrap();

    drop(demo);

    for stream in [&mut to_idp, &mut to_service] {
        let end = stream.read_u8().await.unwrap_err();
        assert!(matches!(end.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{end}");
    }
}

#[tokio::test]
async fn the_config_has_nothing_to_complain_about() {
    let demo = Demo::start().await.unwrap();

    let (config, report) = config::load(&ConfigSource::Path(demo.config_path()), &Inputs::new(Secrets::Read));

    let said: Vec<_> = report.diagnostics().iter().map(|diagnostic| diagnostic.message.clone()).collect();
    assert_eq!(said, [""; 0]);
    assert!(config.unwrap().services.contains_key(Demo::SERVICE));
}
