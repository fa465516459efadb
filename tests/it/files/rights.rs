//! Servers that do not let everybody do everything.

use std::fs;

use crate::lab::Lab;
use crate::lab::client::{Request, exchange};
use crate::lab::files::{FileServer, Kind, Protocol};

static WITHOUT_RENAME: Kind =
    Kind { name: "OpenSSH that renames nothing", script: "openssh-norename", protocol: Protocol::Sftp };
pub static WITHOUT_REPLACE: Kind =
    Kind { name: "OpenSSH that replaces nothing", script: "openssh-noreplace", protocol: Protocol::Sftp };

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_may_rename_an_upload_is_an_error_and_the_old_file_stays() {
    let (status, files) = upload_over_another(&WITHOUT_RENAME).await;

    assert!((400..600).contains(&status), "{status}");
    assert_eq!(files, [("a.txt".to_owned(), "old".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_replaced_in_one_step_the_new_file_takes_the_place_of_the_old_one_and_nothing_is_left() {
    let (status, files) = upload_over_another(&WITHOUT_REPLACE).await;

    assert_eq!(status, 204);
    assert_eq!(files, [("a.txt".to_owned(), "new".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_moved_onto_itself_stays() {
    for kind in [&WITHOUT_RENAME, &WITHOUT_REPLACE] {
        let lab = Lab::start().await;
        let server = FileServer::start(&lab, kind).await;
        fs::write(server.root.join("a.txt"), "old").unwrap();
        let sidekey = lab.sidekey(&config(&server)).await;

        exchange(&sidekey.address, Request::new("MOVE", "/files/a.txt").field("Destination", "/files/a.txt")).await;

        assert_eq!(files(&server), [("a.txt".to_owned(), "old".to_owned())], "{}", kind.name);
    }
}

/// The status, and what is in the folder then.
async fn upload_over_another(kind: &'static Kind) -> (u16, Vec<(String, String)>) {
    let lab = Lab::start().await;
    let server = FileServer::start(&lab, kind).await;
    fs::write(server.root.join("a.txt"), "old").unwrap();
    let sidekey = lab.sidekey(&config(&server)).await;

    let answer = exchange(&sidekey.address, Request::post("/files/a.txt", "new").method("PUT")).await;

    (answer.status, files(&server))
}

fn config(server: &FileServer) -> String {
    format!("services: {{ files: {{ url: '{}', {} }} }}", server.url(), server.login())
}

fn files(server: &FileServer) -> Vec<(String, String)> {
    let there = fs::read_dir(&server.root).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
    });
    there.collect()
}
