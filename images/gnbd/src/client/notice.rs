//! News for the relay's loop from its threads and from outside, and the threads that may block so that it need not.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::Builder;

use rustix::event::{EventfdFlags, eventfd};

use super::request::{RequestError, Session};

/// What the loop is told.
#[derive(Debug)]
pub(crate) enum Notice {
    /// An attempt to log in has ended.
    Dialed(Result<Session, RequestError>),
    /// The cluster has answered whether the server is fenced.
    Fenced(bool),
    /// Somebody asks to try again at once, whatever the server said before.
    Retry,
}

/// The loop's end of the mailbox.
#[derive(Debug)]
pub(crate) struct Mailbox {
    notices: Receiver<Notice>,
    bell: Arc<OwnedFd>,
}

/// The others' end.
#[derive(Debug, Clone)]
pub(crate) struct Messenger {
    notices: Sender<Notice>,
    bell: Arc<OwnedFd>,
}

/// A new mailbox.
pub(crate) fn mailbox() -> io::Result<(Mailbox, Messenger)> {
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (sender, notices) = mpsc::channel();
    let sender = Messenger {
        notices: sender,
        bell: Arc::clone(&bell),
    };
    Ok((Mailbox { notices, bell }, sender))
}

impl Mailbox {
    /// Readable when there is news.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// The next notice, if there is one.
    pub(crate) fn take(&self) -> Option<Notice> {
        // The bell first: a notice that comes between rings it again.
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        self.notices.try_recv().ok()
    }
}

impl Messenger {
    /// Leaves a notice. Nobody may be there to take it any more.
    pub(crate) fn send(&self, notice: Notice) {
        if self.notices.send(notice).is_ok() {
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }
}

/// A thread that does one thing whenever it is asked. It ends after the worker was dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    orders: SyncSender<()>,
}

/// Stacks are locked in memory: they are as small as getting along with it allows.
const STACK: usize = 128 << 10;

impl Worker {
    pub(crate) fn start(
        name: &str,
        messenger: Messenger,
        work: impl Fn() -> Notice + Send + 'static,
    ) -> io::Result<Self> {
        let (orders, taken) = mpsc::sync_channel(1);
        let body = move || {
            while taken.recv().is_ok() {
                messenger.send(work());
            }
        };
        Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn(body)?;
        Ok(Self { orders })
    }

    /// Asks for it. Asking twice before it began is asking once.
    pub(crate) fn order(&self) {
        let _ = self.orders.try_send(());
    }
}
