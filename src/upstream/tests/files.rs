//! What a pool promises of sessions with a file server, against a scripted one of FTP.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use http::{Method, StatusCode};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

use super::*;
use crate::files::{FileOptions, FileServer, FtpAccess, Links, ServerAccess, UploadMode, ftp};
use crate::secret::Secret;
use crate::transport::RequestBody;
use crate::transport::tests::lab::{app_body, outgoing};
use crate::upstream::Error;

/// Files by their names, and what the server says to a password.
#[derive(Clone, Default)]
pub(super) struct Ftp(pub(super) Rc<Script>);

#[derive(Default)]
pub(super) struct Script {
    files: RefCell<BTreeMap<String, Vec<u8>>>,
    logins: Cell<usize>,
    /// Instead of letting anybody in.
    refusal: Cell<Option<&'static str>>,
    /// Instead of a greeting.
    greeting: Cell<Option<&'static str>>,
    /// The connection ends at the next command of this name.
    ends_at: Cell<Option<&'static str>>,
    /// Another client makes a file of this name while one is stored.
    comes_between: Cell<Option<&'static str>>,
    /// It has `MLST`, to which these are links.
    links: Cell<Option<&'static [&'static str]>>,
    /// What it says to a command of this name, without doing anything.
    pub(super) says: RefCell<BTreeMap<&'static str, &'static str>>,
    /// Another client puts this in place of a file just before a command, after as many of its name.
    pub(super) changes_after: Cell<Option<(&'static str, usize, &'static str, &'static str)>>,
    /// All that it was asked.
    pub(super) asked: RefCell<Vec<String>>,
}

impl Ftp {
    pub(super) async fn start(&self) -> Service {
        let ftp = self.clone();
        Service::raw(move |tcp, _| {
            let ftp = ftp.clone();
            async move {
                // Whoever leaves in the middle is gone.
                let _gone = ftp.serve(tcp).await;
            }
        })
        .await
    }

    async fn serve(&self, tcp: TcpStream) -> std::io::Result<()> {
        let script = &*self.0;
        let (read, mut write) = tcp.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(script.greeting.get().unwrap_or("220 ready\r\n").as_bytes()).await?;
        let (mut data, mut from) = (None, String::new());
        while let Some(line) = lines.next_line().await? {
            let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
            if script.ends_at.get() == Some(verb) {
                script.ends_at.set(None);
                return Ok(());
            }
            script.asked.borrow_mut().push(line.clone());
            if let Some((_, after, name, contents)) = script.changes_after.get().filter(|(at, ..)| *at == verb) {
                let asked = script.asked.borrow().iter().filter(|asked| asked.starts_with(verb)).count();
                if asked > after {
                    self.has(name, contents);
                }
            }
            let said = script.says.borrow().get(verb).copied();
            let has = |name: &str| script.files.borrow().contains_key(name);
            let reply = match verb {
                _ if said.is_some() => said.unwrap_or_default().to_owned(),
                "USER" => "331 password\r\n".to_owned(),
                "PASS" => {
                    script.logins.set(script.logins.get() + 1);
                    script.refusal.get().unwrap_or("230 in\r\n").to_owned()
                }
                "TYPE" => "200 binary\r\n".to_owned(),
                "PWD" => "257 \"/\"\r\n".to_owned(),
                "EPSV" => {
                    let listener = TcpListener::bind("127.0.0.1:0").await?;
                    let port = listener.local_addr()?.port();
                    data = Some(listener);
                    format!("229 here (|||{port}|)\r\n")
                }
                "SIZE" if has(argument) => format!("213 {}\r\n", script.files.borrow()[argument].len()),
                "RETR" if has(argument) => {
                    let (mut tcp, _) = data.take().unwrap().accept().await?;
                    write.write_all(b"150 it comes\r\n").await?;
                    let bytes = script.files.borrow()[argument].clone();
                    tcp.write_all(&bytes).await?;
                    tcp.shutdown().await?;
                    "226 that was all\r\n".to_owned()
                }
                "STOR" => {
                    let (mut tcp, _) = data.take().unwrap().accept().await?;
                    // As all servers do it: it is there at once, and grows.
                    script.files.borrow_mut().insert(argument.to_owned(), Vec::new());
                    write.write_all(b"150 go on\r\n").await?;
                    let mut bytes = Vec::new();
                    let whole = tcp.read_to_end(&mut bytes).await;
                    if let Some(other) = script.comes_between.take() {
                        script.files.borrow_mut().insert(other.to_owned(), b"the other's".to_vec());
                    }
                    script.files.borrow_mut().insert(argument.to_owned(), bytes);
                    whole.map_or_else(|_| "426 broken off\r\n", |_| "226 got it\r\n").to_owned()
                }
                "RNFR" if has(argument) => {
                    argument.clone_into(&mut from);
                    "350 to what\r\n".to_owned()
                }
                "RNTO" => {
                    let mut files = script.files.borrow_mut();
                    let bytes = files.remove(&from).unwrap();
                    files.insert(argument.to_owned(), bytes);
                    "250 renamed\r\n".to_owned()
                }
                "DELE" if has(argument) => {
                    script.files.borrow_mut().remove(argument);
                    "250 gone\r\n".to_owned()
                }
                "FEAT" if script.links.get().is_some() => "211-Features\r\n MLST\r\n211 End\r\n".to_owned(),
                "MLST" => {
                    let kind = match script.links.get() {
                        Some(links) if links.contains(&argument) => "OS.unix=symlink",
                        _ if has(argument) => "file",
                        _ => "dir",
                    };
                    format!("250-It\r\n type={kind}; {argument}\r\n250 End\r\n")
                }
                "FEAT" => "502 what\r\n".to_owned(),
                _ => "550 no\r\n".to_owned(),
            };
            write.write_all(reply.as_bytes()).await?;
        }
        Ok(())
    }

