//! What apps can ask of a file server, at every server: the table of docs/files.md.
//!
//! Each row is tried at each server. What one can not do stands in [`LIMITS`] with the reason, as on the page, and is a
//! failure where the server can do it after all.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::servers::{FIELD, SERVERS};
use crate::lab::Lab;
use crate::lab::client::{Answer, Connection, Ended, Request, exchange};
use crate::lab::files::{FileServer, Kind};
use crate::lab::sidekey::Sidekey;

/// What a server can not do, by its name, the row's, and as docs/files.md tells it.
const LIMITS: &[(&str, &str, &str)] = &[
    ("vsftpd", "last_modified", "no `Last-Modified` and no `modified`: it tells local times of an unknown zone"),
    (
        "vsftpd",
        "conditional_get",
        "no `ETag`: a size alone tells no version from another, and a `GET` gets 304 by `If-None-Match: *` alone",
    ),
    ("vsftpd", "conditional_put", "no `If-Match` but `*`: there is no tag to compare"),
    (
        "vsftpd",
        "hidden_names_are_listed",
        "no names in a listing that begin with a dot: a folder with such alone looks empty, and `DELETE` of it is 409",
    ),
    (
        "vsftpd",
        "put_into_a_missing_folder",
        "a `PUT` into a folder that is missing is 403 and not 409: it says that it could not make the file, and no more",
    ),
    (
        "ProFTPD's mod_sftp",
        "a_path_through_a_file",
        "a path through a file is 403 and not 404: it says that it is forbidden",
    ),
    (
        "ProFTPD's mod_sftp",
        "a_change_through_a_file",
        "`HEAD`, `DELETE` and `MOVE` of a path through a file are 502 and not 404: it says that it failed",
    ),
    ("Paramiko", "names_that_are_no_utf8", "no names that are no UTF-8"),
    (
        "Pure-FTPd",
        "put_into_a_missing_folder",
        "a `PUT` into a folder that is missing is 403 and not 409: it says that it could not make the file, and no more",
    ),
    (
        "Pure-FTPd",
        "spaces_at_the_ends_of_a_name",
        "no names that end in a space: it writes `_` for that, and says nothing",
    ),
    ("pyftpdlib", "names_that_are_no_utf8", "no names that are no UTF-8"),
];

#[test]
fn the_page_tells_every_limit() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/files.md")).unwrap();
    for (server, _, told) in LIMITS {
        assert!(page.contains(&format!("\n| {server} | {told} |\n")), "docs/files.md lacks: | {server} | {told} |");
    }
    assert_eq!(
        page.matches("\n| ").count(),
        ROWS_OF_OTHER_TABLES + LIMITS.len(),
        "docs/files.md tells limits of its own"
    );
}

/// Of the table of requests; the lines below the headings do not begin as rows do.
const ROWS_OF_OTHER_TABLES: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn every_file_server_does_what_apps_ask_or_its_limit_is_written_down() {
    try_all(&SERVERS).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "these servers are installed by ./test field"]
async fn every_file_server_of_the_field_does_what_apps_ask_or_its_limit_is_written_down() {
    try_all(&FIELD).await;
}

