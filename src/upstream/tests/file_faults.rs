//! What a server of FTP does that none should, or few do: the app is told no wrong thing of it.

use http::{Method, StatusCode};

use super::files::{Ftp, code, files_of, options, plain, upstream};
use super::*;
use crate::files::{FileOptions, Links};
use crate::transport::RequestBody;
use crate::transport::tests::lab::{app_body, outgoing};

fn asked(method: &str, target: &str) -> Outgoing {
    outgoing(Method::from_bytes(method.as_bytes()).unwrap(), target, RequestBody::Empty)
}

/// A `PUT` of four bytes.
async fn put(target: &str) -> Outgoing {
    let (body, _app) = app_body("content-length: 4", b"mine").await;
    outgoing(Method::PUT, target, RequestBody::app(body, 0).0)
}

async fn put_new(target: &str) -> Outgoing {
    let mut put = put(target).await;
    put.fields.insert("if-none-match", "*".parse().unwrap());
    put
}

async fn pool_of(ftp: &Ftp, options: FileOptions) -> Rc<Pool> {
    let service = ftp.start().await;
    pool(&upstream(&service, Scheme::Ftp, plain(), options))
}

#[tokio::test(flavor = "local")]
async fn a_file_that_another_one_replaces_while_it_is_asked_for_is_not_given_in_part() {
    for (at, range) in [("EPSV", None), ("SIZE", None), ("EPSV", Some("bytes=4-")), ("SIZE", Some("bytes=0-3"))] {
        let ftp = Ftp::default();
        ftp.has("/a", "old, short");
        let service = ftp.start().await;
        let pool = pool(&files_of(&service));
        // Asked for its size once, it is the old one.
        let after_first = if at == "SIZE" { "a file twice as long" } else { "another that is longer" };
        let mut get = get("/a");
        if let Some(range) = range {
            get.fields.insert("range", range.parse().unwrap());
        }
        ftp.0.changes_after.set(Some((at, if at == "SIZE" { 1 } else { 0 }, "/a", after_first)));

        let whole = match send(&pool, get).await {
            Ok(response) => response.into_body().collect().await.map(|body| body.to_bytes()).ok(),
            Err(failure) => {
                assert_eq!(failure.error.code().word(), "file_error", "{at} {range:?}");
                None
            }
        };

        assert_eq!(whole, None, "{at} {range:?}");
    }
}

#[tokio::test(flavor = "local")]
async fn the_name_without_its_suffix_is_taken_only_where_there_is_none_with_it() {
    let ftp = Ftp::default();
    ftp.has("/a.pgp", "sealed");
    ftp.has("/a", "another");
    let pool = pool_of(&ftp, FileOptions { name_suffix: Some(".pgp".to_owned()), ..options() }).await;
    ftp.0.says.borrow_mut().insert("SIZE", "451 not now\r\n");
    ftp.0.says.borrow_mut().insert("CWD", "451 not now\r\n");

    for method in ["DELETE", "MOVE", "GET", "HEAD"] {
        let mut asked = asked(method, "/a");
        asked.fields.insert("destination", "/b".parse().unwrap());
        assert_eq!(code(&pool, asked).await, "file_error", "{method}");
    }

    assert_eq!(ftp.names(), ["/a", "/a.pgp"]);
}

#[tokio::test(flavor = "local")]
async fn a_server_that_can_not_now_is_no_conflict() {
    for (verb, reply) in [
        ("STOR", "450 busy\r\n"),
        ("STOR", "425 no data connection\r\n"),
        ("STOR", "451 local error\r\n"),
        ("EPSV", "425 no port\r\n"),
    ] {
        let ftp = Ftp::default();
        let pool = pool_of(&ftp, options()).await;
        ftp.0.says.borrow_mut().insert(verb, reply);
        if verb == "EPSV" {
            ftp.0.says.borrow_mut().insert("PASV", reply);
        }

        assert_eq!(code(&pool, put("/in/a").await).await, "file_error", "{verb} {reply}");
    }
    let ftp = Ftp::default();
    let pool = pool_of(&ftp, options()).await;
    ftp.0.says.borrow_mut().insert("STOR", "550 no such folder\r\n");

    assert_eq!(code(&pool, put("/in/a").await).await, "file_conflict");
}

