//! When a device's requests are given up. Pure: a clock comes in, what to do goes out.
//!
//! The danger is in giving up a *write*: the layer above writes elsewhere what it was told had failed, and the old
//! server, slow but alive, may apply the old write after the new one went another way. So by default nothing is failed
//! until the cluster has fenced the server, and in wait mode nothing ever is.
//!
//! A server's *process* may die while its machine lives. Its sockets are closed when its last thread has ended, and no
//! thread ends within a write to the disk: when the peer has closed the connection and its port refuses another,
//! nothing that was sent to that process is written any more. That is as good as fencing if, and only if, it is the
//! server's own kernel that closes and refuses. A packet filter may send the very same packets for a process that
//! lives, and so may another machine that was given the address. Hence such requests fail early only where somebody
//! vouches for the network (`gnbd_import -D`); elsewhere they wait for the process, or for fencing.

use std::time::{Duration, Instant};

/// What may be done with requests that get no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// They are held and sent again for ever: cached exports.
    Wait,
    /// Shortly before this time the link is made anew; if that does not help, then after it the cluster is asked to
    /// fence the server, and only when it has done so they fail.
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
    /// How long the server's process may have been dead when requests fail; `None`: its death is no reason.
    dead_peer_grace: Option<Duration>,
    /// When to look again after an act.
    next: Option<Instant>,
    /// A fence request is under way.
    fencing: bool,
    /// A login has succeeded since: whoever was fenced may not be the one that has our requests now.
    overtaken: bool,
}

impl Monitor {
    pub(crate) fn new(policy: Policy, pause: Duration, dead_peer_grace: Option<Duration>) -> Self {
        Self {
            policy,
            state: State::Normal,
            pause,
            dead_peer_grace,
            next: None,
            fencing: false,
            overtaken: false,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Whether requests fail at once.
    pub(crate) fn is_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// How long a request may wait before the link is made anew. That is tried a little before the time is over: a
    /// server that can be reached then drops what it got, and nothing has to fail.
    fn patience(&self) -> Option<Duration> {
        match self.policy {
            Policy::FailFast(Duration::ZERO) | Policy::Wait => None,
            Policy::Fence(after) | Policy::FailFast(after) => {
                Some(after.saturating_sub(self.chance(after)))
            }
        }
    }

    /// For how long a link that was made anew may bring what the old one did not.
    fn chance(&self, after: Duration) -> Duration {
        (after / 4).min(self.pause)
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
                (self.fencing, self.overtaken) = (true, false);
                Some(Act::Fence)
            }
            Policy::Fence(after) | Policy::FailFast(after) => {
                self.next = waiting.map(|waiting| waiting + after);
                Some(Act::Relink)
            }
        }
    }

    fn is_late(&self, waiting: Option<Instant>, now: Instant) -> bool {
        let late = waiting.zip(self.patience());
        late.is_some_and(|(waiting, patience)| now.duration_since(waiting) >= patience)
    }

