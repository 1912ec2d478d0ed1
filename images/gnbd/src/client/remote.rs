//! What others see of a running relay, and what they may tell it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use super::monitor::State;
use super::notice::{Messenger, Notice};

/// A view of a running relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Whether there is a connection to the server.
    pub connected: bool,
    /// Requests of the kernel without an answer.
    pub pending: usize,
    /// As the monitor sees it.
    pub state: State,
}

#[derive(Debug, Default)]
struct Board {
    connected: AtomicBool,
    pending: AtomicUsize,
    state: AtomicU8,
}

/// What others have of a relay.
#[derive(Debug, Clone)]
pub struct Remote {
    board: Arc<Board>,
    messenger: Messenger,
}

impl Remote {
    pub(crate) fn new(messenger: Messenger) -> Self {
        Self {
            board: Arc::default(),
            messenger,
        }
    }

    pub(crate) fn post(&self, status: Status) {
        let board = &self.board;
        board.connected.store(status.connected, Ordering::Relaxed);
        board.pending.store(status.pending, Ordering::Relaxed);
        let state = match status.state {
            State::Normal => 0,
            State::TimedOut => 1,
            State::Failed => 2,
        };
        board.state.store(state, Ordering::Relaxed);
    }

    /// How it fares.
    pub fn status(&self) -> Status {
        Status {
            connected: self.board.connected.load(Ordering::Relaxed),
            pending: self.board.pending.load(Ordering::Relaxed),
            state: match self.board.state.load(Ordering::Relaxed) {
                0 => State::Normal,
                1 => State::TimedOut,
                _ => State::Failed,
            },
        }
    }

    /// Has it log in at once if it is not, even if the server has refused it for good.
    pub fn retry(&self) {
        self.messenger.send(Notice::Retry);
    }
}
