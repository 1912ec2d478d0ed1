//! A channel of JSON lines, as QMP and the guest agent speak them: requests carry an id, replies are matched by it.
//!
//! A reply that nobody waits for any more is forgotten, and whatever is no reply is handed on as a value, so that
//! neither can upset the channel.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};

use crate::channels::lines::LineReader;

/// The longest message that is understood, in bytes. An agent's answer has at most two outputs of 16 MiB, in base64.
const LONGEST: usize = 64 << 20;
/// How many requests may wait for the other side to read.
const REQUESTS: usize = 16;

/// Written before a `guest-sync-delimited` and before its answer; it never occurs in JSON.
pub(crate) const DELIMITER: u8 = 0xff;

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WireError {
    /// The other side answered with an error: its words.
    Refused(String),
    /// The other side is gone, or said that it forgot all requests.
    Closed,
    /// The answer has another shape than the protocol says.
    Garbled(String),
}

type Answer = Result<Value, WireError>;
type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>>;

/// The harness's end of a channel.
pub(crate) struct Wire {
    outgoing: mpsc::Sender<Vec<u8>>,
    pending: Pending,
    next_id: AtomicU64,
    answers: Arc<AtomicU64>,
    ended: watch::Receiver<bool>,
}

impl Wire {
    /// Takes over a socket. `others` gets every message that is no reply: greetings, events. While it is full nothing more is
    /// read.
    pub(crate) fn open(stream: UnixStream, others: mpsc::Sender<Value>) -> Self {
        let (reader, mut writer) = stream.into_split();
        let (outgoing, mut queue) = mpsc::channel::<Vec<u8>>(REQUESTS);
        let pending = Pending::default();
        let (ended_sender, ended) = watch::channel(false);
        tokio::spawn(async move {
            while let Some(line) = queue.recv().await {
                if writer.write_all(&line).await.is_err() {
                    break;
                }
            }
        });
        let answers = Arc::<AtomicU64>::default();
        let mut book = Book {
            pending: Arc::clone(&pending),
            answers: Arc::clone(&answers),
        };
        tokio::spawn(async move {
            book.read(reader, others).await;
            ended_sender.send_replace(true);
            locked(&book.pending).clear();
        });
        Self {
            outgoing,
            pending,
            next_id: AtomicU64::new(1),
            answers,
            ended,
        }
    }

    /// Sends a request and waits for its answer. Dropping the future forgets the request.
    pub(crate) async fn call(&self, name: &str, arguments: &Value) -> Answer {
        self.send(name, arguments, self.fresh_id(), false).await
    }

    /// Sends `guest-sync-delimited` with its delimiter and waits for the answer to this very one.
    pub(crate) async fn sync(&self) -> Result<(), WireError> {
        let id = self.fresh_id();
        let answer = self
            .send("guest-sync-delimited", &json!({ "id": id }), id, true)
            .await?;
        if answer == json!(id) {
            Ok(())
        } else {
            Err(WireError::Garbled(answer.to_string()))
        }
    }

    /// Forgets all requests: the other side has.
    pub(crate) fn forget(&self) {
        locked(&self.pending).clear();
    }

    /// How often the other side has answered, whether anybody still waited for it or not.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::SeqCst)
    }

    /// Whether the other side has closed the channel.
    pub(crate) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Returns when the other side has closed the channel and everything it had said has been heard.
    pub(crate) async fn ended(&self) {
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    fn fresh_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    async fn send(&self, name: &str, arguments: &Value, id: u64, delimited: bool) -> Answer {
        let mut line = if delimited {
            vec![DELIMITER]
        } else {
            Vec::new()
        };
        line.extend(
            json!({ "execute": name, "arguments": arguments, "id": id })
                .to_string()
                .into_bytes(),
        );
        line.push(b'\n');
        let (sender, answer) = oneshot::channel();
        locked(&self.pending).insert(id, sender);
        let _forget = Forget {
            id,
            pending: &self.pending,
        };
        if self.has_ended() || self.outgoing.send(line).await.is_err() {
            return Err(WireError::Closed);
        }
        answer.await.unwrap_or(Err(WireError::Closed))
    }
}

/// Takes a request out of the book when its caller no longer waits.
struct Forget<'a> {
    id: u64,
    pending: &'a Pending,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        locked(self.pending).remove(&self.id);
    }
}

#[derive(Deserialize)]
struct Reply {
    id: Option<Value>,
    #[serde(rename = "return")]
    value: Option<Value>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    desc: String,
}

/// Gives replies to who waits for them.
struct Book {
    pending: Pending,
    answers: Arc<AtomicU64>,
}

impl Book {
    async fn read(&mut self, reader: impl AsyncRead + Unpin, others: mpsc::Sender<Value>) {
        let mut reader = LineReader::new(reader, LONGEST);
        while let Some(line) = reader.next().await {
            if line.left_out > 0 {
                self.give_up();
                continue;
            }
            let mut line = line.bytes();
            line.retain(|byte| *byte != DELIMITER);
            match serde_json::from_slice::<Value>(&line) {
                Ok(message)
                    if message.get("return").is_some() || message.get("error").is_some() =>
                {
                    self.settle(message);
                }
                // Who listens may have gone with its machine.
                Ok(message) => drop(others.send(message).await),
                Err(error) => {
                    tracing::debug!(%error, line = %String::from_utf8_lossy(&line), "not JSON");
                }
            }
        }
    }

    /// A message was too long to be kept: it may be the answer to any request.
    fn give_up(&self) {
        let text = format!("a message of more than {} MiB", LONGEST >> 20);
        for (_, waiting) in locked(&self.pending).drain() {
            let _ = waiting.send(Err(WireError::Garbled(text.clone())));
        }
    }

