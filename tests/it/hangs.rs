//! What hangs hangs alone: a mount that is gone, a service manager that does not listen, a log that nobody reads. What dies
//! does not do so in silence.

use std::fs;
use std::io::{ErrorKind, PipeReader, PipeWriter, Write, pipe};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::client::{Request, exchange};
use crate::lab::fault::{Fault, Reply};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, free_port, until};

/// Has calls of the C library for files below `HANG_BELOW` wait for as long as the file `HANG_WHILE` exists, as they do on
/// a mount whose server is gone; and the thread `worker-1` hang, or fail, where it waits for its sockets.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

static void hold(const char *call, const char *path) {
    const char *below = getenv("HANG_BELOW"), *flag = getenv("HANG_WHILE"), *only = getenv("HANG_CALL");
    if (!path || !below || !flag || !only || strcmp(only, call) || strncmp(path, below, strlen(below))) return;
    while (access(flag, F_OK) == 0) usleep(10000);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    hold("open", path);
    return ((int (*)(const char *, int, mode_t))dlsym(RTLD_NEXT, "open64"))(path, flags, mode);
}

int epoll_wait(int queue, struct epoll_event *events, int most, int timeout) {
    const char *flag = getenv("HANG_WHILE"), *only = getenv("HANG_CALL");
    char thread[16] = "";
    prctl(PR_GET_NAME, thread);
    if (flag && only && !strcmp(thread, "worker-1")) {
        while (!strcmp(only, "worker") && access(flag, F_OK) == 0) usleep(10000);
        if (!strcmp(only, "worker-fails") && access(flag, F_OK) == 0) {
            errno = EBADF;
            return -1;
        }
    }
    return ((int (*)(int, struct epoll_event *, int, int))dlsym(RTLD_NEXT, "epoll_wait"))(queue, events, most, timeout);
}

int inotify_add_watch(int queue, const char *path, uint32_t mask) {
    hold("watch", path);
    return ((int (*)(int, const char *, uint32_t))dlsym(RTLD_NEXT, "inotify_add_watch"))(queue, path, mask);
}
"#;

/// A mount that can be made to hang.
struct Mount<'l>(&'l Lab);

impl<'l> Mount<'l> {
    fn new(lab: &'l Lab) -> Self {
        lab.write("hang.c", SHIM);
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-o", "hang.so", "hang.c", "-ldl"])
            .current_dir(lab.folder())
            .status()
            .expect("the compiler that links Rust");
        assert!(made.success());
        fs::create_dir(lab.path("mount")).unwrap();
        for file in ["partner.pem", "partner.key"] {
            fs::copy(lab.path("tls").join(file), lab.path("mount").join(file)).unwrap();
        }
        Self(lab)
    }

    fn variables(&self, call: &str) -> Vec<(&'static str, String)> {
        let path = |file: &str| self.0.path(file).display().to_string();
        vec![
            ("LD_PRELOAD", path("hang.so")),
            ("HANG_BELOW", path("mount")),
            ("HANG_WHILE", path("hangs")),
            ("HANG_CALL", call.to_owned()),
        ]
    }

    fn hang(&self) {
        self.0.write("hangs", "");
    }

    fn come_back(&self) {
        fs::remove_file(self.0.path("hangs")).unwrap();
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _gone = fs::remove_file(self.0.path("hangs"));
    }
}

/// A token endpoint whose tokens are refreshed about once a second.
async fn idp() -> Fault {
    Fault::plain(|request| Reply::token(&format!("t{}", request.number), 2)).await
}

fn config(idp: &Fault, title: &str) -> String {
    format!(
        "certificates: {{ partner: {{ chain: mount/partner.pem, key: mount/partner.key }} }}
services:
  payments: {{ url: $SERVICE/v1, certificate: partner, title: {title} }}
  orders:
    url: $SERVICE/v1
    auth: {{ type: oauth2_client_credentials, token_url: {}/token, client_id: me, client_secret: s, refresh_ahead: 1s }}",
        idp.url()
    )
}

/// Probes are answered, requests are carried, and tokens come in time.
async fn all_else_goes_on(sidekey: &Sidekey, idp: &Fault) {
    let fetched = idp.count();
    let mut waits = Vec::new();
    for _ in 0..9 {
        let asked = Instant::now();
        assert_eq!(sidekey.admin("/livez").await.status, 200);
        waits.push(asked.elapsed());
    }
    waits.sort();
    assert!(waits[4] < Duration::from_millis(100), "/livez takes {waits:?}");
    assert_eq!(sidekey.get("/payments/orders").await.status_of_service(), 200);
    let seen = Instant::now();
    idp.until_received(fetched + 3).await;
    assert!(seen.elapsed() < Duration::from_secs(8), "three refreshes took {:?}", seen.elapsed());
}

