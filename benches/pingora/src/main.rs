//! The least proxy that does with Pingora what `benches/peers` asks of every peer: plain HTTP/1.1 in, the path's prefix
//! exchanged, a bearer token added, mutual TLS out over connections that are kept.
//!
//! `pingora-peer SETTINGS`: a file of `name=value` lines, which `benches/peers/pingora.py` writes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::{env, fs, process};

use async_trait::async_trait;
use pingora::http::RequestHeader;
use pingora::protocols::ALPN;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::CertKey;

fn main() {
    let Some(path) = env::args().nth(1) else { fail("usage: pingora-peer SETTINGS") };
    let Err(error) = serve(&path);
    fail(&format!("{path}: {error}"))
}

fn serve(path: &str) -> Result<Infallible, Box<dyn Error>> {
    let settings = Settings::read(path)?;
    let conf = ServerConf {
        threads: settings.value("threads")?.parse()?,
        ca_file: Some(settings.value("ca")?.to_owned()),
        upstream_keepalive_pool_size: settings.value("pool")?.parse()?,
        ..ServerConf::default()
    };

    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Peer::new(&settings)?);
    service.add_tcp(settings.value("listen")?);
    server.add_service(service);
    server.run_forever()
}

struct Peer {
    /// What every request goes to; each gets a copy.
    service: HttpPeer,
    authority: String,
    authorization: String,
}

impl Peer {
    fn new(settings: &Settings) -> Result<Self, Box<dyn Error>> {
        let certificate = vec![fs::read(settings.value("certificate")?)?];
        let key = fs::read(settings.value("key")?)?;
        let address = settings.value("service")?;
        let mut service = HttpPeer::new_mtls(address, "localhost".to_owned(), Arc::new(CertKey::new(certificate, key)));
        service.options.alpn = match settings.value("protocol")? {
            "2" => ALPN::H2,
            _ => ALPN::H1,
        };
        Ok(Self {
            service,
            authority: settings.value("authority")?.to_owned(),
            authorization: format!("Bearer {}", settings.value("token")?),
        })
    }
}

#[async_trait]
impl ProxyHttp for Peer {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(self.service.clone()))
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        _: &mut (),
    ) -> pingora::Result<()> {
        let asked = request.uri.path_and_query().map_or("", |asked| asked.as_str());
        // Anything else goes on as it is, and the service answers 403.
        if let Some(rest) = asked.strip_prefix("/payments") {
            let sent = format!("/v1{rest}");
            request.set_raw_path(sent.as_bytes())?;
        }
        request.insert_header("host", self.authority.as_str())?;
        request.insert_header("authorization", self.authorization.as_str())
    }
}

struct Settings(HashMap<String, String>);

impl Settings {
    fn read(path: &str) -> Result<Self, Box<dyn Error>> {
        let text = fs::read_to_string(path)?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Ok(Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    fn value(&self, name: &str) -> Result<&str, String> {
        self.0.get(name).map(String::as_str).ok_or_else(|| format!("no `{name}`"))
    }
}

fn fail(why: &str) -> ! {
    eprintln!("pingora-peer: {why}");
    process::exit(2)
}