    fn settle(&self, message: Value) {
        let reply: Reply = match serde_json::from_value(message) {
            Ok(reply) => reply,
            Err(error) => return tracing::debug!(%error, "a reply of unknown shape"),
        };
        // Before its caller hears of it.
        self.answers.fetch_add(1, Ordering::SeqCst);
        let waiting = reply
            .id
            .as_ref()
            .and_then(Value::as_u64)
            .and_then(|id| locked(&self.pending).remove(&id));
        let answer = match reply.error {
            Some(refusal) => Err(WireError::Refused(refusal.desc)),
            None => Ok(reply.value.unwrap_or_default()),
        };
        // Its caller may have given up, or give up this very moment.
        let forgotten = waiting.map_or(Some(answer.clone()), |waiting| waiting.send(answer).err());
        if let Some(answer) = forgotten {
            tracing::debug!(id = ?reply.id, ?answer, "a reply that nobody waits for");
        }
    }
}

fn locked(pending: &Pending) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
    pending
        .lock()
        .expect("nothing panics while the book is open")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncBufReadExt as _, BufReader};

    /// A wire whose other side is a plain socket in the test's hands.
    fn wire() -> (Wire, BufReader<UnixStream>, mpsc::Receiver<Value>) {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let (sender, others) = mpsc::channel(1);
        (Wire::open(ours, sender), BufReader::new(theirs), others)
    }

    async fn heard(theirs: &mut BufReader<UnixStream>) -> String {
        let mut line = Vec::new();
        theirs.read_until(b'\n', &mut line).await.expect("reads");
        String::from_utf8_lossy(&line).trim_end().to_owned()
    }

    #[tokio::test]
    async fn answers_find_their_requests_in_any_order() {
        let (wire, mut theirs, mut others) = wire();
        let arguments = json!({});
        let (one, two, ()) = tokio::join!(
            wire.call("one", &arguments),
            wire.call("two", &arguments),
            async {
                insta::assert_snapshot!(heard(&mut theirs).await, @r#"{"arguments":{},"execute":"one","id":1}"#);
                heard(&mut theirs).await;
                let text = concat!(
                    "{\"event\":\"NEVER_HEARD_OF\",\"data\":{\"x\":1}}\n",
                    "this is not json\n",
                    "{\"return\":2,\"id\":2}\n",
                    "{\"return\":\"nobody asked\",\"id\":77}\n",
                    "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no id: a parser's complaint\"}}\n",
                    "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no such thing\"},\"id\":1}\n",
                );
                theirs
                    .get_mut()
                    .write_all(text.as_bytes())
                    .await
                    .expect("writes");
            }
        );
        assert_eq!(one, Err(WireError::Refused("no such thing".into())));
        assert_eq!(two, Ok(json!(2)));
        assert_eq!(
            others.recv().await.expect("the event")["event"],
            "NEVER_HEARD_OF"
        );
    }

    #[tokio::test]
    async fn a_late_answer_is_forgotten_and_the_next_call_works() {
        let (wire, mut theirs, _others) = wire();
        let arguments = json!({});
        let late =
            tokio::time::timeout(Duration::from_millis(5), wire.call("slow", &arguments)).await;
        assert!(late.is_err() && locked(&wire.pending).is_empty());
        let (next, ()) = tokio::join!(wire.sync(), async {
            heard(&mut theirs).await;
            insta::assert_snapshot!(heard(&mut theirs).await, @r#"�{"arguments":{"id":2},"execute":"guest-sync-delimited","id":2}"#);
            let answers = b"{\"return\":\"late\",\"id\":1}\n\xff{\"return\":2,\"id\":2}\n";
            theirs.get_mut().write_all(answers).await.expect("writes");
        });
        assert_eq!(next, Ok(()));
    }

    /// More than any answer, and no end of line; the next one is understood.
    #[tokio::test]
    async fn a_message_without_an_end_is_given_up() {
        let (wire, mut theirs, _others) = wire();
        let arguments = json!({});
        let call = wire.call("any", &arguments);
        let (answer, ()) = tokio::join!(call, async {
            heard(&mut theirs).await;
            let mebibyte = vec![b' '; 1 << 20];
            for _ in 0..=LONGEST >> 20 {
                theirs.get_mut().write_all(&mebibyte).await.expect("writes");
            }
            theirs.get_mut().write_all(b"\n").await.expect("writes");
        });
        assert_eq!(
            answer,
            Err(WireError::Garbled("a message of more than 64 MiB".into()))
        );
        let (answer, ()) = tokio::join!(wire.call("any", &arguments), async {
            heard(&mut theirs).await;
            let answer = b"{\"return\":1,\"id\":2}\n";
            theirs.get_mut().write_all(answer).await.expect("writes");
        });
        assert_eq!(answer, Ok(json!(1)));
    }

    /// Nobody reads what is asked: no more than a few requests wait.
    #[tokio::test]
    async fn requests_that_nobody_reads_are_bounded() {
        let (wire, _theirs, _others) = wire();
        let mebibyte = json!({ "x": "x".repeat(1 << 20) });
        let soon = Duration::from_millis(1);
        for _ in 0..4 * REQUESTS {
            let late = tokio::time::timeout(soon, wire.call("any", &mebibyte)).await;
            assert!(late.is_err());
        }
        assert_eq!(wire.outgoing.capacity(), 0);
        assert!(locked(&wire.pending).is_empty());
    }

    #[tokio::test]
    async fn a_closed_channel_answers_at_once() {
        let (wire, theirs, _others) = wire();
        drop(theirs);
        wire.ended().await;
        assert_eq!(wire.call("any", &json!({})).await, Err(WireError::Closed));
    }
}