    pub(super) fn has(&self, name: &str, contents: &str) {
        self.0.files.borrow_mut().insert(name.to_owned(), contents.as_bytes().to_vec());
    }

    pub(super) fn contents(&self, name: &str) -> Option<String> {
        self.0.files.borrow().get(name).map(|bytes| String::from_utf8(bytes.clone()).unwrap())
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.files.borrow().keys().cloned().collect()
    }

    pub(super) fn logins(&self) -> usize {
        self.0.logins.get()
    }
}

pub(super) fn files_of(service: &Service) -> Arc<Upstream> {
    upstream(service, Scheme::Ftp, plain(), options())
}

/// Its login, without TLS.
pub(super) fn plain() -> ServerAccess {
    ServerAccess::Ftp(FtpAccess {
        security: ftp::Security::Plain,
        username: "acme".to_owned(),
        password: Secret::new("secret".to_owned()),
    })
}

pub(super) fn upstream(service: &Service, scheme: Scheme, access: ServerAccess, options: FileOptions) -> Arc<Upstream> {
    let server = Arc::new(FileServer::new(access, options));
    let limit = Some(Duration::from_secs(10));
    Arc::new(Upstream::new(Connector::of_files(&lab::url(scheme, service.address.port()), server, limit), LIMITS))
}

pub(super) fn options() -> FileOptions {
    FileOptions {
        upload: UploadMode::Atomic,
        temp_suffix: ".part".to_owned(),
        overwrite: true,
        links: Links::Follow,
        names_of_config: 0,
        list_limit: 10,
        name_suffix: None,
    }
}

pub(super) async fn code(pool: &Rc<Pool>, outgoing: Outgoing) -> &'static str {
    send(pool, outgoing).await.err().map_or("none", |failure| failure.error.code().word())
}

#[tokio::test(flavor = "local")]
async fn files_come_and_go_over_one_session() {
    let ftp = Ftp::default();
    ftp.has("/in/a.csv", "1;2\n");
    let service = ftp.start().await;
    let pool = pool(&files_of(&service));

    assert_eq!(fetch(&pool, "/in/a.csv").await, "1;2\n");
    let (body, mut app) = app_body("content-length: 4", b"3;").await;
    app.write_all(b"4\n").await.unwrap();
    let put = outgoing(Method::PUT, "/in/b.csv", RequestBody::app(body, 0).0);
    let answer = send(&pool, put).await.unwrap_or_else(|failure| panic!("{}", failure.error));

    assert_eq!((answer.status(), &answer.headers()["location"]), (StatusCode::CREATED, &"/in/b.csv".parse().unwrap()));
    drop(answer);
    assert_eq!(fetch(&pool, "/in/b.csv").await, "3;4\n");
    assert_eq!(ftp.names(), ["/in/a.csv", "/in/b.csv"]);
    assert_eq!((ftp.logins(), pool.open_and_idle()), (1, (1, 1)));
}

#[tokio::test(flavor = "local")]
async fn what_is_not_there_costs_no_session() {
    let ftp = Ftp::default();
    let service = ftp.start().await;
    let pool = pool(&files_of(&service));

    for _ in 0..3 {
        assert_eq!(code(&pool, get("/nothing")).await, "file_not_found");
    }

    assert_eq!((ftp.logins(), pool.open_and_idle()), (1, (1, 1)));
}

