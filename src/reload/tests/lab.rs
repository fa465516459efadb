//! A folder with a config and certificates, a token endpoint that does as it is told, and the task that reloads.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;

use crate::config::{Color, ConfigSource, Overrides};
use crate::credential::Slots;
use crate::demo::certificates::{CertificateAuthority, certificate_pem};
use crate::reload::watch::Watcher;
use crate::reload::{ChangeProcess, Changed, Loaded, Loader, Reloader, Reloads};
use crate::snapshot::{AnyTime, Published, Service, Snapshot};
use crate::telemetry::metrics::Metrics;
use crate::tls;

pub(super) struct Lab {
    folder: TempDir,
    authority: CertificateAuthority,
    idp: Rc<Idp>,
}

/// How the token endpoint answers.
struct Idp {
    address: SocketAddr,
    works: Cell<bool>,
}

/// A process as far as reloads go.
pub(super) struct Running {
    pub(super) published: Arc<Published>,
    pub(super) reloads: Arc<Reloads>,
    /// Refuses the next configs, as an address that can't be bound does.
    pub(super) refuse: Rc<RefCell<Option<String>>>,
    /// How often what was prepared was carried out.
    pub(super) committed: Rc<Cell<usize>>,
    /// Changes that were refused.
    pub(super) refused: Rc<Cell<usize>>,
}

/// Runs a test on a runtime like the background's.
pub(super) fn run<F: Future>(test: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { test().await });
}

/// Waits for a condition.
pub(super) async fn until<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    for _ in 0..1_000 {
        if let Some(seen) = seen() {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within 10 s");
}

impl Lab {
    /// A folder with a certificate called `partner`; the endpoint works.
    pub(super) async fn start() -> Self {
        let authority = CertificateAuthority::new("lab").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let idp = Rc::new(Idp { address: listener.local_addr().unwrap(), works: Cell::new(true) });
        spawn_local(serve(listener, acceptor(&authority), Rc::clone(&idp)));
        let lab = Self { folder: tempfile::tempdir().unwrap(), authority, idp };
        lab.write("ca.pem", &certificate_pem(lab.authority.certificate()));
        lab.rotate("partner");
        lab
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, text.replace("$IDP", &format!("https://localhost:{}", self.idp.address.port()))).unwrap();
    }

    pub(super) fn config(&self, text: &str) {
        self.write("sidekey.yaml", text);
    }

    /// Another certificate of this name, with another key.
    pub(super) fn rotate(&self, name: &str) {
        let issued = self.authority.client(name).unwrap();
        self.write(&format!("{name}.pem"), &certificate_pem(&issued.certificate));
        self.write(&format!("{name}.key"), &issued.key_pem());
    }

    pub(super) fn idp_works(&self, works: bool) {
        self.idp.works.set(works);
    }

    fn loader(&self) -> Loader {
        let source = ConfigSource::Path(self.path("sidekey.yaml"));
        Loader { source, overrides: Overrides::default() }
    }

    /// Loads the config as it stands, which is valid.
    pub(super) fn load(&self, previous: Option<&Snapshot>, slots: &Slots) -> Snapshot {
        let Loaded { snapshot, report, .. } = self.loader().load(previous, slots);
        snapshot.unwrap_or_else(|| panic!("{}", report.render(Color::Plain)))
    }

    /// What is wrong with the config as it stands.
    pub(super) fn complaints(&self) -> String {
        let Loaded { snapshot, report, .. } = self.loader().load(None, &Slots::default());
        assert!(snapshot.is_none(), "the config is valid");
        report.render(Color::Plain)
    }

    /// Starts the task that reloads.
    pub(super) fn run(&self) -> Running {
        let slots = Arc::new(Slots::default());
        let Loaded { snapshot, report, watched } = self.loader().load(None, &slots);
        let snapshot = snapshot.unwrap_or_else(|| panic!("{}", report.render(Color::Plain)));
        let published = Arc::new(Published::new(snapshot));
        let (reloads, queue) = Reloads::new();
        let (refuse, committed, refused) = (Rc::default(), Rc::default(), Rc::default());
        let reloader = Reloader {
            loader: Arc::new(self.loader()),
            published: Arc::clone(&published),
            slots,
            metrics: Arc::new(Metrics::default()),
            reloads: Arc::clone(&reloads),
            queue,
            watcher: Watcher::new(watched),
            spawn: Box::new(|_, task| drop(spawn_local(task))),
            change: change(&refuse, &committed, &refused),
        };
        spawn_local(reloader.run());
        Running { published, reloads, refuse, committed, refused }
    }
}

impl Running {
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.published.current().load_full()
    }

    pub(super) fn service(&self, name: &str) -> Arc<Service> {
        Arc::clone(self.snapshot().service(name).expect("a service of this name"))
    }

    pub(super) async fn until_generation(&self, generation: u64) -> Arc<Snapshot> {
        until("the generation", || Some(self.snapshot()).filter(|snapshot| snapshot.generation == generation)).await
    }

    /// Waits until the service holds a token.
    pub(super) async fn until_token(&self, name: &str) {
        let has_token = || self.service(name).slots().next().is_some_and(|slot| slot.is_live());
        until("a token", || has_token().then_some(())).await;
    }
}

fn change(
    refuse: &Rc<RefCell<Option<String>>>,
    committed: &Rc<Cell<usize>>,
    refused: &Rc<Cell<usize>>,
) -> ChangeProcess {
    let (refuse, committed, refused) = (Rc::clone(refuse), Rc::clone(committed), Rc::clone(refused));
    Rc::new(move |changed, publish| {
        if let Some(error) = &*refuse.borrow() {
            refused.set(refused.get() + 1);
            return Err(error.clone());
        }
        publish(&AnyTime);
        if let Changed::Config(..) = changed {
            committed.set(committed.get() + 1);
        }
        Ok(())
    })
}

fn acceptor(authority: &CertificateAuthority) -> TlsAcceptor {
    let own = authority.server().unwrap();
    let roots = Arc::new(authority.roots().unwrap());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(tls::provider()));
    let builder = ServerConfig::builder_with_provider(Arc::clone(tls::provider()));
    let config = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        .with_single_cert(vec![own.certificate.clone()], own.key())
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, idp: Rc<Idp>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, idp) = (acceptor.clone(), Rc::clone(&idp));
        spawn_local(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let answer = service_fn(move |_| std::future::ready(Ok::<_, Infallible>(idp.answer())));
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
        });
    }
}

impl Idp {
    fn answer(&self) -> Response<Full<Bytes>> {
        let token =
            format!(r#"{{"access_token": "t{}", "token_type": "Bearer", "expires_in": 3600}}"#, fastrand::u64(..));
        let mut answer = Response::new(Full::from(token));
        if !self.works.get() {
            *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        answer
    }
}
