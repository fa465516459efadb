//! TLS sessions: a new connection of a service goes on with the session of an earlier one, and never with that of
//! another service, another certificate, or another time.

use crate::lab::client::Request;
use crate::lab::nginx::Seen;
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, until};

/// One request after which nginx closes the connection, so that the next needs a new one.
async fn last(sidekey: &Sidekey, service: &str) -> Seen {
    sidekey.get(&format!("/{service}/last")).await.at_service()
}

/// Makes connections until one resumes a session.
async fn until_resumed(sidekey: &Sidekey, service: &str) -> Seen {
    until("a resumed session", async || Some(last(sidekey, service).await).filter(|seen| seen.resumed)).await
}

#[tokio::test]
async fn a_services_second_connection_resumes_its_session_and_shows_its_certificate() {
    let lab = Lab::start().await;
    for service in ["$SERVICE", "$SERVICE_TLS12"] {
        let sidekey =
            lab.sidekey(&format!("services: {{ payments: {{ url: {service}, certificate: partner }} }}")).await;

        let first = last(&sidekey, "payments").await;
        let second = last(&sidekey, "payments").await;
        let third = last(&sidekey, "payments").await;

        assert_eq!([first.resumed, second.resumed, third.resumed], [false, true, true], "{service}");
        assert!(first.connection != second.connection && second.connection != third.connection);
        for seen in [first, second, third] {
            assert_eq!((seen.subject.as_str(), seen.fingerprint), ("CN=partner", lab.partner.fingerprint()));
        }
    }
}

#[tokio::test]
async fn a_session_that_one_worker_began_is_resumed_by_another() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey("workers: 2\nservices: { payments: { url: $SERVICE, certificate: partner } }").await;
    // Two connections of apps, and a worker each: the one with the fewest gets the next.
    let (mut one, mut other) = (sidekey.connect().await, sidekey.connect().await);
    let kept = Request::get("/payments/kept").to_bytes(&sidekey.address);

    one.write(&kept).await;
    let began = one.answer().await.at_service();
    other.write(&kept).await;
    let resumed = other.answer().await.at_service();

    assert_ne!(began.connection, resumed.connection);
    assert_eq!((began.resumed, resumed.resumed), (false, true));
}

#[tokio::test]
async fn no_session_is_resumed_by_another_service_or_with_another_certificate() {
    for service in ["$SERVICE", "$SERVICE_TLS12"] {
        let lab = Lab::start().await;
        let config = "
services:
  one: { url: $SERVICE, certificate: partner }
  twin: { url: $SERVICE, certificate: partner }
  two: { url: $SERVICE, certificate: other }
  none: { url: $SERVICE }
";
        let sidekey = lab.sidekey(&config.replace("$SERVICE", service)).await;
        until_resumed(&sidekey, "one").await;

        let [twin, two] = [last(&sidekey, "twin").await, last(&sidekey, "two").await];

        assert_eq!((twin.resumed, two.resumed), (false, false), "{service}");
        // nginx takes the certificate out of the session where one is resumed: it would be the neighbour's.
        assert_eq!(two.subject, "CN=other");
        assert_eq!(until_resumed(&sidekey, "two").await.subject, "CN=other");
        assert_eq!(until_resumed(&sidekey, "one").await.subject, "CN=partner");
        assert_eq!(sidekey.get("/none/last").await.status_of_service(), 400);
    }
}

#[tokio::test]
async fn no_session_outlives_the_rotation_of_its_certificate() {
    let lab = Lab::start().await;
    let sidekey = lab.sidekey("services: { payments: { url: $SERVICE, certificate: partner } }").await;
    until_resumed(&sidekey, "payments").await;

    let rotated = lab.rotate("partner").fingerprint();

    let is_new = |seen: &Seen| seen.fingerprint == rotated;
    let first = until("the new certificate", async || Some(last(&sidekey, "payments").await).filter(is_new)).await;
    assert!(!first.resumed);
    assert_eq!(until_resumed(&sidekey, "payments").await.fingerprint, rotated);
}

#[tokio::test]
async fn no_session_outlives_the_trust_in_its_service() {
    let lab = Lab::start().await;
    lab.write("tls/trust.pem", &lab.ca.pem);
    let sidekey = lab
        .sidekey("services: { payments: { url: $SERVICE, certificate: partner, tls: { ca: tls/trust.pem } } }")
        .await;
    until_resumed(&sidekey, "payments").await;
    let generation = sidekey.generation().await;

    lab.write("tls/trust.pem", &std::fs::read_to_string(lab.path("tls/stranger-ca.pem")).unwrap());
    sidekey.until_reloaded_since(generation).await;

    // A session that is resumed asks for no certificate of the service: nothing would be seen of the change.
    sidekey.get("/payments/last").await.problem("tls_certificate_error");
}

#[tokio::test]
async fn sessions_are_kept_by_a_reload_that_does_not_concern_them() {
    let lab = Lab::start().await;
    let one = "services:\n  payments: { url: $SERVICE, certificate: partner }\n";
    let sidekey = lab.sidekey(one).await;
    until_resumed(&sidekey, "payments").await;
    let generation = sidekey.generation().await;

    sidekey.rewrite(&lab, &format!("{one}  refunds: {{ url: $SERVICE, certificate: other }}\n"));
    sidekey.until_reloaded_since(generation).await;

    assert!(last(&sidekey, "payments").await.resumed);
}