#[tokio::test(flavor = "local")]
async fn a_wrong_password_is_shown_once_whoever_asks_and_however_often() {
    let ftp = Ftp::default();
    ftp.0.refusal.set(Some("530 Login incorrect.\r\n"));
    let service = ftp.start().await;
    let upstream = files_of(&service);
    let (one, another) = (worker(&upstream, 2), worker(&upstream, 2));

    let codes = tokio::join!(code(&one, get("/a")), code(&one, get("/b")), code(&another, get("/c")));
    let later = send(&another, get("/d")).await.unwrap_err();

    assert_eq!(codes, ("login_rejected", "login_rejected", "login_rejected"));
    assert_eq!(ftp.logins(), 1);
    assert!(later.error.to_string().contains("Login incorrect. (530)"), "{}", later.error);
    let Error::Transport(crate::transport::Error::Login(failure)) = later.error else { panic!("no login") };
    assert!(failure.pause > Duration::from_secs(5), "{:?}", failure.pause);
}

#[tokio::test(flavor = "local")]
async fn a_server_that_is_full_is_overloaded_and_refuses_no_login() {
    for (greeting, refusal) in
        [(Some("421 too many connections\r\n"), None), (None, Some("530 the maximum number of clients\r\n"))]
    {
        let ftp = Ftp::default();
        ftp.0.greeting.set(greeting);
        ftp.0.refusal.set(refusal);
        let service = ftp.start().await;

        assert_eq!(code(&pool(&files_of(&service)), get("/a")).await, "overloaded");
    }
}

#[tokio::test(flavor = "local")]
async fn a_session_that_the_server_has_ended_is_replaced_without_a_word() {
    let ftp = Ftp::default();
    ftp.has("/a", "there");
    let service = ftp.start().await;
    let pool = pool(&files_of(&service));
    assert_eq!(fetch(&pool, "/a").await, "there");

    ftp.0.ends_at.set(Some("SIZE"));

    assert_eq!(fetch(&pool, "/a").await, "there");
    assert_eq!(ftp.logins(), 2);
}

#[tokio::test(flavor = "local")]
async fn of_an_upload_that_breaks_off_nothing_is_left() {
    let ftp = Ftp::default();
    ftp.has("/in/a.csv", "old");
    let service = ftp.start().await;
    let pool = pool(&files_of(&service));
    let (body, app) = app_body("content-length: 100", b"half of it").await;
    let put = outgoing(Method::PUT, "/in/a.csv", RequestBody::app(body, 0).0);

    let (code, ()) = tokio::join!(code(&pool, put), async {
        until(|| ftp.names().len() == 2).await;
        drop(app);
    });

    assert_eq!(code, "bad_request");
    // By FTP only the end of the session says that this was no end of the file: it is removed over another one.
    until(|| ftp.names().len() == 1).await;
    assert_eq!(ftp.contents("/in/a.csv").as_deref(), Some("old"));
    assert_eq!(ftp.logins(), 2);
}

#[tokio::test(flavor = "local")]
async fn nor_where_the_session_in_which_it_was_to_be_removed_ends_too() {
    let ftp = Ftp::default();
    let service = ftp.start().await;
    let pool = pool(&files_of(&service));
    let (body, app) = app_body("content-length: 100", b"half of it").await;
    let put = outgoing(Method::PUT, "/in/a.csv", RequestBody::app(body, 0).0);
    ftp.0.ends_at.set(Some("DELE"));

    let (code, ()) = tokio::join!(code(&pool, put), async {
        until(|| ftp.names().len() == 1).await;
        drop(app);
    });

    assert_eq!(code, "bad_request");
    until(|| ftp.names().is_empty()).await;
    assert_eq!(ftp.logins(), 3);
}

#[tokio::test(flavor = "local")]
async fn nor_of_one_that_nobody_waits_for_any_more() {
    let ftp = Ftp::default();
    let service = ftp.start().await;
    let pool = pool(&files_of(&service));
    let (body, _app) = app_body("content-length: 100", b"half of it").await;
    let put = outgoing(Method::PUT, "/in/a.csv", RequestBody::app(body, 0).0);

    let mut sending = Box::pin(send(&pool, put));
    tokio::select! {
        _ = &mut sending => panic!("it has not ended"),
        () = until(|| !ftp.names().is_empty()) => {}
    }
    drop(sending);

    until(|| ftp.names().is_empty()).await;
}

