//! Files and folders of any size pass in the memory of a few pieces.
//!
//! `SIDEKEY_TEST_MEBIBYTES` is how much passes each way, and `SIDEKEY_TEST_NAMES` how many names there are.

use std::fs::{self, File};
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::number;
use super::servers::server;
use crate::lab::Lab;
use crate::lab::client::{Ended, Request};
use crate::lab::files::FileServer;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_any_size_passes_each_way_in_little_memory_by_sftp() {
    pass("OpenSSH").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_any_size_passes_each_way_in_little_memory_by_ftp() {
    pass("ProFTPD").await;
}

async fn pass(name: &str) {
    let lab = Lab::start().await;
    let server = FileServer::start(&lab, server(name)).await;
    let config = format!("services: {{ box: {{ url: '{}', {} }} }}\nworkers: 1", server.url(), server.login());
    let sidekey = lab.sidekey(&config).await;
    let size = number("SIDEKEY_TEST_MEBIBYTES").unwrap_or(256) << 20;
    // It costs no disk: nothing was ever written there.
    File::create(server.root.join("down")).unwrap().set_len(size).unwrap();
    fs::write(server.root.join("small"), "1").unwrap();
    assert_eq!(sidekey.get("/box/small").await.status, 200);
    let idle = sidekey.memory();

    let app = TcpStream::connect(&sidekey.address).await.unwrap();
    let read = download(app, size).await;
    let down = sidekey.peak_memory();
    let app = TcpStream::connect(&sidekey.address).await.unwrap();
    let status = upload(app, size).await;
    let up = sidekey.peak_memory();

    assert_eq!(read, size);
    assert_eq!(status, "HTTP/1.1 201");
    assert_eq!(fs::metadata(server.root.join("up")).unwrap().len(), size);
    println!("{name}: {size} bytes each way: {idle} KiB before, {down} KiB at most after one, {up} KiB after both");
    assert!(up < idle + 64 * 1024, "{name}: {idle} KiB before, {down} KiB, then {up} KiB");
}

/// How many bytes come behind the head.
async fn download(mut app: TcpStream, size: u64) -> u64 {
    app.write_all(b"GET /box/down HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let (mut head, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
    while !head.ends_with(b"\r\n\r\n") {
        head.push(app.read_u8().await.unwrap());
    }
    let mut read = 0;
    while read < size {
        match app.read(&mut buffer).await.unwrap() {
            0 => break,
            length => read += length as u64,
        }
    }
    read
}

/// The beginning of the status line.
async fn upload(mut app: TcpStream, size: u64) -> String {
    let head = format!("PUT /box/up HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n");
    app.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..size >> 20 {
        app.write_all(&piece).await.unwrap();
    }
    let mut status = [0; 12];
    app.read_exact(&mut status).await.unwrap();
    String::from_utf8(status.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_names_are_listed_in_little_memory_by_sftp() {
    list("OpenSSH", many()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_names_are_listed_in_little_memory_by_list() {
    list("vsftpd", many()).await;
}

/// The server takes its time.
#[tokio::test(flavor = "multi_thread")]
async fn many_names_are_listed_in_little_memory_by_mlsd() {
    list("ProFTPD", many() / 5).await;
}

/// So many names, which is the limit, and one more, which is broken off.
async fn list(name: &str, many: usize) {
    let lab = Lab::start().await;
    let server = FileServer::start(&lab, server(name)).await;
    let (url, login) = (server.url(), server.login());
    let files = format!("files: {{ list_limit: {many} }}");
    let sidekey = lab.sidekey(&format!("services: {{ box: {{ url: '{url}', {login}, {files} }} }}\nworkers: 1")).await;
    fill(&server.root.join("many"), many);
    assert_eq!(sidekey.get("/box/many/a-name-of-the-usual-length-000000.csv").await.status, 200);
    let idle = sidekey.memory();

    let lines = sidekey.send(Request::get("/box/many/").field("Accept", "text/plain")).await;
    let json = sidekey.get("/box/many/").await;
    let peak = sidekey.peak_memory();
    fs::write(server.root.join("many/one-more"), "1").unwrap();
    let more = sidekey.get("/box/many/").await;

    assert_eq!((lines.status, lines.ended, lines.text().lines().count()), (200, Ended::Whole, many));
    assert_eq!(json.json()["entries"].as_array().unwrap().len(), many);
    println!("{name}: {many} names: {idle} KiB before, {peak} KiB at most");
    assert!(peak < idle + 16 * 1024, "{idle} KiB before, {peak} KiB at most");
    assert_ne!((more.status, more.ended), (200, Ended::Whole));
}

/// Most are links, which are made faster than files; some file systems allow 65,000 to a file.
fn fill(folder: &Path, many: usize) {
    fs::create_dir(folder).unwrap();
    let path = |number| folder.join(format!("a-name-of-the-usual-length-{number:06}.csv"));
    for number in 0..many {
        match number % 30_000 {
            0 => fs::write(path(number), "1").unwrap(),
            beyond => fs::hard_link(path(number - beyond), path(number)).unwrap(),
        }
    }
}

fn many() -> usize {
    number("SIDEKEY_TEST_NAMES").map_or(100_000, |many| usize::try_from(many).unwrap())
}
