//! Publish the new, or keep the old.

use std::sync::Arc;

use super::lab::{Lab, run, until};
use crate::reload::ReloadOutcome;

const ONE: &str = "services: { payments: { url: 'http://localhost' } }\n";
const TWO: &str = "services: { payments: { url: 'http://localhost' }, orders: { url: 'http://localhost:81' } }\n";

#[test]
fn a_changed_file_is_published_by_itself() {
    run(async || {
        let lab = Lab::start().await;
        lab.config(ONE);
        let running = lab.run();

        lab.config(TWO);

        let snapshot = running.until_generation(2).await;
        assert!(snapshot.service("orders").is_some());
        let history = running.reloads.history();
        assert_eq!((history.count_applied, history.applied[0].generation), (1, 2));
        assert_eq!(history.applied[0].difference.lines(), ["service `orders` added"]);
        assert_eq!(running.committed.get(), 1);
    });
}

#[test]
fn a_config_that_cannot_be_used_changes_nothing_and_says_why() {
    run(async || {
        let lab = Lab::start().await;
        lab.config(ONE);
        let running = lab.run();
        let before = running.snapshot();

        for (broken, why) in [
            ("services: { payments: { url: http } }", "sidekey.yaml:1:"),
            ("", "sidekey.yaml"),
            ("servcies: {}", "services"),
        ] {
            lab.config(broken);
            let outcome = running.reloads.request().await;

            let ReloadOutcome::Refused { error } = outcome else { panic!("{broken:?} was taken: {outcome:?}") };
            assert!(error.contains(why), "{broken:?}: {error}");
            assert_eq!(running.reloads.history().last_error, Some(error));
            assert!(Arc::ptr_eq(&before, &running.snapshot()), "{broken:?}");
        }
    });
}

#[test]
fn a_vanished_config_changes_nothing_and_may_come_back() {
    run(async || {
        let lab = Lab::start().await;
        lab.config(ONE);
        let running = lab.run();

        std::fs::remove_file(lab.path("sidekey.yaml")).unwrap();
        until("a refusal", || running.reloads.history().last_error).await;
        assert_eq!(running.snapshot().generation, 1);

        lab.config(TWO);
        running.until_generation(2).await;
        assert_eq!(running.reloads.history().last_error, None);
    });
}

#[test]
fn the_same_again_is_no_new_generation() {
    run(async || {
        let lab = Lab::start().await;
        lab.config(ONE);
        let running = lab.run();

        let outcome = running.reloads.request().await;

        assert_eq!(outcome, ReloadOutcome::Unchanged { generation: 1 });
        assert_eq!(running.reloads.history().count_unchanged, 1);
        assert_eq!(running.committed.get(), 0);
    });
}

#[test]
fn what_cannot_be_prepared_refuses_the_whole_reload() {
    run(async || {
        let lab = Lab::start().await;
        lab.config(ONE);
        let running = lab.run();
        *running.refuse.borrow_mut() = Some("error: 127.0.0.1:1 is in use".to_owned());

        lab.config(TWO);
        let refused = running.reloads.request().await;
        assert_eq!(refused, ReloadOutcome::Refused { error: "error: 127.0.0.1:1 is in use".to_owned() });
        assert!(running.snapshot().service("orders").is_none());

        *running.refuse.borrow_mut() = None;
        let applied = running.reloads.request().await;
        assert_eq!(applied, ReloadOutcome::Applied { generation: 2 });
        assert_eq!(running.committed.get(), 1);
    });
}

#[test]
fn whoever_asks_while_a_reload_runs_gets_an_answer_of_their_own() {
    run(async || {
        let lab = Lab::start().await;
        lab.config(ONE);
        let running = lab.run();
        lab.config(TWO);

        let (first, second) = tokio::join!(running.reloads.request(), running.reloads.request());

        assert_eq!(first, ReloadOutcome::Applied { generation: 2 });
        assert!(
            matches!(second, ReloadOutcome::Applied { generation: 2 } | ReloadOutcome::Unchanged { generation: 2 }),
            "{second:?}"
        );
    });
}

#[test]
fn the_last_twenty_differences_are_kept() {
    run(async || {
        let lab = Lab::start().await;
        lab.config(ONE);
        let running = lab.run();

        for change in 0..22 {
            lab.config(if change % 2 == 0 { TWO } else { ONE });
            running.reloads.request().await;
            running.until_generation(change + 2).await;
        }

        let generations: Vec<_> = running.reloads.history().applied.iter().map(|reload| reload.generation).collect();
        assert_eq!(generations, (4..=23).collect::<Vec<_>>());
    });
}

const FROM_COMMAND: &str = "services:
  orders: { url: 'http://localhost', auth: { type: bearer, token: { command: [cat, secret] } } }
";

#[test]
fn a_command_that_fails_at_the_start_leaves_its_service_without_credential_until_it_works() {
    run(async || {
        let lab = Lab::start().await;
        lab.config(FROM_COMMAND);
        let running = lab.run();
        let unavailable = || {
            let orders = running.service("orders");
            orders.identities.all()[0].credential.unavailable().map(str::to_owned)
        };
        let reason = "the command `cat` ended with status 1: cat: secret: No such file or directory";
        assert_eq!(unavailable().as_deref(), Some(reason));

        lab.config(&format!("{FROM_COMMAND}# later\n"));
        let outcome = running.reloads.request().await;
        assert_eq!(outcome, ReloadOutcome::Unchanged { generation: 1 }, "what fails is no reason to refuse all else");
        lab.write("secret", "hunter2");

        until("the secret", || unavailable().is_none().then_some(())).await;
        assert_eq!(running.reloads.history().applied[0].difference.lines(), ["service `orders` changed (auth)"]);
    });
}

#[test]
fn a_command_that_gave_a_secret_and_fails_refuses_the_reload() {
    run(async || {
        let lab = Lab::start().await;
        lab.write("secret", "hunter2");
        lab.config(FROM_COMMAND);
        let running = lab.run();
        let before = running.snapshot();

        std::fs::remove_file(lab.path("secret")).unwrap();
        let outcome = running.reloads.request().await;

        let ReloadOutcome::Refused { error } = outcome else { panic!("{outcome:?}") };
        assert!(error.contains("the command `cat` ended with status 1: cat: secret: No such file"), "{error}");
        assert!(Arc::ptr_eq(&before, &running.snapshot()));
        lab.write("secret", "hunter2");
        until("the end of the error", || running.reloads.history().last_error.is_none().then_some(())).await;
    });
}