#[tokio::test(flavor = "local")]
async fn a_temporary_name_is_hidden_and_beside_the_file() {
    let ftp = Ftp::default();
    let service = ftp.start().await;
    let pool = pool(&files_of(&service));
    let (body, mut app) = app_body("content-length: 2", b"1").await;
    let put = outgoing(Method::PUT, "/in/a.csv", RequestBody::app(body, 0).0);

    let (answer, name) = tokio::join!(send(&pool, put), async {
        until(|| !ftp.names().is_empty()).await;
        let name = ftp.names().remove(0);
        app.write_all(b"2").await.unwrap();
        name
    });

    assert_eq!(answer.unwrap_or_else(|failure| panic!("{}", failure.error)).status(), StatusCode::CREATED);
    let name = Path::new(&name);
    assert_eq!(name.parent(), Some(Path::new("/in")));
    assert!(name.file_name().unwrap().to_str().unwrap().starts_with(".a.csv."), "{name:?}");
    assert_eq!(ftp.names(), ["/in/a.csv"]);
}

#[tokio::test(flavor = "local")]
async fn what_came_in_between_is_not_replaced_by_who_wants_nothing_to_be_there() {
    let ftp = Ftp::default();
    let service = ftp.start().await;
    let pool = pool(&files_of(&service));
    let put = |name: &'static str| async move {
        let (body, _app) = app_body("content-length: 4", b"mine").await;
        let mut put = outgoing(Method::PUT, name, RequestBody::app(body, 0).0);
        put.fields.insert("if-none-match", "*".parse().unwrap());
        put
    };

    assert_eq!(code(&pool, put("/in/a.csv").await).await, "none");
    ftp.0.comes_between.set(Some("/in/b.csv"));
    assert_eq!(code(&pool, put("/in/b.csv").await).await, "precondition_failed");

    assert_eq!(ftp.names(), ["/in/a.csv", "/in/b.csv"]);
    assert_eq!(ftp.contents("/in/b.csv").as_deref(), Some("the other's"));
}

#[tokio::test(flavor = "local")]
async fn a_file_whose_time_nobody_knows_has_no_tag() {
    let ftp = Ftp::default();
    ftp.has("/a", "same size");
    let service = ftp.start().await;
    let pool = pool(&files_of(&service));
    let mut again = get("/a");
    again.fields.insert("if-none-match", "W/\"--9\"".parse().unwrap());

    let first = send(&pool, get("/a")).await.unwrap_or_else(|failure| panic!("{}", failure.error));
    assert_eq!((first.status(), first.headers().get("etag")), (StatusCode::OK, None));
    drop(first);
    let again = send(&pool, again).await.unwrap_or_else(|failure| panic!("{}", failure.error));

    assert_eq!(again.status(), StatusCode::OK);
}

#[tokio::test(flavor = "local")]
async fn a_link_is_refused_wherever_it_stands_in_a_path() {
    let ftp = Ftp::default();
    for name in ["/base/in/a.csv", "/base/link/a.csv", "/base/in/link"] {
        ftp.has(name, "there");
    }
    ftp.0.links.set(Some(&["/base", "/base/link", "/base/in/link"]));
    let service = ftp.start().await;
    // What the config itself names is the business of who wrote it.
    let options = FileOptions { links: Links::Refuse, names_of_config: 1, ..options() };
    let pool = pool(&upstream(&service, Scheme::Ftp, plain(), options));
    let asked = |method: &str, target: &str| {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut asked = outgoing(method, target, RequestBody::Empty);
        asked.fields.insert("destination", "/base/link/b".parse().unwrap());
        asked
    };

    for (method, target) in [
        ("GET", "/base/link/a.csv"),
        ("HEAD", "/base/in/link"),
        ("GET", "/base/link/"),
        ("GET", "/base/link/below/"),
        ("PUT", "/base/in/link"),
        ("PUT", "/base/link/b.csv"),
        ("DELETE", "/base/link/a.csv"),
        ("MKCOL", "/base/link/new/"),
        ("MOVE", "/base/link/a.csv"),
        ("MOVE", "/base/in/a.csv"),
    ] {
        assert_eq!(code(&pool, asked(method, target)).await, "file_forbidden", "{method} {target}");
    }
    assert_eq!(fetch(&pool, "/base/in/a.csv").await, "there");
    // It is the link itself that goes.
    assert_eq!(code(&pool, asked("DELETE", "/base/in/link")).await, "none");
    assert_eq!(ftp.names(), ["/base/in/a.csv", "/base/link/a.csv"]);
}
