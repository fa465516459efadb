//! Against a scripted server, for what no real one does at will.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::error::{FileError, FileErrorKind};
use super::control::Control;
use super::wire::{FtpWire, Handshakes};
use super::*;

/// A session whose data connections alone are to speak TLS, and the other end of its control connection.
async fn session() -> (FtpSession, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let client = TlsClient { config: Arc::new(config), name: "localhost".try_into().unwrap() };
    let session = FtpSession {
        control: Control::new(FtpWire::Plain(ours.unwrap())),
        handshakes: Some(Handshakes::new(&client)),
        peer: address.ip(),
        knows_epsv: true,
        home: Vec::new(),
        tells_facts: false,
        knows_rest: true,
    };
    (session, theirs.unwrap().0)
}

#[tokio::test]
async fn why_there_is_no_handshake_for_data_is_heard_on_the_control_connection() {
    let (session, mut control) = session().await;
    let serve = async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut line = [0; 64];
        assert!(control.read(&mut line).await.unwrap() > 0);
        control.write_all(format!("229 here (|||{port}|)\r\n").as_bytes()).await.unwrap();
        let (data, _) = listener.accept().await.unwrap();
        assert!(control.read(&mut line).await.unwrap() > 0);
        control.write_all(b"150 go on\r\n").await.unwrap();
        drop(data);
        control.write_all(b"522 session reuse required\r\n").await.unwrap();
    };

    let (created, ()) = tokio::join!(session.create(b"/a"), serve);

    let words = "no data connection: the server refused to write it: session reuse required (522)";
    let error = created.err().unwrap().error;
    assert_eq!(error.to_string(), words);
    assert_eq!(FileError::from(&error).kind, FileErrorKind::NotNow);
}
