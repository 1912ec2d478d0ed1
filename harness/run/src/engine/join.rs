//! Work on several nodes side by side.

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use sanlab_fleet::at_once;

use crate::Failure;

/// Waits for all of it, whatever becomes of some. Everything that failed is told.
pub(crate) async fn all<T>(
    work: impl IntoIterator<Item = impl Future<Output = Result<T, Failure>>>,
) -> Result<Vec<T>, Failure> {
    together(join_all(work).await)
}

/// The same with so many at once as the host can serve, one after the other: for short work on every guest of a large fleet.
pub(crate) async fn by_turns<T>(
    work: impl IntoIterator<Item = impl Future<Output = Result<T, Failure>>>,
) -> Result<Vec<T>, Failure> {
    let work: Vec<_> = work.into_iter().collect();
    together(stream::iter(work).buffered(at_once()).collect().await)
}

fn together<T>(results: Vec<Result<T, Failure>>) -> Result<Vec<T>, Failure> {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(one) => done.push(one),
            Err(failure) => failed.push(failure),
        }
    }
    Failure::together(failed).map_or(Ok(done), Err)
}
