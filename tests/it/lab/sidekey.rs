//! The built program, run as a user runs it.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::client::{Answer, Connection, Request, exchange};
use super::program::output_with;
use super::{Lab, free_port, until};

/// A running Sidekey; ends when it is dropped, and shows its log where a test fails.
pub struct Sidekey {
    process: Child,
    config: PathBuf,
    /// `127.0.0.1:PORT`
    pub address: String,
    /// `127.0.0.1:PORT`
    pub admin: String,
    log: Log,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Lab {
    /// Starts Sidekey with this config and waits until it is ready.
    ///
    /// What the text does not say is added: where it listens, the certificates `partner` and `other`, a text log.
    pub async fn sidekey(&self, config: &str) -> Sidekey {
        self.sidekey_with(config, &[], &[]).await
    }

    /// As [`Lab::sidekey`], with further flags and variables of the environment.
    pub async fn sidekey_with(&self, config: &str, flags: &[&str], variables: &[(&str, String)]) -> Sidekey {
        let mut sidekey = self.start_sidekey(config, flags, variables);
        sidekey.until_ready().await;
        sidekey
    }

    /// As [`Lab::sidekey`], without waiting.
    pub fn sidekey_starting(&self, config: &str) -> Sidekey {
        self.start_sidekey(config, &[], &[])
    }

    /// Starts Sidekey on a file or folder that the test has written, with the addresses that stand in it.
    pub async fn sidekey_at(&self, path: &str, config: &str) -> Sidekey {
        let value = |start: &str| {
            let line = config.lines().find_map(|line| line.strip_prefix(start)).unwrap();
            line.trim_matches(['{', '}', ' ']).trim_start_matches("listen: ").to_owned()
        };
        let (address, admin) = (value("listen: "), value("admin: "));
        let mut sidekey = self.spawn(self.path(path), address, admin, &[], &[]);
        sidekey.until_ready().await;
        sidekey
    }

    /// As [`Lab::sidekey`], with a config that is found where it runs and that nobody names.
    pub async fn sidekey_found(&self, config: &str) -> Sidekey {
        let [address, admin] = std::array::from_fn(|_| format!("127.0.0.1:{}", free_port()));
        self.write("sidekey.yaml", &complete(&self.fill_in(config), &address, &admin));
        let mut program = self.program();
        program.arg("run");
        let mut sidekey = Sidekey::of(program, self.path("sidekey.yaml"), address, admin);
        sidekey.until_ready().await;
        sidekey
    }

    fn start_sidekey(&self, config: &str, flags: &[&str], variables: &[(&str, String)]) -> Sidekey {
        let [address, admin] = std::array::from_fn(|_| format!("127.0.0.1:{}", free_port()));
        self.write("sidekey.yaml", &complete(&self.fill_in(config), &address, &admin));
        self.spawn(self.path("sidekey.yaml"), address, admin, flags, variables)
    }

    fn spawn(
        &self,
        config: PathBuf,
        address: String,
        admin: String,
        flags: &[&str],
        variables: &[(&str, String)],
    ) -> Sidekey {
        let mut program = self.program();
        program.args(["run", "--config"]).arg(&config).args(flags).envs(variables.iter().cloned());
        Sidekey::of(program, config, address, admin)
    }

    /// Runs a command to its end: `lab.run("check --config sidekey.yaml")`, in the lab's folder.
    pub fn run(&self, command: &str) -> Finished {
        self.run_with(command, "")
    }

    /// As [`Lab::run`], with a standard input.
    pub fn run_with(&self, command: &str, input: &str) -> Finished {
        fs::write(self.path("stdin"), input).unwrap();
        let mut program = self.program();
        let output =
            output_with(program.args(command.split(' ')).stdin(fs::File::open(self.path("stdin")).unwrap()), "");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Finished { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The program with nothing of this shell's environment but the lab's authority as the system's roots.
    pub fn program(&self) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_sidekey"));
        program.env_clear().env("SSL_CERT_FILE", self.path("tls/ca.pem")).env("FROM_ENVIRONMENT", "env-secret");
        program.current_dir(self.folder()).stdin(Stdio::null());
        program
    }
}

impl Sidekey {
    fn of(mut program: Command, config: PathBuf, address: String, admin: String) -> Self {
        let mut process = program.stderr(Stdio::piped()).spawn().unwrap();
        let log = Log::of(process.stderr.take().unwrap());
        Self { process, config, address, admin, log }
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.send(Request::get(target)).await
    }

    pub async fn post(&self, target: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.send(Request::post(target, body)).await
    }

    /// One request on a connection of its own.
    pub async fn send(&self, request: Request) -> Answer {
        exchange(&self.address, request).await
    }

    /// Sends bytes as they are on a connection of their own.
    pub async fn raw(&self, bytes: impl AsRef<[u8]>) -> Connection {
        let mut connection = self.connect().await;
        connection.write(bytes).await;
        connection
    }

    pub async fn connect(&self) -> Connection {
        Connection::open(&self.address).await
    }

    /// Asks the admin port.
    pub async fn admin(&self, path: &str) -> Answer {
        exchange(&self.admin, Request::get(path)).await
    }

    pub async fn status(&self) -> Value {
        self.admin("/api/status").await.json()
    }

    /// What the status says of one service.
    pub async fn service(&self, name: &str) -> Value {
        let status = self.status().await;
        let services = status["services"].as_array().unwrap();
        let found = services.iter().find(|service| service["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {status:#}")).clone()
    }

    /// The value of one sample of `/metrics`, written as it stands there.
    pub async fn metric(&self, sample: &str) -> f64 {
        let text = self.admin("/metrics").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        let value = line.unwrap_or_else(|| panic!("no {sample} in\n{text}"));
        value.split(' ').next().unwrap().parse().unwrap()
    }

    /// Waits until a sample of `/metrics` has this value: what an app has got is counted a moment later.
    pub async fn until_metric(&self, sample: &str, value: f64) {
        let found = async || (self.metric(sample).await == value).then_some(());
        until(&format!("{sample} {value}"), found).await;
    }

    /// Replaces the config by one like that which the lab has made of `config`.
    pub fn rewrite(&self, lab: &Lab, config: &str) {
        lab.write("sidekey.yaml", &complete(&lab.fill_in(config), &self.address, &self.admin));
    }

    /// The config as it stands in its file.
    pub fn written(&self) -> String {
        fs::read_to_string(&self.config).unwrap()
    }

    /// Waits until `/readyz` says so.
    pub async fn until_ready(&mut self) {
        let (admin, log) = (self.admin.clone(), self.log.clone());
        let process = &mut self.process;
        until("ready", async || {
            if let Some(status) = process.try_wait().unwrap() {
                panic!("sidekey ended: {status}\n{}", log.text());
            }
            tokio::net::TcpStream::connect(&admin).await.ok()?;
            (exchange(&admin, Request::get("/readyz")).await.status == 200).then_some(())
        })
        .await;
    }

    /// Waits until the admin port answers, ready or not.
    pub async fn until_alive(&self) {
        until("the admin port", async || tokio::net::TcpStream::connect(&self.admin).await.ok()).await;
    }

    pub async fn generation(&self) -> u64 {
        self.status().await["config"]["generation"].as_u64().unwrap()
    }

    /// Waits until a config newer than `generation` is in force.
    pub async fn until_reloaded_since(&self, generation: u64) {
        until("a reload", async || (self.generation().await > generation).then_some(())).await;
    }

    /// Waits until a reload was refused, and returns why.
    pub async fn until_reload_refused(&self) -> String {
        until("a refused reload", async || {
            let error = &self.status().await["config"]["last_error"];
            (!error.is_null()).then(|| error.to_string())
        })
        .await
    }

    /// Waits until the token of a service is in this state.
    pub async fn until_token(&self, service: &str, state: &str) -> Value {
        until(&format!("a token that is {state}"), async || {
            let token = self.service(service).await["token"].clone();
            (token["state"] == state).then_some(token)
        })
        .await
    }

    /// Waits until the log has this text.
    pub async fn until_logged(&self, text: &str) {
        until(&format!("{text:?} in the log"), async || self.log.text().contains(text).then_some(())).await;
    }

    pub fn log(&self) -> String {
        self.log.text()
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Memory in use, in KiB.
    pub fn memory(&self) -> usize {
        self.memory_as("VmRSS:")
    }

    /// The most that was ever in use, in KiB.
    pub fn peak_memory(&self) -> usize {
        self.memory_as("VmHWM:")
    }

    /// As proc_pid_status(5) calls it.
    fn memory_as(&self, name: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().cast_signed()), signal).unwrap();
    }

    /// Waits for the end, and returns the exit code and the whole log.
    pub async fn ended(mut self) -> (Option<i32>, String) {
        let status = self.until_ended().await;
        (status.code(), self.log.to_end())
    }

    /// SIGTERM, then as [`Sidekey::ended`].
    pub async fn stop(self) -> (Option<i32>, String) {
        self.signal(Signal::SIGTERM);
        self.ended().await
    }

    async fn until_ended(&mut self) -> ExitStatus {
        until("the end of the process", async || self.process.try_wait().unwrap()).await
    }
}

impl Drop for Sidekey {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
        if thread::panicking() {
            eprintln!("--- sidekey's log\n{}---", self.log.to_end());
        }
    }
}

