//! Services that others wrote, which tell what each of them took for a request.

use std::fs;

use serde_json::Value;

use super::part::Part;
use super::sidekey::Sidekey;
use super::{Lab, bed, free_port, until};

/// The services, by their names; they end when this is dropped.
pub struct Recorders {
    _part: Part,
    ports: Vec<u16>,
}

impl Recorders {
    /// Each has a parser of its own; the last is one of HTTP/2.
    pub const NAMES: [&'static str; 5] = ["nginx", "apache", "node", "h11", "nginx-http2"];

    pub async fn start(lab: &Lab) -> Self {
        let ports: Vec<_> = Self::NAMES.iter().map(|_| free_port()).collect();
        let told = Self::NAMES.iter().zip(&ports).map(|(name, port)| format!("{name}:{port}"));
        let arguments: Vec<_> = [lab.folder().display().to_string()].into_iter().chain(told).collect();
        Self { _part: Part::start(bed::python(), "tests/client/recorders.py", &arguments).await, ports }
    }

    /// Starts Sidekey with each of them as a service, on one connection at a time: what was left over on it would be the
    /// next answer.
    pub async fn sidekey(&self, lab: &Lab) -> Sidekey {
        let services = Self::NAMES.iter().zip(&self.ports).map(|(name, port)| {
            let version = if name.ends_with("http2") { "2" } else { "'1.1'" };
            let pool = "pool: { max_connections: 1 }";
            format!("  {name}: {{ url: 'http://127.0.0.1:{port}', http_version: {version}, {pool} }}\n")
        });
        lab.sidekey(&format!("workers: 1\nservices:\n{}", services.collect::<String>())).await
    }

    /// What `Host` it has to be told.
    pub fn host(&self, name: &str) -> String {
        let at = Self::NAMES.iter().position(|known| *known == name).unwrap();
        format!("127.0.0.1:{}", self.ports[at])
    }

    /// What one has taken since `seen`, up to the request that ends so; all of it is passed over the next time.
    pub async fn taken(&self, lab: &Lab, name: &str, seen: &mut usize, last: &str) -> Vec<Value> {
        let path = lab.path(&format!("{name}.seen"));
        let lines = until(&format!("{last} at {name}"), async || {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let whole = &text[..text.rfind('\n')? + 1];
            let lines: Vec<Value> = whole.lines().skip(*seen).map(|line| serde_json::from_str(line).unwrap()).collect();
            let is_last = |line: &Value| line["target"].as_str().is_some_and(|target| target.ends_with(last));
            lines.iter().any(is_last).then_some(lines)
        })
        .await;
        *seen += lines.len();
        lines
    }
}
