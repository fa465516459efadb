//! Our answer where there is no exchange.

use std::time::Duration;

use http::Response;

use super::view::Context;
use super::{ResponseBody, problem};
use crate::code::Code;

impl Context {
    /// Our answer to a request that could not be taken, counted and listed like every other.
    pub(crate) fn refuse(&self, code: Code, detail: &str, wants_grpc: bool) -> Response<ResponseBody> {
        let answer = if wants_grpc { problem::bare_for_grpc(code, detail) } else { problem::bare(code, detail) };
        let numbers = &self.worker.unrouted;
        numbers.started();
        numbers.failed(code);
        if code.is_news() {
            self.worker.recent.add("", code, detail);
        }
        numbers.answered(answer.status());
        numbers.finished(Duration::ZERO);
        answer
    }
}
