//! What odd servers of FTP say, which is neither taken for something else nor passed over: against scripted replies.

use std::cell::RefCell;

use http::{Method, StatusCode};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

use super::files::{options, upstream};
use super::*;
use crate::files::{FileOptions, FtpAccess, ServerAccess, ftp};
use crate::secret::Secret;
use crate::transport::RequestBody;
use crate::transport::tests::lab::{app_body, outgoing};

/// What the server does about a command.
#[derive(Clone)]
enum Reply {
    /// As it stands, ends of lines included.
    Says(&'static str),
    /// Over a data connection, and it was all.
    Sends(&'static [u8]),
    /// It reads a data connection to its end.
    Takes,
}

use Reply::{Says, Sends, Takes};

/// A server that says to each command what its script has for that: for the verb with its argument, or for the verb alone.
#[derive(Clone)]
struct Odd {
    script: Rc<[(&'static str, Reply)]>,
    /// What it was asked, beside what every session begins with.
    asked: Rc<RefCell<Vec<String>>>,
    sessions: Rc<Cell<usize>>,
}

impl Odd {
    fn new(script: &[(&'static str, Reply)]) -> Self {
        Self { script: script.into(), asked: Rc::default(), sessions: Rc::default() }
    }

    async fn pool(&self, options: FileOptions) -> Rc<Pool> {
        let odd = self.clone();
        let service = Service::raw(move |tcp, _| {
            let odd = odd.clone();
            async move {
                odd.sessions.set(odd.sessions.get() + 1);
                // Whoever leaves in the middle is gone.
                let _gone = odd.serve(tcp).await;
            }
        })
        .await;
        let access = FtpAccess {
            security: ftp::Security::Plain,
            username: "acme".to_owned(),
            password: Secret::new("secret".to_owned()),
        };
        pool(&upstream(&service, Scheme::Ftp, ServerAccess::Ftp(access), options))
    }

    async fn serve(&self, tcp: TcpStream) -> std::io::Result<()> {
        let (read, mut write) = tcp.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 ready\r\n").await?;
        let mut data = None;
        while let Some(line) = lines.next_line().await? {
            let verb = line.split(' ').next().unwrap_or_default().to_owned();
            if !matches!(&*verb, "USER" | "PASS" | "TYPE" | "PWD" | "FEAT" | "EPSV") {
                self.asked.borrow_mut().push(line.clone());
            }
            let found = [line.as_str(), verb.as_str()]
                .into_iter()
                .find_map(|key| self.script.iter().find(|(of, _)| *of == key).map(|(_, reply)| reply.clone()));
            match found {
                Some(Says(words)) => write.write_all(words.as_bytes()).await?,
                Some(Sends(bytes)) => {
                    let listener: TcpListener = data.take().unwrap();
                    let (mut tcp, _) = listener.accept().await?;
                    write.write_all(b"150 it comes\r\n").await?;
                    tcp.write_all(bytes).await?;
                    tcp.shutdown().await?;
                    write.write_all(b"226 that was all\r\n").await?;
                }
                Some(Takes) => {
                    let listener: TcpListener = data.take().unwrap();
                    let (mut tcp, _) = listener.accept().await?;
                    write.write_all(b"150 go on\r\n").await?;
                    tcp.read_to_end(&mut Vec::new()).await?;
                    write.write_all(b"226 got it\r\n").await?;
                }
                None => {
                    let words = match &*verb {
                        "USER" => "331 password\r\n".to_owned(),
                        "PASS" => "230 in\r\n".to_owned(),
                        "TYPE" => "200 binary\r\n".to_owned(),
                        "PWD" => "257 \"/\"\r\n".to_owned(),
                        "FEAT" => "502 what\r\n".to_owned(),
                        "EPSV" => {
                            let listener = TcpListener::bind("127.0.0.1:0").await?;
                            let port = listener.local_addr()?.port();
                            data = Some(listener);
                            format!("229 here (|||{port}|)\r\n")
                        }
                        _ => "550 no\r\n".to_owned(),
                    };
                    write.write_all(words.as_bytes()).await?;
                }
            }
        }
        Ok(())
    }

    fn was_asked(&self, verb: &str) -> usize {
        self.asked.borrow().iter().filter(|line| line.starts_with(verb)).count()
    }
}

async fn put(target: &str) -> Outgoing {
    let (body, _app) = app_body("content-length: 4", b"mine").await;
    outgoing(Method::PUT, target, RequestBody::app(body, 0).0)
}

/// The word and the detail of an answer of ours; a body that breaks off is told of, too.
async fn problem(pool: &Rc<Pool>, outgoing: Outgoing) -> (String, String) {
    match send(pool, outgoing).await {
        Err(failure) => (failure.error.code().word().to_owned(), failure.error.to_string()),
        Ok(answer) => {
            let status = answer.status().to_string();
            match answer.into_body().collect().await {
                Ok(body) => (status, String::from_utf8_lossy(&body.to_bytes()).into_owned()),
                Err(error) => ("broken off".to_owned(), error.to_string()),
            }
        }
    }
}

#[tokio::test(flavor = "local")]
async fn a_reply_that_nobody_waits_for_is_not_taken_for_the_one_to_the_next_command() {
    for (replies, words) in [
        ("350 ok\r\n226 stray\r\n", "said more than it was asked"),
        ("350 ok\r\n226 str", "said more than it was asked"),
        ("350-ok\r\n350 ok\r\n226-stray\r\n", "said more than it was asked"),
        ("350 ok\r\n421 Timeout.\r\n", "Timeout. (421)"),
    ] {
        let odd = Odd::new(&[
            ("STOR", Takes),
            ("RNFR", Says(replies)),
            ("RNTO", Says("250 renamed\r\n")),
            ("DELE", Says("250 gone\r\n")),
        ]);
        let pool = odd.pool(options()).await;

        let (code, detail) = problem(&pool, put("/a").await).await;

        assert_eq!(code, "connection_terminated", "{replies:?}: {detail}");
        assert!(detail.contains(words), "{replies:?}: {detail}");
        // What was begun is removed, and in another session.
        until(|| odd.was_asked("DELE") == 1).await;
        assert_eq!((odd.was_asked("RNTO"), odd.sessions.get()), (0, 2), "{replies:?}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_session_in_which_something_went_wrong_is_asked_for_nothing_more() {
    for reply in ["what is that\r\n", "350 of another class\r\n"] {
        let odd = Odd::new(&[("DELE", Says(reply)), ("SIZE", Says("213 1\r\n"))]);
        let pool = odd.pool(options()).await;

        let (code, _) = problem(&pool, outgoing(Method::DELETE, "/a", RequestBody::Empty)).await;

        assert_eq!(code, "connection_terminated", "{reply:?}");
        assert_eq!((&**odd.asked.borrow(), odd.sessions.get()), (&["DELE /a".to_owned()][..], 1), "{reply:?}");
    }
}

/// A whole listing, or why there is none.
async fn listed(listing: &'static [u8]) -> (String, String) {
    let odd = Odd::new(&[("CWD", Says("250 there\r\n")), ("LIST", Sends(listing))]);
    let pool = odd.pool(options()).await;
    let mut get = get("/d/");
    get.fields.insert("accept", "text/plain".parse().unwrap());
    problem(&pool, get).await
}

#[tokio::test(flavor = "local")]
async fn a_listing_is_whole_or_an_error_that_shows_the_line_that_nobody_understands() {
    let (status, text) = listed(b"total 12\r\n-rw-r--r-- 1 o g 1 Jan 01 00:00 a\r\n\r\n").await;
    assert_eq!((&*status, &*text), ("200 OK", "a\n"));

    let vms = b"-rw-r--r-- 1 o g 1 Jan 01 00:00 a\r\nFILE.TXT;1  5/6  1-JAN-2026 00:00:00 [O,G] (RWED,RE,,)\r\n";
    let (code, detail) = listed(vms).await;
    assert_eq!(code, "file_error", "{detail}");
    assert!(detail.contains("`FILE.TXT;1  5/6  1-JAN-2026"), "{detail}");
}

#[tokio::test(flavor = "local")]
async fn facts_that_nobody_understands_are_no_entries_that_are_left_out() {
    let odd = Odd::new(&[
        ("FEAT", Says("211-Features\r\n MLST type*;\r\n211 End\r\n")),
        ("CWD", Says("250 there\r\n")),
        ("MLSD", Sends(b"type=cdir; .\r\ntype=file;size=1; a\r\ntype=file;whatever; b\r\n")),
    ]);
    let pool = odd.pool(options()).await;

    let (code, detail) = problem(&pool, get("/d/")).await;

    assert_eq!(code, "file_error", "{detail}");
    assert!(detail.contains("`type=file;whatever; b`"), "{detail}");
}

#[tokio::test(flavor = "local")]
async fn more_entries_than_may_be_listed_break_the_listing_off() {
    let odd = Odd::new(&[
        ("CWD", Says("250 there\r\n")),
        ("LIST", Sends(b"-rw-r--r-- 1 o g 1 Jan 01 00:00 a\r\n-rw-r--r-- 1 o g 1 Jan 01 00:00 b\r\n")),
    ]);
    let pool = odd.pool(FileOptions { list_limit: 1, ..options() }).await;

    assert_eq!(problem(&pool, get("/d/")).await.0, "broken off");
}

#[tokio::test(flavor = "local")]
async fn at_a_server_that_begins_nowhere_but_at_the_start_a_range_is_the_whole_file() {
    for (features, rest, accepts) in [
        ("502 what\r\n", "502 what\r\n", false),
        ("502 what\r\n", "504 not that\r\n", false),
        ("211-Features\r\n REST STREAM\r\n211 End\r\n", "350 from there\r\n", true),
    ] {
        let odd = Odd::new(&[
            ("FEAT", Says(features)),
            ("SIZE", Says("213 4\r\n")),
            ("REST", Says(rest)),
            ("RETR", Sends(if accepts { b"23" } else { b"0123" })),
        ]);
        let pool = odd.pool(options()).await;
        let mut part = get("/a");
        part.fields.insert("range", "bytes=2-".parse().unwrap());

        let answer = send(&pool, part).await.unwrap_or_else(|failure| panic!("{features}: {}", failure.error));

        let status = if accepts { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        assert_eq!(answer.status(), status, "{rest}");
        assert_eq!(answer.headers().contains_key("accept-ranges"), accepts, "{rest}");
        let length = if accepts { "2" } else { "4" };
        assert_eq!(answer.headers()["content-length"], length, "{rest}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, if accepts { &b"23"[..] } else { b"0123" }, "{rest}");
    }
}

fn sealed() -> FileOptions {
    FileOptions { name_suffix: Some(".pgp".to_owned()), ..options() }
}

#[tokio::test(flavor = "local")]
async fn a_listing_has_no_name_twice_where_apps_do_not_see_the_ends_of_names() {
    for listing in [
        &b"-rw-r--r-- 1 o g 1 Jan 01 00:00 a\n-rw-r--r-- 1 o g 2 Jan 01 00:00 a.pgp\n-rw-r--r-- 1 o g 3 Jan 01 00:00 b\n"[..],
        b"-rw-r--r-- 1 o g 3 Jan 01 00:00 b\n-rw-r--r-- 1 o g 2 Jan 01 00:00 a.pgp\n-rw-r--r-- 1 o g 1 Jan 01 00:00 a\n",
    ] {
        let odd = Odd::new(&[("CWD", Says("250 there\r\n")), ("LIST", Sends(listing))]);
        let pool = odd.pool(sealed()).await;

        let (_, text) = problem(&pool, get("/d/")).await;

        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut entries: Vec<_> =
            told["entries"].as_array().unwrap().iter().map(|entry| (entry["href"].as_str(), entry["size"].as_u64())).collect();
        entries.sort_unstable();
        // What a `GET` of it gives: the one that has the end.
        assert_eq!(entries, [(Some("a"), Some(2)), (Some("b"), Some(3))]);
    }
}

#[tokio::test(flavor = "local")]
async fn conditions_speak_of_the_file_that_is_shown_under_the_name() {
    let modified = "250-It\r\n type=file;size=4;modify=20240101000000; /a\r\n250 End\r\n";
    let odd = Odd::new(&[
        ("FEAT", Says("211-Features\r\n MLST type*;\r\n211 End\r\n")),
        ("MLST /a", Says(modified)),
        ("STOR", Takes),
        ("RNFR", Says("350 ok\r\n")),
        ("RNTO", Says("250 renamed\r\n")),
    ]);
    let pool = odd.pool(sealed()).await;
    let shown = send(&pool, outgoing(Method::HEAD, "/a", RequestBody::Empty)).await;
    let tag = shown.unwrap_or_else(|failure| panic!("{}", failure.error)).headers()["etag"].clone();

    let mut new = put("/a").await;
    new.fields.insert("if-none-match", "*".parse().unwrap());
    assert_eq!(problem(&pool, new).await.0, "precondition_failed");
    let mut moved = outgoing(Method::from_bytes(b"MOVE").unwrap(), "/c", RequestBody::Empty);
    moved.fields.insert("destination", "/a".parse().unwrap());
    moved.fields.insert("overwrite", "F".parse().unwrap());
    assert_eq!(problem(&pool, moved).await.0, "precondition_failed");
    let mut same = put("/a").await;
    same.fields.insert("if-match", tag);
    assert_eq!(problem(&pool, same).await.0, "204 No Content");
}

#[tokio::test(flavor = "local")]
async fn a_name_that_its_suffix_makes_too_long_is_refused_before_anything_is_sent() {
    let odd = Odd::new(&[("STOR", Takes), ("RNFR", Says("350 ok\r\n")), ("RNTO", Says("553 too long\r\n"))]);
    let pool = odd.pool(sealed()).await;

    let (code, detail) = problem(&pool, put(&format!("/{}", "x".repeat(252))).await).await;

    assert_eq!((&*code, odd.was_asked("STOR")), ("bad_request", 0), "{detail}");
    assert!(detail.contains("255 bytes"), "{detail}");
}