#[tokio::test(flavor = "local")]
async fn a_server_that_can_not_say_whether_a_file_is_there_gives_it_and_replaces_none_unasked() {
    for reply in ["500 what\r\n", "502 what\r\n", "504 what\r\n"] {
        let ftp = Ftp::default();
        ftp.has("/a", "there");
        ftp.0.says.borrow_mut().insert("SIZE", reply);
        let one = pool_of(&ftp, options()).await;
        let another = pool_of(&ftp, FileOptions { overwrite: false, ..options() }).await;
        let direct = FileOptions { upload: crate::files::UploadMode::Direct, ..options() };
        let direct = pool_of(&ftp, direct).await;

        assert_eq!(fetch(&one, "/a").await, "there");
        assert_eq!(code(&one, put_new("/a").await).await, "file_unsupported");
        assert_eq!(code(&direct, put_new("/a").await).await, "file_unsupported");
        assert_eq!(code(&another, put("/a").await).await, "file_unsupported");
        assert_eq!(ftp.names(), ["/a"]);
        assert_eq!(ftp.contents("/a").as_deref(), Some("there"));
        assert_eq!(code(&one, put("/a").await).await, "none");
        assert_eq!(ftp.contents("/a").as_deref(), Some("mine"));
    }
}

#[tokio::test(flavor = "local")]
async fn facts_that_nobody_understands_are_none() {
    let ftp = Ftp::default();
    ftp.has("/a", "there");
    ftp.0.says.borrow_mut().insert("FEAT", "211-Features\r\n MLST\r\n211 End\r\n");
    ftp.0.says.borrow_mut().insert("MLST", "250 it is there\r\n");
    let pool = pool_of(&ftp, options()).await;

    assert_eq!(code(&pool, put("/b").await).await, "none");
    assert_eq!(fetch(&pool, "/a").await, "there");

    assert_eq!((ftp.names(), ftp.logins()), (vec!["/a".to_owned(), "/b".to_owned()], 1));
}

#[tokio::test(flavor = "local")]
async fn an_upload_that_is_done_before_it_begins_is_none() {
    for (verb, reply) in [("STOR", "226 got it\r\n"), ("STOR", "250 fine\r\n")] {
        let ftp = Ftp::default();
        let pool = pool_of(&ftp, options()).await;
        ftp.0.says.borrow_mut().insert(verb, reply);

        assert_ne!(code(&pool, put("/in/a").await).await, "none", "{reply}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_look_at_a_folder_lists_nothing_and_costs_no_session() {
    let ftp = Ftp::default();
    ftp.0.says.borrow_mut().insert("CWD", "250 here\r\n");
    let pool = pool_of(&ftp, options()).await;

    for _ in 0..3 {
        let answer = send(&pool, asked("HEAD", "/in/")).await.unwrap_or_else(|failure| panic!("{}", failure.error));
        assert_eq!(
            (answer.status(), &answer.headers()["content-type"]),
            (StatusCode::OK, &"application/json".parse().unwrap())
        );
        assert_eq!(answer.headers().get("content-length"), None);
    }

    assert!(!ftp.0.asked.borrow().iter().any(|line| line.starts_with("LIST")), "{:?}", ftp.0.asked.borrow());
    assert_eq!((ftp.logins(), pool.open_and_idle()), (1, (1, 1)));
}

#[tokio::test(flavor = "local")]
async fn no_link_is_looked_for_below_a_name_that_is_missing() {
    let ftp = Ftp::default();
    let pool = pool_of(&ftp, FileOptions { links: Links::Refuse, ..options() }).await;

    assert_eq!(code(&pool, get("/missing/below/a")).await, "file_not_found");

    let looks = ftp.0.asked.borrow().iter().filter(|line| line.starts_with("CWD /missing/below ")).count();
    assert_eq!(looks, 0, "{:?}", ftp.0.asked.borrow());
    let looks = ftp.0.asked.borrow().iter().filter(|line| line.ends_with("/missing/below")).count();
    assert_eq!(looks, 0, "{:?}", ftp.0.asked.borrow());
}

#[tokio::test(flavor = "local")]
async fn a_session_that_is_out_of_step_is_asked_for_nothing_more() {
    let ftp = Ftp::default();
    let pool = pool_of(&ftp, options()).await;
    ftp.0.says.borrow_mut().insert("RNTO", "150 what\r\n");

    assert_eq!(code(&pool, put("/a").await).await, "connection_terminated");

    // It is removed over another one.
    until(|| ftp.names().is_empty()).await;
    let asked = ftp.0.asked.borrow();
    let renamed = asked.iter().position(|line| line.starts_with("RNTO")).unwrap();
    assert_eq!(asked[renamed + 1], "USER acme", "{asked:?}");
}
