//! A file takes the name of another, at a server that does not do so in one step.

use super::begun::UnfinishedFile;
use super::path;

/// What a session does with names, one at a time.
pub(super) trait NameSession {
    type Error;

    /// Over nothing.
    async fn rename_once(&mut self, from: &[u8], to: &[u8]) -> Result<(), Self::Error>;

    async fn remove_file(&mut self, path: &[u8]) -> Result<(), Self::Error>;

    /// Whether the server has said no: nothing was done then. Of why, a refusal tells nothing: servers have one number for all.
    fn is_refusal(error: &Self::Error) -> bool;
}

/// Sets what is at `to` aside, as the server has refused to replace it. That may mean that nobody renames here at all: so the
/// old file is not removed before the new one stands in its place, and where it can't be set aside, `refusal` stands.
pub(super) async fn replace<S: NameSession>(
    session: &mut S,
    (from, to): (&[u8], &[u8]),
    begun: &UnfinishedFile,
    refusal: S::Error,
) -> Result<(), S::Error> {
    let aside = path::aside(to, fastrand::u64(..));
    begun.set_aside(&aside, to);
    if let Err(error) = session.rename_once(to, &aside).await {
        if !S::is_refusal(&error) {
            return Err(error);
        }
        begun.clear_aside();
        return Err(refusal);
    }
    if let Err(error) = session.rename_once(from, to).await {
        if session.rename_once(&aside, to).await.is_ok() {
            begun.clear_aside();
        }
        return Err(error);
    }
    match session.remove_file(&aside).await {
        Err(error) if !S::is_refusal(&error) => Err(error),
        // An old one that may not be removed is lost to nobody.
        Ok(()) | Err(_) => {
            begun.clear_aside();
            Ok(())
        }
    }
}
