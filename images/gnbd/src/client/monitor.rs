//! When a device's requests are given up. Pure: a clock comes in, what to do goes out.
//!
//! The danger is in giving up a *write*: the layer above writes elsewhere what it was told had failed, and the old
//! server, slow but alive, may apply the old write after the new one went another way. So by default nothing is failed
//! until the cluster has fenced the server, and in wait mode nothing ever is.

use std::time::{Duration, Instant};

/// What may be done with requests that get no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// They are held and sent again for ever: cached exports.
    Wait,
    /// After this time the link is made anew; if that does not help, the cluster is asked to fence the server, and
    /// only when it has done so they fail.
    Fence(Duration),
    /// After this time they fail, whether or not the server may still apply them. For dm-multipath over storage that
    /// is fenced otherwise. With zero they fail when the link is lost and one attempt to make it anew did not help.
    FailFast(Duration),
}

/// How a device fares. The names are those of the historic `gnbd_monitor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Requests are answered, or held in patience.
    Normal,
    /// Nothing came back for too long; the link is made anew, the server may have to be fenced.
    TimedOut,
    /// Requests fail at once, until a login succeeds.
    Failed,
}

impl State {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::TimedOut => "timed out",
            Self::Failed => "failed",
        }
    }
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Cut the link and make it anew.
    Relink,
    /// Ask the cluster to fence the server; the answer goes to [`Monitor::fenced`].
    Fence,
    /// Fail everything.
    Fail,
}

/// Watches one device.
#[derive(Debug)]
pub(crate) struct Monitor {
    policy: Policy,
    state: State,
    /// The pause between checks of a device that has timed out.
    pause: Duration,
    /// When to look again after an act.
    next: Option<Instant>,
    /// A fence request is under way.
    fencing: bool,
}