    /// The cluster's answer. Nothing fails unless the server is fenced for sure and still silent, and has not been
    /// logged in to meanwhile: a machine that is fenced by a reset may be back before its fence agent is.
    pub(crate) fn fenced(
        &mut self,
        fenced: bool,
        waiting: Option<Instant>,
        now: Instant,
    ) -> Option<Act> {
        self.fencing = false;
        if fenced && !self.overtaken && self.is_late(waiting, now) {
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

    /// The peer has closed the link this long ago, and its port refuses another.
    pub(crate) fn dead(&mut self, since: Duration) -> Option<Act> {
        let over = self
            .dead_peer_grace
            .is_some_and(|dead_peer_grace| since >= dead_peer_grace);
        if !over || self.policy == Policy::Wait || self.is_failed() {
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

    /// A login succeeded. A server that has just come back gets a moment to answer what it is sent again.
    pub(crate) fn logged_in(&mut self, now: Instant) {
        self.overtaken = true;
        match (self.state, self.policy) {
            (State::Failed, _) => {
                self.state = State::Normal;
                self.next = None;
            }
            (State::TimedOut, Policy::Fence(after)) => {
                self.next = self.next.max(Some(now + self.chance(after)));
            }
            (State::TimedOut | State::Normal, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn monitor(policy: Policy) -> (Monitor, Instant) {
        (Monitor::new(policy, 5 * SECOND, None), Instant::now())
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
        assert_eq!(at(&mut monitor, 54), None);
        assert_eq!(at(&mut monitor, 55), Some(Act::Relink));
        assert_eq!(monitor.state(), State::TimedOut);
        assert_eq!(at(&mut monitor, 59), None);
        assert_eq!(at(&mut monitor, 60), Some(Act::Fence));
        assert_eq!(at(&mut monitor, 500), None);
        let now = start + 500 * SECOND;
        assert_eq!(monitor.fenced(false, Some(start), now), None);
        assert_eq!(at(&mut monitor, 504), None);
        assert_eq!(at(&mut monitor, 505), Some(Act::Fence));
        assert_eq!(monitor.fenced(true, Some(start), now), Some(Act::Fail));
        assert!(monitor.is_failed());
        monitor.logged_in(now);
        assert_eq!(monitor.state(), State::Normal);
    }

    #[test]
    fn an_answer_ends_the_alarm() {
        let (mut monitor, start) = monitor(Policy::Fence(60 * SECOND));
        let now = start + 59 * SECOND;
        assert_eq!(monitor.check(Some(start), now), Some(Act::Relink));
        assert_eq!(monitor.check(Some(now), now + SECOND), None);
        assert_eq!(monitor.state(), State::Normal);
        // And one that comes while the fence agent runs.
        let late = now + 55 * SECOND;
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
    fn a_login_while_the_fence_agent_runs_is_to_another_server_than_the_one_that_was_fenced() {
        let (mut monitor, start) = monitor(Policy::Fence(20 * SECOND));
        let at =
            |monitor: &mut Monitor, seconds| monitor.check(Some(start), start + seconds * SECOND);
        assert_eq!(at(&mut monitor, 15), Some(Act::Relink));
        assert_eq!(at(&mut monitor, 20), Some(Act::Fence));
        let back = start + 23 * SECOND;
        monitor.logged_in(back);
        assert_eq!(monitor.fenced(true, Some(start), back + SECOND), None);
        assert_eq!(monitor.state(), State::TimedOut);
        // If that one does not answer either it is fenced in its turn.
        assert_eq!(at(&mut monitor, 29), Some(Act::Fence));
        let now = start + 30 * SECOND;
        assert_eq!(monitor.fenced(true, Some(start), now), Some(Act::Fail));
    }

    #[test]
    fn a_server_that_is_back_may_answer_before_it_is_fenced() {
        let (mut monitor, start) = monitor(Policy::Fence(20 * SECOND));
        let at =
            |monitor: &mut Monitor, seconds| monitor.check(Some(start), start + seconds * SECOND);
        assert_eq!(at(&mut monitor, 15), Some(Act::Relink));
        monitor.logged_in(start + 19 * SECOND);
        assert_eq!(at(&mut monitor, 20), None);
        assert_eq!(at(&mut monitor, 24), Some(Act::Fence));
    }

    #[test]
    fn a_dead_process_fails_requests_only_where_that_is_wished() {
        for policy in [Policy::Fence(20 * SECOND), Policy::FailFast(20 * SECOND)] {
            let mut monitor = Monitor::new(policy, 5 * SECOND, None);
            assert_eq!(monitor.dead(100 * SECOND), None);
            let mut monitor = Monitor::new(policy, 5 * SECOND, Some(SECOND));
            assert_eq!(monitor.dead(SECOND / 2), None);
            assert_eq!(monitor.dead(SECOND), Some(Act::Fail));
            assert_eq!(monitor.dead(SECOND), None);
        }
        let mut waiting = Monitor::new(Policy::Wait, 5 * SECOND, Some(Duration::ZERO));
        assert_eq!(waiting.dead(SECOND), None);
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