/// All servers and all rows, and then everything that is not as expected.
async fn try_all(kinds: &'static [Kind]) {
    let mut wrong = Vec::new();
    for kind in kinds {
        let desk = Desk::start(kind).await;
        for (row, outcome) in desk.rows().await {
            let limit = LIMITS.iter().find(|(server, of, _)| kind.name.starts_with(server) && *of == row);
            match (outcome, limit) {
                (Err(why), None) => wrong.push(format!("{}: {row}: {why}", kind.name)),
                (Ok(()), Some(_)) => wrong.push(format!("{}: {row} works, which is not written down", kind.name)),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a row says of a server: what was another way than it should be.
type Outcome = Result<(), String>;

macro_rules! rows {
    ($desk:ident: $($row:ident)+) => { vec![$((stringify!($row), $desk.$row().await)),+] };
}

/// One server behind one Sidekey.
struct Desk {
    sidekey: Sidekey,
    server: FileServer,
    _lab: Lab,
}

impl Desk {
    async fn start(kind: &'static Kind) -> Self {
        let lab = Lab::start().await;
        let server = FileServer::start(&lab, kind).await;
        let config = format!("services: {{ files: {{ url: '{}', {} }} }}", server.url(), server.login());
        Self { sidekey: lab.sidekey(&config).await, server, _lab: lab }
    }

    /// The last one ends the server.
    async fn rows(&self) -> Vec<(&'static str, Outcome)> {
        rows! { self:
            get head range last_modified listing_as_json listing_as_lines a_folder_without_its_slash put_new put_over
            put_only_if_new put_into_a_missing_folder delete_file delete_folder mkcol move_file move_over move_a_folder_over_a_file hidden_names_are_listed conditional_get conditional_put
            a_missing_file a_path_through_a_file a_change_through_a_file a_folder_where_a_file_is_meant names_that_are_no_utf8 spaces_and_signs spaces_at_the_ends_of_a_name
            a_large_file_both_ways twenty_uploads_in_a_row put_cut_in_the_middle put_over_cut_in_the_middle
            the_end_of_the_server_in_the_middle
        }
    }

    async fn get(&self) -> Outcome {
        self.file("get.txt", b"0123456789");

        let answer = self.ask(Request::get("/files/get.txt")).await;

        is("status", &answer, answer.status, 200)?;
        is("body", &answer, answer.text().as_str(), "0123456789")?;
        is("length", &answer, answer.field("content-length").as_deref(), Some("10"))?;
        is("ranges", &answer, answer.field("accept-ranges").as_deref(), Some("bytes"))
    }

    async fn head(&self) -> Outcome {
        self.file("head.txt", b"0123456789");

        let answer = self.ask(Request::new("HEAD", "/files/head.txt")).await;

        is("status", &answer, answer.status, 200)?;
        is("length", &answer, answer.field("content-length").as_deref(), Some("10"))
    }

    async fn range(&self) -> Outcome {
        self.file("range.txt", b"0123456789");
        let of = |range: &str| Request::get("/files/range.txt").field("Range", range);

        for (range, body, of_it) in [("bytes=2-5", "2345", "bytes 2-5/10"), ("bytes=-3", "789", "bytes 7-9/10")] {
            let answer = self.ask(of(range)).await;
            is("status", &answer, answer.status, 206)?;
            is("body", &answer, answer.text().as_str(), body)?;
            is("range", &answer, answer.field("content-range").as_deref(), Some(of_it))?;
        }
        let beyond = self.ask(of("bytes=20-")).await;
        is("status beyond the end", &beyond, beyond.status, 416)?;
        is("type beyond the end", &beyond, beyond.field("content-type").as_deref(), Some("application/problem+json"))?;
        let upper = self.ask(of("BYTES=2-5")).await;
        is("body of a unit in capitals", &upper, upper.text().as_str(), "2345")?;
        is("range beyond the end", &beyond, beyond.field("content-range").as_deref(), Some("bytes */10"))
    }

    async fn last_modified(&self) -> Outcome {
        let file = File::create(self.path("old.txt")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_580_688_000)).unwrap();
        self.is_ours("old.txt");

        let answer = self.ask(Request::new("HEAD", "/files/old.txt")).await;

        let told = answer.field("last-modified");
        is("time", &answer, told.as_deref(), Some("Mon, 03 Feb 2020 00:00:00 GMT"))
    }

    async fn listing_as_json(&self) -> Outcome {
        self.folder("json/inner");
        self.file("json/one.txt", b"1");
        self.file("json/two three.txt", b"22");

        let answer = self.ask(Request::get("/files/json/")).await;

        is("status", &answer, answer.status, 200)?;
        let mut entries = answer.json()["entries"].as_array().cloned().unwrap_or_default();
        entries.sort_by_key(|entry| entry["href"].as_str().unwrap_or_default().to_owned());
        let told = entries.iter().map(|entry| json!([entry["name"], entry["href"], entry["type"]]));
        let expected = json!([
            ["inner", "inner/", "directory"],
            ["one.txt", "one.txt", "file"],
            ["two three.txt", "two%20three.txt", "file"]
        ]);
        is("entries", &answer, Value::from_iter(told), expected)?;
        is("size", &answer, entries[2]["size"].clone(), json!(2))
    }

    async fn listing_as_lines(&self) -> Outcome {
        self.folder("lines");
        self.file("lines/one.txt", b"1");
        let listing = |accepted: &str| Request::get("/files/lines/").field("Accept", accepted);

        let text = self.ask(listing("text/plain")).await;
        let ndjson = self.ask(listing("application/x-ndjson")).await;

        is("text", &text, text.text().trim_end(), "one.txt")?;
        let entry: Value = serde_json::from_str(ndjson.text().trim_end()).unwrap_or_default();
        is("line of JSON", &ndjson, entry["name"].as_str(), Some("one.txt"))
    }

    async fn a_folder_without_its_slash(&self) -> Outcome {
        self.folder("slash");

        let answer = self.ask(Request::get("/files/slash")).await;

        is("status", &answer, answer.status, 301)?;
        is("place", &answer, answer.field("location").as_deref(), Some("/files/slash/"))
    }

    async fn put_new(&self) -> Outcome {
        self.folder("new");

        let answer = self.ask(put("/files/new/a.txt", "new")).await;

        is("status", &answer, answer.status, 201)?;
        is("place", &answer, answer.field("location").as_deref(), Some("/files/new/a.txt"))?;
        self.only_has("new", &[("a.txt", "new")])
    }

    async fn put_over(&self) -> Outcome {
        self.folder("over");
        self.file("over/a.txt", b"the old one, which is longer");

        let answer = self.ask(put("/files/over/a.txt", "new")).await;

        is("status", &answer, answer.status, 204)?;
        self.only_has("over", &[("a.txt", "new")])
    }

    async fn put_only_if_new(&self) -> Outcome {
        self.folder("only");
        self.file("only/a.txt", b"old");

        let there = self.ask(put("/files/only/a.txt", "new").field("If-None-Match", "*")).await;
        let not_there = self.ask(put("/files/only/b.txt", "new").field("If-None-Match", "*")).await;

        is("status", &there, there.status, 412)?;
        is("status", &not_there, not_there.status, 201)?;
        self.only_has("only", &[("a.txt", "old"), ("b.txt", "new")])
    }

    async fn put_into_a_missing_folder(&self) -> Outcome {
        let answer = self.ask(put("/files/no-such-folder/a.txt", "new")).await;

        is("status", &answer, answer.status, 409)
    }

    async fn delete_file(&self) -> Outcome {
        self.folder("delete");
        self.file("delete/a.txt", b"old");

        let first = self.ask(Request::new("DELETE", "/files/delete/a.txt")).await;
        let second = self.ask(Request::new("DELETE", "/files/delete/a.txt")).await;

        is("status", &first, first.status, 204)?;
        is("status of a missing one", &second, second.status, 404)?;
        self.only_has("delete", &[])
    }

    async fn delete_folder(&self) -> Outcome {
        self.folder("delete-folder/inner");

        let as_file = self.ask(Request::new("DELETE", "/files/delete-folder/inner")).await;
        let answer = self.ask(Request::new("DELETE", "/files/delete-folder/inner/")).await;

        is("status without a slash", &as_file, as_file.status, 409)?;
        is("status", &answer, answer.status, 204)?;
        self.only_has("delete-folder", &[])
    }

    async fn mkcol(&self) -> Outcome {
        self.folder("mkcol");

        let made = self.ask(Request::new("MKCOL", "/files/mkcol/a/")).await;
        let again = self.ask(Request::new("MKCOL", "/files/mkcol/a/")).await;
        let posted = self.ask(Request::post("/files/mkcol/b/?mkdir", "")).await;

        is("status", &made, made.status, 201)?;
        is("status of an existing one", &again, again.status, 409)?;
        is("status of POST", &posted, posted.status, 201)?;
        holds("both folders", &posted, ["mkcol/a", "mkcol/b"].iter().all(|folder| self.path(folder).is_dir()))
    }

    async fn move_file(&self) -> Outcome {
        self.folder("move");
        self.file("move/a.txt", b"1");
        self.file("move/c.txt", b"2");
        let moved = Request::new("MOVE", "/files/move/a.txt").field("Destination", "/files/move/b.txt");

        let moved = self.ask(moved).await;
        let posted = self.ask(Request::post("/files/move/c.txt?rename=/files/move/d.txt", "")).await;

        is("status", &moved, moved.status, 201)?;
        is("status of POST", &posted, posted.status, 201)?;
        self.only_has("move", &[("b.txt", "1"), ("d.txt", "2")])
    }

    async fn move_over(&self) -> Outcome {
        self.folder("move-over");
        self.file("move-over/a.txt", b"1");
        self.file("move-over/b.txt", b"2");
        let moved = Request::new("MOVE", "/files/move-over/a.txt").field("Destination", "/files/move-over/b.txt");

        let refused = self.ask(moved.clone().field("Overwrite", "F")).await;
        self.only_has("move-over", &[("a.txt", "1"), ("b.txt", "2")])?;
        let answer = self.ask(moved).await;

        is("status of Overwrite: F", &refused, refused.status, 412)?;
        is("status", &answer, answer.status, 204)?;
        self.only_has("move-over", &[("b.txt", "1")])
    }

    async fn move_a_folder_over_a_file(&self) -> Outcome {
        self.folder("over-file/inner");
        self.file("over-file/a.txt", b"1");
        let moved = |from: &str| Request::new("MOVE", from).field("Destination", "/files/over-file/a.txt");

        for from in ["/files/over-file/inner", "/files/over-file/inner/"] {
            let answer = self.ask(moved(from)).await;
            is(from, &answer, answer.status, 409)?;
        }
        self.only_has("over-file", &[("a.txt", "1"), ("inner", "")])
    }

    async fn hidden_names_are_listed(&self) -> Outcome {
        self.folder("hidden");
        self.file("hidden/.a.txt", b"1");

        let listed = self.ask(Request::get("/files/hidden/").field("Accept", "text/plain")).await;
        is("listing", &listed, listed.text().as_str(), ".a.txt\n")
    }

    async fn conditional_get(&self) -> Outcome {
        self.file("conditional.txt", b"old");
        let first = self.ask(Request::get("/files/conditional.txt")).await;
        let tag = first.field("etag").unwrap_or_default();

        let answer = self.ask(Request::get("/files/conditional.txt").field("If-None-Match", &tag)).await;

        holds("a weak tag", &first, tag.starts_with("W/\""))?;
        is("status", &answer, answer.status, 304)
    }

    async fn conditional_put(&self) -> Outcome {
        self.folder("conditional");
        self.file("conditional/a.txt", b"old");
        let first = self.ask(Request::new("HEAD", "/files/conditional/a.txt")).await;
        let tag = first.field("etag").unwrap_or_default();
        let with = |tag: &str| put("/files/conditional/a.txt", "another length").field("If-Match", tag);

        let other = self.ask(with("W/\"another\"")).await;
        self.only_has("conditional", &[("a.txt", "old")])?;
        let same = self.ask(with(&tag)).await;
        let since = self.ask(with(&tag)).await;

        is("status of another tag", &other, other.status, 412)?;
        is("status of its tag", &same, same.status, 204)?;
        is("status of a tag of before", &since, since.status, 412)
    }

    async fn a_missing_file(&self) -> Outcome {
        for method in ["GET", "HEAD"] {
            let answer = self.ask(Request::new(method, "/files/missing.txt")).await;
            is(method, &answer, answer.status, 404)?;
        }
        let folder = self.ask(Request::get("/files/missing/")).await;
        is("status of a missing folder", &folder, folder.status, 404)
    }

    async fn a_path_through_a_file(&self) -> Outcome {
        self.file("through.txt", b"1");

        for target in ["/files/through.txt/", "/files/through.txt/a.txt"] {
            let answer = self.ask(Request::get(target)).await;
            is(target, &answer, answer.status, 404)?;
        }
        Ok(())
    }

    async fn a_change_through_a_file(&self) -> Outcome {
        self.file("through.txt", b"1");

        for method in ["HEAD", "DELETE", "MOVE"] {
            let request = Request::new(method, "/files/through.txt/a.txt").field("Destination", "/files/b.txt");
            let answer = self.ask(request).await;
            is(method, &answer, answer.status, 404)?;
        }
        Ok(())
    }

    async fn a_folder_where_a_file_is_meant(&self) -> Outcome {
        self.folder("meant/inner");

        let answer = self.ask(put("/files/meant/inner", "a file")).await;

        holds("an error of the app's", &answer, (400..500).contains(&answer.status))?;
        holds("the folder", &answer, self.path("meant/inner").is_dir())?;
        self.only_has("meant", &[("inner", "")])
    }

    async fn names_that_are_no_utf8(&self) -> Outcome {
        self.folder("odd");
        let name = OsStr::from_bytes(b"caf\xe9.txt");

        let written = self.ask(put("/files/odd/caf%E9.txt", "latin")).await;
        is("status", &written, written.status, 201)?;
        let on_disk = fs::read(self.path("odd").join(name)).unwrap_or_default();
        is("content", &written, on_disk.as_slice(), b"latin".as_slice())?;
        let listed = self.ask(Request::get("/files/odd/")).await;
        let read = self.ask(Request::get("/files/odd/caf%E9.txt")).await;

        let entry = listed.json()["entries"][0].clone();
        is("entry", &listed, [entry["href"].as_str(), entry["name"].as_str()], [Some("caf%E9.txt"), None])?;
        is("body", &read, read.text().as_str(), "latin")
    }

    async fn spaces_and_signs(&self) -> Outcome {
        self.folder("signs");
        let names =
            [("a  b", "a%20%20b"), ("100% [x]", "100%25%20[x]"), ("-rf *", "-rf%20*"), ("zürich", "z%C3%BCrich")];

        for (name, segment) in names {
            let target = format!("/files/signs/{segment}");
            let written = self.ask(put(&target, name)).await;
            is("status", &written, written.status, 201)?;
            let read = self.ask(Request::get(&target)).await;
            is("body", &read, read.text().as_str(), name)?;
        }
        self.only_has("signs", &names.map(|(name, _)| (name, name)))
    }

    async fn spaces_at_the_ends_of_a_name(&self) -> Outcome {
        self.folder("ends");

        let written = self.ask(put("/files/ends/%20a%20", "spaced")).await;
        let read = self.ask(Request::get("/files/ends/%20a%20")).await;

        is("status", &written, written.status, 201)?;
        is("body", &read, read.text().as_str(), "spaced")?;
        self.only_has("ends", &[(" a ", "spaced")])
    }

    async fn a_large_file_both_ways(&self) -> Outcome {
        self.folder("large");
        let mut random = fastrand::Rng::with_seed(1);
        let bytes: Vec<u8> = (0..3_000_001).map(|_| random.u8(..)).collect();

        let written = self.ask(Request::post("/files/large/a.bin", bytes.clone()).method("PUT")).await;
        is("status", &written, written.status, 201)?;
        holds("what is on disk", &written, fs::read(self.path("large/a.bin")).is_ok_and(|there| there == bytes))?;
        let read = self.ask(Request::get("/files/large/a.bin")).await;

        is("status", &read, (read.status, read.ended), (200, Ended::Whole)).map_err(|_| "no 200".to_owned())?;
        if read.body == bytes { Ok(()) } else { Err("other bytes come back".to_owned()) }
    }

    async fn twenty_uploads_in_a_row(&self) -> Outcome {
        self.folder("row");
        let mut connection = Connection::open(&self.sidekey.address).await;
        for number in 0..20 {
            let answer = connection.send(put(&format!("/files/row/{number}.txt"), "again")).await;
            is(&format!("status of number {number}"), &answer, answer.status, 201)?;
        }
        let there = fs::read_dir(self.path("row")).unwrap().count();
        if there == 20 { Ok(()) } else { Err(format!("{there} files")) }
    }

    async fn put_cut_in_the_middle(&self) -> Outcome {
        self.folder("cut");
        self.cut_put("cut").await?;
        self.only_has("cut", &[])
    }

    async fn put_over_cut_in_the_middle(&self) -> Outcome {
        self.folder("cut-over");
        self.file("cut-over/a.bin", b"old");
        self.cut_put("cut-over").await?;
        self.only_has("cut-over", &[("a.bin", "old")])
    }

    /// Writes half of `a.bin`, is gone once something has come to the disk, and waits until that is gone too.
    async fn cut_put(&self, folder: &str) -> Outcome {
        let mut connection = Connection::open(&self.sidekey.address).await;
        let host = &self.sidekey.address;
        let head = format!("PUT /files/{folder}/a.bin HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4000000\r\n\r\n");
        connection.write(&head).await;
        connection.write(vec![b'x'; 2_000_000]).await;
        self.until_on_disk(folder, "something of it", |bytes| bytes > 100_000).await?;
        connection.reset();
        self.until_on_disk(folder, "nothing of it", |bytes| bytes < 100).await
    }

    /// Looks again and again at how many bytes there are in a folder.
    async fn until_on_disk(&self, folder: &str, what: &str, holds: impl Fn(u64) -> bool) -> Outcome {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let files = fs::read_dir(self.path(folder)).unwrap().flatten();
            if holds(files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(format!("waited in vain for {what} on disk"))
    }

    async fn the_end_of_the_server_in_the_middle(&self) -> Outcome {
        File::create(self.path("endless.bin")).unwrap().set_len(1 << 30).unwrap();
        self.is_ours("endless.bin");
        let mut connection = Connection::open(&self.sidekey.address).await;
        connection.write(Request::get("/files/endless.bin").to_bytes(&self.sidekey.address)).await;
        connection.until("\0\0\0\0").await;

        self.server.kill();

        let answer = connection.answer().await;
        is("end", &Answer { body: Vec::new(), ..answer.clone() }, answer.ended, Ended::Reset)
    }

    async fn ask(&self, request: Request) -> Answer {
        exchange(&self.sidekey.address, request).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.server.root.join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
        self.is_ours(name);
    }

    fn folder(&self, name: &str) {
        fs::create_dir_all(self.path(name)).unwrap();
        for ancestor in std::path::Path::new(name).ancestors().filter(|part| !part.as_os_str().is_empty()) {
            self.is_ours(ancestor.to_str().unwrap());
        }
    }

    /// Gives it to whom the server's root belongs to: one runs as somebody else.
    fn is_ours(&self, name: &str) {
        use std::os::unix::fs::{MetadataExt, chown};
        let owner = fs::metadata(&self.server.root).unwrap();
        chown(self.path(name), Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    /// Whether a folder has these files, with this content, and nothing else (a folder counts as empty).
    fn only_has(&self, folder: &str, files: &[(&str, &str)]) -> Outcome {
        let there = fs::read_dir(self.path(folder)).unwrap().map(|entry| {
            let entry = entry.unwrap();
            let content = fs::read(entry.path()).unwrap_or_default();
            (entry.file_name().to_string_lossy().into_owned(), String::from_utf8_lossy(&content).into_owned())
        });
        let mut there: Vec<_> = there.collect();
        there.sort();
        let mut expected: Vec<_> =
            files.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect();
        expected.sort();
        if there == expected { Ok(()) } else { Err(format!("on disk: {there:?} instead of {expected:?}")) }
    }
}

fn put(target: &str, body: &str) -> Request {
    Request::post(target, body).method("PUT")
}

fn is<T: PartialEq + std::fmt::Debug>(what: &str, answer: &Answer, seen: T, expected: T) -> Outcome {
    if seen == expected { Ok(()) } else { Err(format!("{what}: {seen:?} instead of {expected:?} in {answer:?}")) }
}

fn holds(what: &str, answer: &Answer, it_does: bool) -> Outcome {
    if it_does { Ok(()) } else { Err(format!("{what} is missing: {answer:?}")) }
}

const PATIENCE: Duration = Duration::from_secs(20);
