//! A run whose events are seen by whoever runs the test.

use sanlab::Terminal;
use sanlab_record::Event;
use tokio::sync::mpsc::UnboundedReceiver;

/// Shows the events of a run where the output of tests is not captured; returns what the run returns.
pub(crate) async fn watched<T>(
    nocapture: bool,
    title: &str,
    mut events: UnboundedReceiver<Event>,
    run: impl Future<Output = T>,
) -> T {
    if nocapture {
        sanlab::watch(&mut Terminal::plain(), title, events, run).await
    } else {
        events.close();
        run.await
    }
}
