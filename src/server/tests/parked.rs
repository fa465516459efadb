//! What a connection costs while nothing is said on it.

use std::future::ready;
use std::rc::Rc;

use http::{Response, request};

use crate::code::Code;
use crate::config::Limits;
use crate::deadline::ExchangeDeadline;
use crate::incoming::IncomingBody;
use crate::proxy::{Arrival, Peer, ResponseBody, problem};
use crate::server::connection::{Port, ThreadShared, serve};
use crate::server::refusal::ConnectionRefusal;
use crate::server::stream::ClientStream;

struct Nobody;

impl Port for Nobody {
    fn answer(
        self: &Rc<Self>,
        _: request::Parts,
        _: IncomingBody,
        _: &Rc<Arrival>,
        _: &Rc<ExchangeDeadline>,
    ) -> impl Future<Output = Response<ResponseBody>> + use<> {
        ready(problem::bare(Code::NotFound, "nobody is here"))
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn turns_away(&self, _: Peer) -> Option<(Code, String)> {
        None
    }

    fn refuse(&self, refusal: &ConnectionRefusal, _: Peer) -> Response<ResponseBody> {
        problem::bare(refusal.code, &refusal.detail)
    }
}

#[tokio::test(flavor = "local")]
async fn the_task_of_a_connection_is_small() {
    let (ours, _) = tokio::net::UnixStream::pair().unwrap();
    let (peer, shared) = (Peer::Unix { uid: 0 }, Rc::new(ThreadShared::default()));
    let served = serve(ClientStream::Unix(ours), peer, None, Rc::new(Nobody), shared);

    let bytes = size_of_val(&served);

    assert!(bytes <= 448, "{bytes} bytes for each idle connection");
}
