//! A certificate and the token that was obtained with it switch together.

use std::pin::pin;
use std::sync::Arc;

use super::lab::{Lab, Running, run, until};
use crate::reload::ReloadOutcome;
use crate::snapshot::{Service, Snapshot};

const CONFIG: &str = "
certificates: { partner: { chain: partner.pem, key: partner.key } }
services:
  payments:
    url: https://localhost
    certificate: partner
    tls: { ca: ca.pem }
    auth: { type: oauth2_client_credentials, token_url: $IDP/token, client_id: me, client_secret: s }
";

fn fingerprint(service: &Service) -> [u8; 32] {
    service.certificate.as_ref().expect("a certificate").leaf.sha256
}

/// Whether the service's connections present the certificate that its token is for, and there is such a token.
fn is_a_pair(service: &Service) -> bool {
    let credential = &service.identities.all()[0].credential;
    credential.slot().is_some_and(|slot| slot.certificate() == Some(fingerprint(service)) && slot.is_live())
}

/// Waits until the new certificate is loaded, published or not.
async fn until_loaded(running: &Running, old: &Snapshot) {
    let loaded = || running.snapshot().certificates[0].leaf.sha256 != old.certificates[0].leaf.sha256;
    until("the load of the new certificate", || loaded().then_some(())).await;
}

async fn start(lab: &Lab) -> Running {
    lab.config(CONFIG);
    let running = lab.run();
    running.until_token("payments").await;
    running
}

#[test]
fn every_published_service_is_a_pair() {
    run(async || {
        let lab = Lab::start().await;
        let running = start(&lab).await;
        let old = running.snapshot();

        lab.rotate("partner");

        let mut publications = 0;
        while fingerprint(&running.service("payments")) == fingerprint(old.service("payments").unwrap()) {
            let mut changed = pin!(running.published.changed());
            changed.as_mut().enable();
            assert!(is_a_pair(&running.service("payments")), "after {publications} publications");
            changed.await;
            publications += 1;
        }
        assert!(is_a_pair(&running.service("payments")), "at last");
        assert!(publications >= 2, "first all else, then the pair: {publications}");
    });
}

#[test]
fn the_old_pair_serves_while_no_new_token_can_be_had() {
    run(async || {
        let lab = Lab::start().await;
        let running = start(&lab).await;
        let (old, old_service) = (running.snapshot(), running.service("payments"));
        lab.idp_works(false);

        lab.rotate("partner");
        until_loaded(&running, &old).await;
        assert!(Arc::ptr_eq(&running.service("payments"), &old_service));

        lab.idp_works(true);
        until("the switch", || (!Arc::ptr_eq(&running.service("payments"), &old_service)).then_some(())).await;
        assert!(is_a_pair(&running.service("payments")));
    });
}

#[test]
fn a_reload_of_the_same_does_not_disturb_a_switch() {
    run(async || {
        let lab = Lab::start().await;
        let running = start(&lab).await;
        let old = running.snapshot();
        lab.idp_works(false);
        lab.rotate("partner");
        until_loaded(&running, &old).await;

        let outcome = running.reloads.request().await;

        assert!(matches!(outcome, ReloadOutcome::Unchanged { .. }), "{outcome:?}");
        lab.idp_works(true);
        until("the switch", || {
            (fingerprint(&running.service("payments")) != fingerprint(old.service("payments")?)).then_some(())
        })
        .await;
    });
}

#[test]
fn a_later_reload_supersedes_a_switch() {
    run(async || {
        let lab = Lab::start().await;
        let running = start(&lab).await;
        let old = running.snapshot();
        lab.idp_works(false);
        lab.rotate("partner");
        until_loaded(&running, &old).await;

        lab.config(&format!("{CONFIG}  orders: {{ url: 'http://localhost' }}\n"));
        until("the other change", || running.snapshot().service("orders").cloned()).await;
        assert!(is_a_pair(&running.service("payments")), "it still waits");

        lab.idp_works(true);
        until("the switch", || {
            (fingerprint(&running.service("payments")) != fingerprint(old.service("payments")?)).then_some(())
        })
        .await;
        assert!(is_a_pair(&running.service("payments")));
        assert!(running.snapshot().service("orders").is_some(), "the switch took nothing back");
    });
}

#[test]
fn a_switch_whose_time_comes_while_the_process_ends_is_not_published() {
    run(async || {
        let lab = Lab::start().await;
        let running = start(&lab).await;
        let (old, old_service) = (running.snapshot(), running.service("payments"));
        lab.idp_works(false);
        lab.rotate("partner");
        until_loaded(&running, &old).await;
        *running.refuse.borrow_mut() = Some("error: the process is draining".to_owned());

        lab.idp_works(true);

        until("the refusal of the switch", || (running.refused.get() > 0).then_some(())).await;
        assert!(Arc::ptr_eq(&running.service("payments"), &old_service));
    });
}

#[test]
fn a_superseded_switch_asks_for_no_more_tokens() {
    run(async || {
        let lab = Lab::start().await;
        let running = start(&lab).await;
        let slot = {
            let service = running.service("payments");
            Arc::downgrade(service.identities.all()[0].credential.slot().expect("a slot"))
        };
        lab.idp_works(false);
        let old = running.snapshot();
        lab.rotate("partner");
        until_loaded(&running, &old).await;
        drop(old);

        lab.config("services: { orders: { url: 'http://localhost' } }\n");

        until("the end of the old token's loop", || slot.upgrade().is_none().then_some(())).await;
    });
}

#[test]
fn a_service_without_a_token_switches_at_once() {
    run(async || {
        let lab = Lab::start().await;
        let (head, _) = CONFIG.split_once("    auth:").unwrap();
        lab.config(head);
        let running = lab.run();
        let old = running.service("payments");

        lab.rotate("partner");

        let new = running.until_generation(2).await;
        assert_ne!(fingerprint(new.service("payments").unwrap()), fingerprint(&old));
    });
}

#[test]
fn a_change_beside_the_rotation_does_not_wait_for_a_token() {
    run(async || {
        let lab = Lab::start().await;
        let running = start(&lab).await;
        lab.idp_works(false);

        lab.rotate("partner");
        lab.config(&format!("{CONFIG}    allow: {{ methods: [GET] }}\n"));

        until("the change", || running.service("payments").allow.as_ref().map(|_| ())).await;
    });
}