/// Standard error of the process, read as it comes.
#[derive(Clone)]
struct Log {
    text: Arc<Mutex<String>>,
    reader: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Log {
    fn of(mut stderr: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let shared = text.clone();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stderr.read(&mut buffer) {
                shared.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        });
        Self { text, reader: Arc::new(Mutex::new(Some(reader))) }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// All of it, once the process has ended.
    fn to_end(&self) -> String {
        if let Some(reader) = self.reader.lock().unwrap().take() {
            let _gone = reader.join();
        }
        self.text()
    }
}

/// Adds to a config what a test does not care about.
fn complete(config: &str, address: &str, admin: &str) -> String {
    let parts = [
        ("listen", address.to_owned()),
        ("admin", format!("{{ listen: {admin} }}")),
        ("log", "{ format: text }".to_owned()),
        ("certificates", format!("{{ {}, {} }}", certificate("partner"), certificate("other"))),
    ];
    let config = config.replace("$LISTEN", address).replace("$ADMIN", admin);
    let says = |key: &str| config.lines().any(|line| line.starts_with(&format!("{key}:")));
    let added = parts.iter().filter(|(key, _)| !says(key)).map(|(key, value)| format!("{key}: {value}\n"));
    added.collect::<String>() + &config
}

fn certificate(name: &str) -> String {
    format!("{name}: {{ chain: tls/{name}.pem, key: tls/{name}.key }}")
}
