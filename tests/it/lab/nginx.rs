//! The service of most tests: nginx with TLS 1.3 that asks for a client certificate and tells what it saw.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::client::{Answer, field, fields};
use super::{free_port, until_listening};

/// A running nginx; ends when it is dropped. It closes the connection after a request to `/last…`.
pub struct Nginx {
    process: Child,
    /// HTTP/1.1 only; any certificate of the lab's authority.
    pub http1: u16,
    /// Offers HTTP/2.
    pub http2: u16,
    /// Plain HTTP.
    pub plain: u16,
    /// TLS 1.2 only.
    pub tls12: u16,
    /// Its certificate is for another name.
    pub misnamed: u16,
    /// Knows `elsewhere.example` and `another.localhost` here, and answers 421 to a `Host` of the one on a connection for the
    /// other. Offers HTTP/2.
    pub named: u16,
}

impl Nginx {
    /// Starts it on the certificates that the lab has put into `folder`/tls.
    pub async fn start(folder: &Path) -> Self {
        let [http1, http2, plain, tls12, misnamed, named] = std::array::from_fn(|_| free_port());
        let config = format!(
            r#"
            load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
            daemon off; master_process off; pid nginx.pid; error_log nginx.log warn; worker_rlimit_nofile 8192;
            events {{ worker_connections 4096; }}
            http {{
                access_log off; keepalive_requests 1000000; merge_slashes off;
                client_body_temp_path nginx.body; proxy_temp_path nginx.proxy; fastcgi_temp_path nginx.fastcgi;
                uwsgi_temp_path nginx.uwsgi; scgi_temp_path nginx.scgi;
                client_header_buffer_size 64k; large_client_header_buffers 4 128k;
                client_max_body_size 64m; client_body_buffer_size 2m;
                ssl_certificate tls/server.pem; ssl_certificate_key tls/server.key; ssl_protocols TLSv1.3;
                ssl_client_certificate tls/ca.pem; ssl_verify_client on; ssl_session_cache shared:tls:1m;
                {}
            }}"#,
            [
                server(&format!("{http1} ssl"), ""),
                server(&format!("{http2} ssl http2"), ""),
                server(&plain.to_string(), ""),
                server(&format!("{tls12} ssl"), "ssl_protocols TLSv1.2;"),
                server(
                    &format!("{misnamed} ssl"),
                    "ssl_certificate tls/misnamed.pem; ssl_certificate_key tls/misnamed.key;"
                ),
                server(&format!("{named} ssl http2"), "server_name another.localhost localhost;"),
                server(
                    &format!("{named} ssl http2"),
                    "server_name elsewhere.example; ssl_certificate tls/misnamed.pem; ssl_certificate_key tls/misnamed.key;"
                ),
            ]
            .concat()
        );
        fs::write(folder.join("nginx.conf"), config).unwrap();
        let process = Command::new("nginx")
            .args(["-e", "nginx.log", "-c", "nginx.conf", "-p"])
            .arg(folder)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed: ./test does it");
        let nginx = Self { process, http1, http2, plain, tls12, misnamed, named };
        until_listening(http1).await;
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

fn server(listen: &str, settings: &str) -> String {
    format!(
        r#"
        server {{
            listen 127.0.0.1:{listen}; {settings}
            location / {{ {ECHO} }}
            location /last {{ keepalive_timeout 0; {ECHO} }}
        }}"#
    )
}

const ECHO: &str = r#"
    echo_read_request_body; default_type text/plain;
    echo "subject: $ssl_client_s_dn"; echo "fingerprint: $ssl_client_fingerprint";
    echo "connection: $connection"; echo "session: $ssl_session_reused";
    echo "protocol: $server_protocol"; echo "request: $request";
    echo "host: $http_host"; echo "authorization: $http_authorization";
    echo; echo -n "$echo_client_request_headers"; echo_request_body;
"#;

/// What nginx saw of one request.
#[derive(Debug)]
pub struct Seen {
    /// The client certificate's subject, empty without one.
    pub subject: String,
    /// The client certificate's SHA-1.
    pub fingerprint: String,
    /// Tells the connections apart.
    pub connection: String,
    /// Whether the connection went on with the TLS session of an earlier one.
    pub resumed: bool,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: String,
    /// `GET`.
    pub method: String,
    /// Path and query, byte for byte.
    pub target: String,
    /// `Host`, or `:authority` of HTTP/2.
    pub host: String,
    /// `Authorization`, for HTTP/2 too.
    pub authorization: String,
    /// The request's head as it came; empty for HTTP/2.
    pub head: String,
    pub body: String,
}

impl Seen {
    /// Reads the echo out of nginx's answer.
    #[track_caller]
    pub fn read(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "the request did not get to the service: {answer:?}");
        let text = answer.text();
        let (told, rest) = text.split_once("\n\n").unwrap_or_else(|| panic!("no echo of nginx: {answer:?}"));
        let (head, body) = rest.split_once("\r\n\r\n").unwrap_or(("", rest));
        let value = |name| field(told, name).unwrap_or_default();
        let request = value("request");
        let mut words = request.split(' ');
        Self {
            subject: value("subject"),
            fingerprint: value("fingerprint"),
            connection: value("connection"),
            resumed: value("session") == "r",
            protocol: value("protocol"),
            method: words.next().unwrap().to_owned(),
            target: words.next().unwrap().to_owned(),
            host: value("host"),
            authorization: value("authorization"),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    /// The one value of a field; two are an error.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<String> {
        field(&self.head, name)
    }

    /// All values of a field.
    pub fn fields(&self, name: &str) -> Vec<String> {
        fields(&self.head, name)
    }
}
