//! Work on several nodes side by side.

use futures_util::future::join_all;

use crate::Failure;

/// Waits for all of it, whatever becomes of some. Everything that failed is told.
pub(crate) async fn all<T>(
    work: impl IntoIterator<Item = impl Future<Output = Result<T, Failure>>>,
) -> Result<Vec<T>, Failure> {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for result in join_all(work).await {
        match result {
            Ok(one) => done.push(one),
            Err(failure) => failed.push(failure),
        }
    }
    Failure::together(failed).map_or(Ok(done), Err)
}
