//! A refresh token that is shared: who uses it, where it is kept, and what becomes of it at the end.

use std::pin::{Pin, pin};
use std::task::{Context, Waker};

use super::*;
use crate::credential::oauth2::grant::Claim;
use crate::credential::oauth2::state_file;
use crate::credential::tests::oauth2;

fn secret(token: &str) -> Secret {
    Secret::new(token.to_owned())
}

fn is_pending(future: Pin<&mut impl Future>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[tokio::test]
async fn the_end_waits_for_who_has_a_lease_and_for_nobody_who_waits_for_one() {
    let families = Families::default();
    let family = families.family(&oauth2(), &secret("a"));
    let mut lease = family.lease().await;
    let mut second = pin!(family.lease());
    assert!(is_pending(second.as_mut()));

    let mut settled = pin!(families.settle());

    assert!(is_pending(settled.as_mut()));
    lease.replace(secret("b")).await;
    assert!(is_pending(settled.as_mut()));
    drop(lease);
    tokio::select! {
        _ = second.as_mut() => panic!("a request that begins when all has ended"),
        () = settled => {}
    }
    assert!(is_pending(pin!(family.lease())));
}

#[tokio::test]
async fn the_end_waits_for_what_is_on_its_way_to_the_disk() {
    let families = Families::default();
    let saving = Saving::begin(&families.ending);
    let mut settled = pin!(families.settle());
    assert!(is_pending(settled.as_mut()));

    drop(saving);

    settled.await;
}

#[tokio::test]
async fn a_disk_that_hangs_does_not_hold_up_the_end_for_ever() {
    let families = Families::default();
    let family = families.family(&oauth2(), &secret("a"));
    let file = Arc::new(families.file(PathBuf::from("state"), None));
    family.keep_in(&file);
    let _hangs = StateWrite::begin(file, Saving::begin(&families.ending));

    let settled = timeout(100 * DISK, families.settle()).await;

    assert!(settled.is_ok());
    let holdup = family.holdup();
    assert!(matches!(&holdup, Some(Holdup::Disk { path }) if path.ends_with("state")), "{holdup:?}");
}

/// What a file is found to hold, committed with others of its family.
struct Found {
    folder: tempfile::TempDir,
    families: Families,
    family: Arc<Family>,
}

impl Found {
    fn nothing() -> Self {
        let families = Families::default();
        let family = families.family(&oauth2(), &secret("a"));
        Self { folder: tempfile::tempdir().unwrap(), families, family }
    }

    fn state(&self, rotation: u64, token: &str) -> RefreshState {
        RefreshState { config: self.family.config, rotation, refresh_token: secret(token) }
    }

    /// Puts a config in force that names a file for each of these.
    async fn commit(&self, kept: &[Option<RefreshState>]) -> Vec<Arc<StateFile>> {
        let path = |number: usize| self.folder.path().join(number.to_string());
        let files: Vec<_> = (0..kept.len()).map(|number| Arc::new(self.families.file(path(number), None))).collect();
        let claims = files.iter().zip(kept).map(|(file, kept)| Claim {
            family: Arc::clone(&self.family),
            file: Arc::clone(file),
            lock: file.lock(),
            kept: kept.clone(),
        });
        Claim::commit_all(claims.collect::<Vec<_>>(), &Handle::current());
        self.families.saved().await;
        files
    }

    /// What is on the disk. `None`: nothing was written.
    fn written(files: &[Arc<StateFile>]) -> Vec<Option<RefreshState>> {
        let read = |file: &Arc<StateFile>| state_file::read(file.path()).unwrap();
        files.iter().map(|file| read(file).map(|found| found.kept)).collect()
    }
}

#[tokio::test]
async fn of_files_that_differ_the_newest_counts_and_the_others_follow_whichever_comes_first() {
    let found = Found::nothing();
    let (old, new) = (found.state(2, "old"), found.state(3, "new"));
    let other_login = RefreshState { config: [0; 32], ..found.state(9, "another") };
    for kept in [
        [Some(old.clone()), Some(new.clone()), None],
        [Some(new.clone()), None, Some(old.clone())],
        [None, Some(other_login), Some(new.clone())],
    ] {
        let found = Found::nothing();

        let files = found.commit(&kept).await;

        let expected: Vec<_> = kept.iter().map(|kept| (kept.as_ref() != Some(&new)).then(|| new.clone())).collect();
        assert_eq!(Found::written(&files), expected, "{kept:?}");
        assert_eq!(found.family.lease().await.token().expose(), "new");
    }
}

#[tokio::test]
async fn what_an_answer_brought_is_newer_than_any_file_and_stays_so_for_the_next_process() {
    let found = Found::nothing();
    found.family.lease().await.replace(secret("ours")).await;

    let files = found.commit(&[Some(found.state(7, "of a process before")), None]).await;

    assert_eq!(Found::written(&files), [Some(found.state(8, "ours")), Some(found.state(8, "ours"))]);
}

#[tokio::test]
async fn the_trouble_is_that_of_the_last_write_and_no_success_before_it_hides_it() {
    let found = Found::nothing();
    let files = found.commit(&[None]).await;
    let [file] = &files[..] else { panic!("one file") };
    let begin = || StateWrite::begin(Arc::clone(file), Saving::begin(&found.families.ending));
    let (early, late) = (begin(), begin());

    // Nobody waits for the later one any more, while the earlier one is written.
    file.is_late(late.number(), &"its disk hangs");
    early.carry_out(|| found.family.state());
    assert!(found.family.trouble().is_some_and(|trouble| trouble.contains("its disk hangs")));

    let number = late.number();
    late.carry_out(|| found.family.state());
    assert_eq!(found.family.trouble(), None);
    file.is_late(number, &"it has ended by now");
    assert_eq!(found.family.trouble(), None);
}

#[tokio::test]
async fn what_has_taken_anothers_place_is_remembered_when_nobody_uses_it() {
    let families = Families::default();
    let known = |token: &str| families.family(&oauth2(), &secret(token));
    known("rotated").lease().await.replace(secret("next")).await;

    // More than there is room for, each refused or used by nobody.
    for number in 0..3 * FEW {
        known(&format!("never used {number}"));
    }

    assert_eq!(known("rotated").lease().await.token().expose(), "next");
    assert!(locked(&families.known).by_key.len() <= 2 * FEW + 1);
}

#[tokio::test]
async fn of_what_nobody_uses_the_latest_are_remembered() {
    let families = Families::default();
    for number in 0..2 * REMEMBERED + FEW {
        let family = families.family(&oauth2(), &secret(&format!("a {number}")));
        family.lease().await.replace(secret("next")).await;
        locked(&families.known).full = 0;
    }

    let newest =
        |number: usize| locked(&families.family(&oauth2(), &secret(&format!("a {number}"))).newest).is_rotated();
    assert!(newest(2 * REMEMBERED + FEW - 1));
    assert!(!newest(0));
}

#[tokio::test]
async fn of_two_writes_whichever_comes_last_the_newest_is_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let families = Families::default();
    let family = families.family(&oauth2(), &secret("a"));
    let file = Arc::new(families.file(path.clone(), None));
    let claim = Claim { family: Arc::clone(&family), file: Arc::clone(&file), lock: file.lock(), kept: None };
    Claim::commit_all([claim], &Handle::current());

    family.lease().await.replace(secret("b")).await;
    let early = StateWrite::begin(Arc::clone(&file), Saving::begin(&families.ending));
    family.lease().await.replace(secret("c")).await;
    early.carry_out(|| family.state());
    families.saved().await;

    let kept = state_file::read(&path).unwrap().unwrap().kept;
    assert_eq!(kept.refresh_token, secret("c"));
}
