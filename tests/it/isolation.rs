//! No service ever gets what belongs to another: not its credential, not its certificate, not its connection.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use base64::prelude::{BASE64_STANDARD, Engine};
use tokio::task::JoinSet;

use crate::lab::Lab;
use crate::lab::client::{Connection, Request, field};
use crate::lab::fault::{Fault, Received, Reply};
use crate::lab::nginx::Seen;

const SERVICES: usize = 50;
const CLIENTS: usize = 20;
/// `SIDEKEY_TEST_SHUFFLED` makes it more of them, as `./test soak` does.
const REQUESTS: usize = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_shuffled_requests_to_50_services_none_has_a_foreign_credential() {
    let lab = Lab::start().await;
    let idp = Fault::idp(token_named_after_its_client).await;
    let sidekey = lab.sidekey(&config(&idp)).await;
    let connections = Arc::new(Connections::default());
    let wanted = std::env::var("SIDEKEY_TEST_SHUFFLED").ok();
    let requests = wanted.map_or(REQUESTS, |number| number.parse().expect("SIDEKEY_TEST_SHUFFLED is a number"));

    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(send_shuffled(sidekey.address.clone(), client, requests / CLIENTS, connections.clone()));
    }
    let sent: usize = clients.join_all().await.into_iter().sum();

    assert_eq!(sent, requests / CLIENTS * CLIENTS);
    assert_eq!(idp.count(), of_kind(Kind::OAuth2), "one token for each service that has a method with tokens");
    assert!(connections.count() >= SERVICES, "each service has connections of its own");
}

/// How a service authenticates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bearer,
    Basic,
    OAuth2,
}

fn kind(service: usize) -> Kind {
    [Kind::Bearer, Kind::Basic, Kind::OAuth2][service % 3]
}

fn of_kind(wanted: Kind) -> usize {
    (0..SERVICES).filter(|&service| kind(service) == wanted).count()
}

/// Services next to each other differ in method and certificate.
fn certificate(service: usize) -> &'static str {
    ["partner", "other"][service % 2]
}

fn config(idp: &Fault) -> String {
    let mut config = "workers: 8\nservices:\n".to_owned();
    for service in 0..SERVICES {
        let auth = match kind(service) {
            Kind::Bearer => format!("{{ type: bearer, token: static-{service} }}"),
            Kind::Basic => format!("{{ type: basic, username: {}, password: x }}", user(service)),
            Kind::OAuth2 => format!(
                "{{ type: oauth2_client_credentials, token_url: '{}/t', client_id: c{service}, client_secret: s }}",
                idp.url()
            ),
        };
        let certificate = certificate(service);
        writeln!(config, "  s{service}: {{ url: $SERVICE, certificate: {certificate}, auth: {auth} }}").unwrap();
    }
    config
}

/// Base64 keeps such a name recognizable: three letters are four.
fn user(service: usize) -> String {
    format!("{service:03}")
}

fn token_named_after_its_client(request: &Received) -> Reply {
    let authorization = field(&request.head, "authorization").unwrap();
    let token = authorization.strip_prefix("Basic ").unwrap().trim_end_matches('=');
    Reply::json(&serde_json::json!({ "access_token": format!("of-{token}"), "expires_in": 3600 }))
}

/// What the service must see.
fn authorization(service: usize) -> String {
    let encode = |text: String| BASE64_STANDARD.encode(text);
    match kind(service) {
        Kind::Bearer => format!("Bearer static-{service}"),
        Kind::Basic => format!("Basic {}", encode(format!("{}:x", user(service)))),
        Kind::OAuth2 => format!("Bearer of-{}", encode(format!("c{service}:s")).trim_end_matches('=')),
    }
}

/// Which service each connection of nginx's was first used for.
#[derive(Default)]
struct Connections(Mutex<HashMap<String, usize>>);

impl Connections {
    #[track_caller]
    fn check(&self, connection: &str, service: usize) {
        let mut owners = self.0.lock().unwrap();
        let owner = *owners.entry(connection.to_owned()).or_insert(service);
        assert_eq!(owner, service, "connection {connection} carried requests of two services");
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

async fn send_shuffled(server: String, client: usize, requests: usize, connections: Arc<Connections>) -> usize {
    let mut random = fastrand::Rng::with_seed(client as u64);
    let mut connection = Connection::open(&server).await;
    for number in 0..requests {
        let service = random.usize(..SERVICES);
        // What an app sends under the same name must not get through either.
        let request = Request::get(&format!("/s{service}/{number}")).field("authorization", "Bearer of-the-app");
        check(&connection.send(request).await.at_service(), service, &connections);
    }
    requests
}

#[track_caller]
fn check(seen: &Seen, service: usize, connections: &Connections) {
    assert_eq!(seen.authorization, authorization(service), "at service {service}");
    assert_eq!(seen.subject, format!("CN={}", certificate(service)), "at service {service}");
    connections.check(&seen.connection, service);
}
