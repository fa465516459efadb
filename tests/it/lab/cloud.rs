//! A cloud that checks signatures (SigV4): moto, as `tests/client/aws_service.py` runs it.

use std::path::Path;

use serde_json::Value;

use super::bed;
use super::client::{Request, exchange};
use super::part::Part;

/// Running AWS services with one bucket, `lab`; they end when this is dropped.
pub struct Cloud {
    /// Plain HTTP.
    pub port: u16,
    /// HTTPS with the lab's server certificate.
    pub tls_port: u16,
    /// Of a user who may do everything.
    pub access_key_id: String,
    pub secret_access_key: String,
    /// A role that may do everything, for web identities.
    pub role_arn: String,
    _part: Part,
}

impl Cloud {
    /// Starts it on the certificates in `folder`/tls.
    pub async fn start(folder: &Path) -> Self {
        let arguments = ["server.pem", "server.key"].map(|file| folder.join("tls").join(file).display().to_string());
        let part = Part::start(bed::python(), "tests/client/aws_service.py", &arguments).await;
        Self {
            port: part.port("port").unwrap(),
            tls_port: part.port("tls_port").unwrap(),
            access_key_id: part.text("access_key_id"),
            secret_access_key: part.text("secret_access_key"),
            role_arn: part.text("role_arn"),
            _part: part,
        }
    }

    /// The requests so far: `method`, `target`, `headers` (names in lower case), `body` and `status`.
    pub async fn seen(&self) -> Vec<Value> {
        let answer = exchange(&format!("127.0.0.1:{}", self.port), Request::get("/seen")).await;
        serde_json::from_str(&answer.text()).unwrap()
    }
}
