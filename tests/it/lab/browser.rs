//! A real browser without a window, as somebody has it who looks at a page.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Which browser.
#[derive(Clone, Copy, Debug)]
pub enum Make {
    Chromium,
    Firefox,
}

/// A running browser; ends, with all its processes, when it is dropped.
pub struct Browser(Child);

impl Browser {
    /// Opens `url` as if it had been typed. `names` lead to this machine, and what `proxied` says of hosts goes by the
    /// proxy at that address; both beside what this machine knows.
    pub fn open(make: Make, folder: &Path, url: &str, names: &[&str], proxied: Option<(&str, &str)>) -> Self {
        let profile = folder.join("profile");
        std::fs::create_dir_all(&profile).unwrap();
        let script = proxied.map(|(host, proxy)| {
            format!("function FindProxyForURL(url, host) {{ return host == '{host}' ? 'PROXY {proxy}' : 'DIRECT' }}")
        });
        let mut command = match make {
            Make::Chromium => chromium(&profile, names, script.as_deref()),
            Make::Firefox => firefox(&profile, names, script.as_deref()),
        };
        command.arg(url).env("HOME", folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.process_group(0).spawn().unwrap_or_else(|error| panic!("{make:?}: {error}; ./test installs it")))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It is a family of processes: its group ends as one.
        let _gone = killpg(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGKILL);
        let _gone = self.0.wait();
    }
}

/// Ends with the test, also with one that is ended from outside and drops nothing.
fn mortal(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}

fn chromium(profile: &Path, names: &[&str], proxy_script: Option<&str>) -> Command {
    let mut command = mortal("chromium");
    let map: Vec<_> = names.iter().map(|name| format!("MAP {name} 127.0.0.1")).collect();
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-popup-blocking",
            "--disable-breakpad",
        ])
        .args([
            "--autoplay-policy=no-user-gesture-required",
            "--disable-dev-shm-usage",
            "--disable-site-isolation-trials",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--host-resolver-rules={}", map.join(", ")));
    if let Some(script) = proxy_script {
        command.arg(format!("--proxy-pac-url=data:application/x-ns-proxy-autoconfig,{script}"));
    }
    command
}

fn firefox(profile: &Path, names: &[&str], proxy_script: Option<&str>) -> Command {
    let mut settings = format!(
        r#"user_pref("network.dns.localDomains", "{}");
user_pref("dom.disable_open_during_load", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("app.update.enabled", false);
user_pref("app.normandy.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
user_pref("browser.aboutwelcome.enabled", false);
"#,
        names.join(",")
    );
    if let Some(script) = proxy_script {
        settings += &format!(
            "user_pref(\"network.proxy.type\", 2);\nuser_pref(\"network.proxy.autoconfig_url\", \"data:application/x-ns-proxy-autoconfig,{script}\");\n"
        );
    }
    std::fs::write(profile.join("user.js"), settings).unwrap();
    let mut command = mortal("firefox-esr");
    command.args(["--headless", "--no-remote", "--profile"]).arg(profile);
    command
}
