use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;

use http::Method;
use tokio::io::AsyncReadExt;

use super::super::upload::RequestWriter;
use crate::transport::tests::lab::{app_body, outgoing};
use crate::transport::{Passage, RequestBody, Spelling};

#[tokio::test(flavor = "local")]
async fn a_piece_that_goes_on_in_parts_moves_with_each_of_them() {
    let (incoming, _app) = app_body("content-length: 9000", &[b'x'; 9000]).await;
    let (body, _) = RequestBody::app(incoming, 64);
    let told = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&told);
    let body = body.observed(Rc::new(move |passage| seen.borrow_mut().push(passage)));
    let mut request = outgoing(Method::POST, "/", body);
    let (mut near, mut far) = tokio::io::duplex(1000);
    let mut writer = RequestWriter::none();
    writer.begin(&mut request, Vec::new(), Spelling::LowerCase);

    let read = async {
        let mut arrived = Vec::new();
        while !arrived.ends_with(&[b'x'; 9000]) {
            arrived.push(far.read_u8().await.unwrap());
        }
    };
    let (written, ()) = tokio::join!(poll_fn(|cx| writer.poll(&mut near, cx)), read);

    assert!(written.is_ok());
    let told = told.borrow();
    let parts = told.iter().filter(|passage| **passage == Passage::MovedOn).count();
    // No more than the pipe takes goes at once.
    assert!(parts >= 9, "{told:?}");
    assert_eq!(told.last(), Some(&Passage::MovedOn), "the last part is the request's last byte");
}