#[tokio::test]
async fn a_mount_that_hangs_holds_up_nothing_but_reloads_and_is_named() {
    let lab = Lab::start().await;
    let (mount, idp) = (Mount::new(&lab), idp().await);
    let sidekey = lab.sidekey_with(&config(&idp, "One"), &[], &mount.variables("open")).await;
    let generation = sidekey.generation().await;

    mount.hang();
    sidekey.rewrite(&lab, &config(&idp, "Two"));
    let named = format!("reading `{}` hangs, since 20", lab.path("mount/partner.").display());
    sidekey.until_logged(named.split("partner.").next().unwrap()).await;
    all_else_goes_on(&sidekey, &idp).await;
    assert_eq!(sidekey.generation().await, generation);

    mount.come_back();
    sidekey.until_reloaded_since(generation).await;
    sidekey.until_logged("hangs no more, it took").await;
}

#[tokio::test]
async fn a_mount_that_can_not_be_watched_is_looked_at_instead() {
    let lab = Lab::start().await;
    let (mount, idp) = (Mount::new(&lab), idp().await);
    mount.hang();
    let sidekey = lab.sidekey_with(&config(&idp, "One"), &[], &mount.variables("watch")).await;
    let generation = sidekey.generation().await;

    sidekey.until_logged(&format!("watching `{}` hangs, since 20", lab.path("mount").display())).await;
    all_else_goes_on(&sidekey, &idp).await;
    sidekey.rewrite(&lab, &config(&idp, "Two"));
    sidekey.until_reloaded_since(generation).await;

    mount.come_back();
    sidekey.until_logged("hangs no more, it took").await;
}

#[tokio::test]
async fn a_worker_that_hangs_is_told_of_by_livez_until_it_turns_again() {
    let lab = Lab::start().await;
    let mount = Mount::new(&lab);
    let variables = mount.variables("worker");
    let sidekey = lab.sidekey_with("services: {}", &["--workers", "2"], &variables).await;
    assert_eq!(sidekey.admin("/livez").await.status, 200);

    mount.hang();
    let answer =
        until("503 of /livez", async || Some(sidekey.admin("/livez").await).filter(|it| it.status == 503)).await;
    let detail = answer.json()["detail"].to_string();
    assert!(detail.contains("worker 1 has not turned for 1"), "{detail}");
    assert_eq!(sidekey.admin("/readyz").await.status, 200, "whether it should get traffic is another question");

    mount.come_back();
    until("200 of /livez", async || (sidekey.admin("/livez").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn a_worker_that_is_gone_ends_the_process_with_exit_code_1_and_is_named() {
    let lab = Lab::start().await;
    let mount = Mount::new(&lab);
    let variables = mount.variables("worker-fails");
    let sidekey = lab.sidekey_with("services: {}", &["--workers", "2"], &variables).await;

    mount.hang();
    let (code, log) = sidekey.ended().await;

    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("the thread `worker-1` panicked; the process ends, so that"), "{log}");
    assert!(log.contains("error: the thread `worker-1` panicked"), "{log}");
}

#[tokio::test]
async fn a_service_manager_that_does_not_listen_holds_nothing_up() {
    let lab = Lab::start().await;
    let path = lab.path("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    let other = UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    let full = (0..100_000).find_map(|_| other.send_to(b"X=1", &path).err()).expect("its queue is full");
    assert_eq!(full.kind(), ErrorKind::WouldBlock);

    let variable = [("NOTIFY_SOCKET", path.display().to_string())];
    let sidekey = lab.sidekey_with("services: {}", &[], &variable).await;

    sidekey.until_logged("telling the service manager hangs, since 20").await;
    assert_eq!(sidekey.admin("/livez").await.status, 200);
    assert_eq!(sidekey.stop().await.0, Some(0), "nor is the end held up");
    drop(socket);
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_neither_traffic_nor_the_end() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::ok("welcome")).await;
    let [address, admin] = std::array::from_fn(|_| format!("127.0.0.1:{}", free_port()));
    let config = format!(
        "listen: {address}\nadmin: {{ listen: {admin} }}\nlog: {{ level: trace }}\nservices: {{ payments: {{ url: {} }} }}",
        service.url()
    );
    lab.write("sidekey.yaml", &config);
    let (unread, full) = full_pipe().await;
    let mut program = lab.program();
    program.args(["run", "--config", "sidekey.yaml"]).stdout(full.try_clone().unwrap()).stderr(full);
    let mut process = program.spawn().unwrap();

    until("an answer", async || {
        tokio::net::TcpStream::connect(&address).await.ok()?;
        (exchange(&address, Request::get("/payments/x")).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(exchange(&admin, Request::get("/livez")).await.status, 200);
    kill(Pid::from_raw(process.id().cast_signed()), Signal::SIGTERM).unwrap();
    let ended = until("its end", async || process.try_wait().unwrap()).await;

    assert_eq!(ended.code(), Some(0));
    drop(unread);
}

/// A pipe that takes no more: the end that nobody reads, and the one that is written to.
async fn full_pipe() -> (PipeReader, PipeWriter) {
    let (unread, full) = pipe().unwrap();
    let mut writer = full.try_clone().unwrap();
    // Ends with the reader.
    thread::spawn(move || while writer.write(&[b'x'; 4096]).is_ok() {});
    until("a full pipe", async || {
        let mut asked = [PollFd::new(full.as_fd(), PollFlags::POLLOUT)];
        (poll(&mut asked, PollTimeout::ZERO).unwrap() == 0).then_some(())
    })
    .await;
    (unread, full)
}