impl Monitor {
    pub(crate) fn new(policy: Policy, pause: Duration) -> Self {
        Self {
            policy,
            state: State::Normal,
            pause,
            next: None,
            fencing: false,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Whether requests fail at once.
    pub(crate) fn is_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// How long a request may wait before the link is made anew. Fail-fast tries that a little before it gives up:
    /// a server that can be reached then drops what it got, and nothing has to fail.
    fn patience(&self) -> Option<Duration> {
        match self.policy {
            Policy::FailFast(Duration::ZERO) | Policy::Wait => None,
            Policy::Fence(after) => Some(after),
            Policy::FailFast(after) => Some(after.saturating_sub((after / 4).min(self.pause))),
        }
    }

    /// When [`check`](Self::check) has something to do, if nothing changes until then.
    pub(crate) fn due(&self, waiting: Option<Instant>) -> Option<Instant> {
        let late = waiting? + self.patience()?;
        match self.state {
            State::Failed => None,
            State::TimedOut if self.fencing => None,
            State::Normal | State::TimedOut => Some(self.next.map_or(late, |next| next.max(late))),
        }
    }

    /// What is to be done, given since when something waits for an answer.
    pub(crate) fn check(&mut self, waiting: Option<Instant>, now: Instant) -> Option<Act> {
        if self.state == State::TimedOut && !self.fencing && !self.is_late(waiting, now) {
            self.state = State::Normal;
            self.next = None;
        }
        if self.due(waiting).is_none_or(|due| now < due) {
            return None;
        }
        let timed_out = self.state == State::TimedOut;
        self.state = State::TimedOut;
        match self.policy {
            Policy::Wait => None,
            Policy::FailFast(_) if timed_out => {
                self.fail();
                Some(Act::Fail)
            }
            Policy::Fence(_) if timed_out => {
                self.fencing = true;
                Some(Act::Fence)
            }
            Policy::FailFast(after) => {
                self.next = waiting.map(|waiting| waiting + after);
                Some(Act::Relink)
            }
            Policy::Fence(_) => {
                self.next = Some(now + self.pause);
                Some(Act::Relink)
            }
        }
    }

    fn is_late(&self, waiting: Option<Instant>, now: Instant) -> bool {
        let late = waiting.zip(self.patience());
        late.is_some_and(|(waiting, patience)| now.duration_since(waiting) >= patience)
    }

    /// The cluster's answer. Nothing fails unless the server is fenced for sure and still silent.
    pub(crate) fn fenced(
        &mut self,
        fenced: bool,
        waiting: Option<Instant>,
        now: Instant,
    ) -> Option<Act> {
        self.fencing = false;
        if fenced && self.is_late(waiting, now) {
            self.fail();
            return Some(Act::Fail);
        }
        self.next = Some(now + self.pause);
        None
    }

    /// The link was lost and could not be made anew at once.
    pub(crate) fn unreachable(&mut self) -> Option<Act> {
        if self.policy != Policy::FailFast(Duration::ZERO) || self.is_failed() {
            return None;
        }
        self.fail();
        Some(Act::Fail)
    }

    /// From now on everything fails: time-out, or a server that will not have us.
    pub(crate) fn fail(&mut self) {
        self.state = State::Failed;
        self.next = None;
    }

    /// A login succeeded.
    pub(crate) fn logged_in(&mut self) {
        if self.is_failed() {
            self.state = State::Normal;
            self.next = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn monitor(policy: Policy) -> (Monitor, Instant) {
        (Monitor::new(policy, 5 * SECOND), Instant::now())
    }

    #[test]
    fn waiting_never_ends() {
        let (mut monitor, start) = monitor(Policy::Wait);
        assert_eq!(monitor.due(Some(start)), None);
        assert_eq!(monitor.check(Some(start), start + 100_000 * SECOND), None);
        assert_eq!(monitor.unreachable(), None);
        assert_eq!(monitor.state(), State::Normal);
    }

    #[test]
    fn nothing_fails_before_the_server_is_fenced() {
        let (mut monitor, start) = monitor(Policy::Fence(60 * SECOND));
        let at =
            |monitor: &mut Monitor, seconds| monitor.check(Some(start), start + seconds * SECOND);
        assert_eq!(at(&mut monitor, 59), None);
        assert_eq!(at(&mut monitor, 60), Some(Act::Relink));
        assert_eq!(monitor.state(), State::TimedOut);
        assert_eq!(at(&mut monitor, 64), None);
        assert_eq!(at(&mut monitor, 65), Some(Act::Fence));
        assert_eq!(at(&mut monitor, 500), None);
        let now = start + 500 * SECOND;
        assert_eq!(monitor.fenced(false, Some(start), now), None);
        assert_eq!(at(&mut monitor, 504), None);
        assert_eq!(at(&mut monitor, 505), Some(Act::Fence));
        assert_eq!(monitor.fenced(true, Some(start), now), Some(Act::Fail));
        assert!(monitor.is_failed());
        monitor.logged_in();
        assert_eq!(monitor.state(), State::Normal);
    }

    #[test]
    fn an_answer_ends_the_alarm() {
        let (mut monitor, start) = monitor(Policy::Fence(60 * SECOND));
        let now = start + 66 * SECOND;
        assert_eq!(monitor.check(Some(start), now), Some(Act::Relink));
        assert_eq!(monitor.check(Some(now), now + SECOND), None);
        assert_eq!(monitor.state(), State::Normal);
        // And one that comes while the fence agent runs.
        let late = now + 60 * SECOND;
        assert_eq!(monitor.check(Some(now), late), Some(Act::Relink));
        assert_eq!(
            monitor.check(Some(now), late + 5 * SECOND),
            Some(Act::Fence)
        );
        assert_eq!(monitor.fenced(true, Some(late), late + 6 * SECOND), None);
        assert_eq!(monitor.check(None, late + 7 * SECOND), None);
        assert_eq!(monitor.state(), State::Normal);
    }

    #[test]
    fn fail_fast_gives_the_server_one_chance() {
        let (mut monitor, start) = monitor(Policy::FailFast(8 * SECOND));
        assert_eq!(monitor.due(Some(start)), Some(start + 6 * SECOND));
        assert_eq!(
            monitor.check(Some(start), start + 6 * SECOND),
            Some(Act::Relink)
        );
        assert_eq!(monitor.due(Some(start)), Some(start + 8 * SECOND));
        assert_eq!(monitor.check(Some(start), start + 7 * SECOND), None);
        assert_eq!(
            monitor.check(Some(start), start + 8 * SECOND),
            Some(Act::Fail)
        );
        assert_eq!(monitor.due(Some(start)), None);
    }

    #[test]
    fn failing_at_once_waits_for_no_clock() {
        let (mut monitor, start) = monitor(Policy::FailFast(Duration::ZERO));
        assert_eq!(monitor.check(Some(start), start + 100 * SECOND), None);
        assert_eq!(monitor.unreachable(), Some(Act::Fail));
        assert_eq!(monitor.unreachable(), None);
    }
}
