//! SHA-256 of a body, beside that of fields.

use aws_lc_rs::digest;

use super::Error;
pub(super) use crate::digest::Digest;
use crate::hex::hex;
use crate::transport::RequestBody;

/// SHA-256 of a body, in hex.
///
/// # Errors
/// When it is not in memory.
pub(super) fn body_sha256(body: &RequestBody) -> Result<String, Error> {
    let mut sha256 = digest::Context::new(&digest::SHA256);
    if !body.digest(&mut sha256) {
        return Err(Error::unsignable("its body is not in memory"));
    }
    Ok(hex(sha256.finish().as_ref()))
}
