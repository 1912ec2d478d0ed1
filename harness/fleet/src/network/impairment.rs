//! What is done on purpose to frames: the wish, and what becomes of one frame after the other. No sockets, no clock.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::wire::{ETHERNET_HEADER, PREFIX};

/// No frame is later than this by one impairment's delay, or by its jitter.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What is done on purpose to frames on their way from some ports to others.
#[derive(Debug, Clone, PartialEq)]
pub struct Impairment {
    /// Names of ports. One that is added later is covered, too.
    pub from: Vec<String>,
    /// Names of ports. A frame from any of `from` to any of these is meant.
    pub to: Vec<String>,
    /// What is done.
    pub effect: Effect,
}

impl Impairment {
    /// Whether a frame's way from one port to another is meant.
    pub(super) fn covers(&self, from: &str, to: &str) -> bool {
        let among = |names: &[String], name: &str| names.iter().any(|other| other == name);
        among(&self.from, from) && among(&self.to, to)
    }
}

/// All that can be done to a frame; the default is nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Effect {
    /// No frame passes.
    pub cut: bool,
    /// Each frame is late by this.
    pub delay: Duration,
    /// And by up to this more or less, all values alike. The order is kept.
    pub jitter: Duration,
    /// The share of frames that are lost, 0 to 1.
    pub loss: f64,
    /// The share of frames that arrive twice, 0 to 1.
    pub duplicate: f64,
    /// The share of frames that overtake others, 0 to 1: they are sent at once although there is a delay.
    pub reorder: f64,
    /// The share of frames with one bit flipped beyond the Ethernet header, 0 to 1.
    pub corrupt: f64,
    /// Bytes a second for each pair of ports, as a link of that speed sends them one after another; with 0 none passes.
    pub rate: Option<u64>,
    /// Frames with more bytes than this beyond the Ethernet header vanish: a black hole for large packets.
    pub mtu: Option<u32>,
}

/// Names impairments that are active in a switch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImpairmentId(pub(super) u64);

/// What becomes of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Lost,
    Passes(Passage),
}

/// How a frame passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passage {
    pub(super) due: Instant,
    /// How often it arrives.
    pub(super) copies: usize,
    /// Bits of the frame that are flipped, counted without its prefix.
    flips: Vec<usize>,
}

impl Passage {
    /// The frame as it arrives, with its prefix as it is given.
    pub(super) fn altered<'a>(&self, frame: &'a [u8]) -> Cow<'a, [u8]> {
        let mut altered = Cow::Borrowed(frame);
        for bit in &self.flips {
            altered.to_mut()[PREFIX + bit / 8] ^= 1 << (bit % 8);
        }
        altered
    }
}

/// One effect on one pair of ports.
#[derive(Debug)]
pub(super) struct Stage {
    id: ImpairmentId,
    effect: Effect,
    random: Rng,
    /// When the link of limited speed has sent all that it was given.
    free: Option<Instant>,
    /// The same once the frame at hand is given to it, too.
    then_free: Option<Instant>,
}

impl Stage {
    pub(super) fn new(id: ImpairmentId, effect: Effect, seed: u64) -> Self {
        Self {
            id,
            effect,
            random: Rng::with_seed(seed),
            free: None,
            then_free: None,
        }
    }

    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && self.random.f64() < share
    }

    fn loses(&mut self, bytes: usize) -> bool {
        let too_long = |mtu| bytes.saturating_sub(ETHERNET_HEADER) > mtu;
        let mtu = self.effect.mtu.and_then(|mtu| usize::try_from(mtu).ok());
        self.effect.cut
            || self.effect.rate == Some(0)
            || mtu.is_some_and(too_long)
            || self.happens(self.effect.loss)
    }

    /// The bit that is flipped. A frame without a payload has none.
    fn flip(&mut self, bytes: usize) -> Option<usize> {
        let payload = 8 * ETHERNET_HEADER..8 * bytes;
        (self.happens(self.effect.corrupt) && !payload.is_empty())
            .then(|| self.random.usize(payload))
    }

    fn delay(&mut self) -> Duration {
        let delay = self.effect.delay.min(LONGEST);
        let jitter = self.effect.jitter.min(LONGEST);
        if jitter.is_zero() {
            return delay;
        }
        (delay + jitter.mul_f64(2.0 * self.random.f64())).saturating_sub(jitter)
    }

    /// When the link has sent a frame that comes at `at`.
    fn sent(&mut self, at: Instant, bytes: usize) -> Instant {
        let Some(rate) = self.effect.rate.filter(|rate| *rate > 0) else {
            return at;
        };
        let begin = self.free.map_or(at, |free| free.max(at));
        let sent = begin + Duration::from_nanos((bytes as u64 * 1_000_000_000).div_ceil(rate));
        self.then_free = Some(sent);
        sent
    }
}

/// All that is done to frames on their way from one port to another.
#[derive(Debug, Default)]
pub(super) struct Pair {
    stages: Vec<Stage>,
    /// When the last of the frames is due that keep their order.
    last_due: Option<Instant>,
}

impl Pair {
    pub(super) fn add(&mut self, stage: Stage) {
        self.stages.push(stage);
    }

    pub(super) fn remove(&mut self, id: ImpairmentId) {
        self.stages.retain(|stage| stage.id != id);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// What becomes of a frame, given with its prefix, that comes now. `room`: it may be late.
    ///
    /// First the links of limited speed send it, then it is late by all delays. One that overtakes spares itself the delays.
    pub(super) fn fate(&mut self, frame: &[u8], now: Instant, room: bool) -> Fate {
        let bytes = frame.len() - PREFIX;
        let (mut sent, mut delay) = (now, Duration::ZERO);
        let (mut overtakes, mut copies, mut flips) = (false, 1, Vec::new());
        for stage in &mut self.stages {
            if stage.loses(bytes) {
                return Fate::Lost;
            }
            copies += usize::from(stage.happens(stage.effect.duplicate));
            overtakes |= stage.happens(stage.effect.reorder);
            flips.extend(stage.flip(bytes));
            delay += stage.delay();
            sent = stage.sent(sent, bytes);
        }
        let due = match self.last_due {
            _ if overtakes => sent,
            Some(last) => last.max(sent + delay),
            None => sent + delay,
        };
        if due > now && !room {
            // The links have not seen it.
            return Fate::Lost;
        }
        for stage in &mut self.stages {
            stage.free = stage.then_free;
        }
        self.last_due = self.last_due.max(Some(due));
        Fate::Passes(Passage { due, copies, flips })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn pair(seed: u64, effects: &[Effect]) -> Pair {
        let mut pair = Pair::default();
        for (number, effect) in (0..).zip(effects) {
            pair.add(Stage::new(ImpairmentId(number), *effect, seed + number));
        }
        pair
    }

    /// With its prefix and its Ethernet header.
    fn frame(payload: usize) -> Vec<u8> {
        let bytes = ETHERNET_HEADER + payload;
        let mut frame = u32::try_from(bytes).unwrap().to_be_bytes().to_vec();
        frame.resize(PREFIX + bytes, 0x5a);
        frame
    }

    /// The fates of frames that come at the same time.
    fn fates(pair: &mut Pair, now: Instant, count: usize) -> Vec<Fate> {
        let frame = frame(46);
        (0..count).map(|_| pair.fate(&frame, now, true)).collect()
    }

    fn passage(pair: &mut Pair, frame: &[u8], now: Instant) -> Passage {
        match pair.fate(frame, now, true) {
            Fate::Passes(passage) => passage,
            Fate::Lost => panic!("it is lost"),
        }
    }

    /// How many of 10,000 frames are so, by this effect: a share.
    fn share(effect: Effect, is_so: impl Fn(&Fate) -> bool) -> f64 {
        let fates = fates(&mut pair(7, &[effect]), Instant::now(), 10_000);
        let count = fates.iter().filter(|fate| is_so(fate)).count();
        count as f64 / 10_000.0
    }

    /// Four standard deviations are less.
    fn is_about(share: f64, wanted: f64) -> bool {
        (share - wanted).abs() < 0.02
    }

    #[test]
    fn nothing_is_done_by_default() {
        let now = Instant::now();
        let mut pair = pair(1, &[Effect::default()]);
        let untouched = Passage {
            due: now,
            copies: 1,
            flips: Vec::new(),
        };
        assert_eq!(passage(&mut pair, &frame(46), now), untouched);
        assert_eq!(untouched.altered(&frame(46)), frame(46));
    }

    #[test]
    fn nothing_passes_a_cut() {
        for effect in [
            Effect {
                cut: true,
                ..Effect::default()
            },
            Effect {
                loss: 1.0,
                ..Effect::default()
            },
            Effect {
                rate: Some(0),
                ..Effect::default()
            },
        ] {
            let fates = fates(&mut pair(1, &[effect]), Instant::now(), 1000);
            assert!(fates.iter().all(|fate| *fate == Fate::Lost), "{effect:?}");
        }
    }

    #[test]
    fn the_wanted_share_is_lost_and_the_same_for_the_same_seed() {
        let effect = Effect {
            loss: 0.3,
            ..Effect::default()
        };
        let lost = share(effect, |fate| *fate == Fate::Lost);
        assert!(is_about(lost, 0.3), "{lost}");
        let now = Instant::now();
        let [one, same, other] =
            [7, 7, 8].map(|seed| fates(&mut pair(seed, &[effect]), now, 10_000));
        assert!(one == same);
        assert!(one != other);
    }

    #[test]
    fn a_delay_with_jitter_is_uniform_and_keeps_the_order() {
        let effect = Effect {
            delay: 50 * MILLISECOND,
            jitter: 20 * MILLISECOND,
            ..Effect::default()
        };
        // So far from each other that none waits for the one before it.
        let mut apart = pair(1, &[effect]);
        let mut now = Instant::now();
        let mut delays = Vec::new();
        for _ in 0..10_000 {
            now += Duration::from_secs(1);
            delays.push(passage(&mut apart, &frame(46), now).due - now);
        }
        delays.sort();
        let near = |delay: Duration, milliseconds: u32| {
            delay.abs_diff(milliseconds * MILLISECOND) < MILLISECOND
        };
        assert!(delays[0] >= 30 * MILLISECOND && near(delays[0], 30));
        assert!(near(delays[2500], 40) && near(delays[5000], 50) && near(delays[7500], 60));
        assert!(delays[9999] <= 70 * MILLISECOND && near(delays[9999], 70));

        let mut close = pair(1, &[effect]);
        let mut last = now;
        for _ in 0..1000 {
            now += MILLISECOND / 10;
            let due = passage(&mut close, &frame(46), now).due;
            assert!(due >= last && due >= now + 30 * MILLISECOND);
            last = due;
        }
    }

    #[test]
    fn more_jitter_than_delay_makes_no_frame_early() {
        let effect = Effect {
            delay: MILLISECOND,
            jitter: Duration::MAX,
            ..Effect::default()
        };
        let mut pair = pair(1, &[effect]);
        let now = Instant::now();
        for _ in 0..1000 {
            assert!(passage(&mut pair, &frame(46), now).due >= now);
        }
    }

    #[test]
    fn some_frames_overtake() {
        let effect = Effect {
            delay: 50 * MILLISECOND,
            reorder: 0.25,
            ..Effect::default()
        };
        let now = Instant::now();
        let fates = fates(&mut pair(7, &[effect]), now, 10_000);
        let due_after = |delay: u32| {
            let due = now + delay * MILLISECOND;
            let is_due = |fate: &&Fate| matches!(fate, Fate::Passes(passage) if passage.due == due);
            fates.iter().filter(is_due).count()
        };
        assert!(is_about(due_after(0) as f64 / 10_000.0, 0.25));
        assert_eq!(due_after(0) + due_after(50), 10_000);
    }

    #[test]
    fn some_frames_arrive_twice() {
        let effect = Effect {
            duplicate: 0.1,
            ..Effect::default()
        };
        let copies = |wanted: usize| {
            share(
                effect,
                |fate| matches!(fate, Fate::Passes(passage) if passage.copies == wanted),
            )
        };
        assert!(is_about(copies(2), 0.1));
        assert!(is_about(copies(1), 0.9));
    }

    #[test]
    fn a_corrupt_frame_differs_in_one_bit_of_its_payload() {
        let corrupt = |share| Effect {
            corrupt: share,
            ..Effect::default()
        };
        let some = share(
            corrupt(0.1),
            |fate| matches!(fate, Fate::Passes(passage) if passage.flips.len() == 1),
        );
        assert!(is_about(some, 0.1), "{some}");

        let mut pair = pair(1, &[corrupt(1.0)]);
        let now = Instant::now();
        let sent = frame(2);
        let mut seen = [0; 16];
        for _ in 0..1000 {
            let passage = passage(&mut pair, &sent, now);
            let arrived = passage.altered(&sent);
            let header = PREFIX + ETHERNET_HEADER;
            assert_eq!(arrived[..header], sent[..header]);
            let differs =
                [0, 1].map(|byte| u16::from(arrived[header + byte] ^ sent[header + byte]));
            let bits = differs[0] | differs[1] << 8;
            assert_eq!(bits.count_ones(), 1);
            seen[bits.trailing_zeros() as usize] += 1;
        }
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
        // There is nothing to flip.
        assert_eq!(
            passage(&mut pair, &frame(0), now).altered(&frame(0)),
            frame(0)
        );
    }

    #[test]
    fn a_slow_link_sends_one_frame_after_another() {
        // A millisecond for each.
        let effect = Effect {
            rate: Some(60_000),
            ..Effect::default()
        };
        let mut pair = pair(1, &[effect]);
        let begin = Instant::now();
        for number in 1..=100 {
            let due = passage(&mut pair, &frame(46), begin).due;
            assert_eq!(due, begin + number * MILLISECOND);
        }
        // It is given no credit for the time in which it had nothing to do.
        let later = begin + Duration::from_secs(1);
        for number in 1..=2 {
            let due = passage(&mut pair, &frame(46), later).due;
            assert_eq!(due, later + number * MILLISECOND);
        }
    }

    #[test]
    fn what_finds_no_room_is_lost_and_holds_up_no_link() {
        let effect = Effect {
            rate: Some(60_000),
            delay: MILLISECOND,
            ..Effect::default()
        };
        let mut pair = pair(1, &[effect]);
        let now = Instant::now();
        for _ in 0..10 {
            assert_eq!(pair.fate(&frame(46), now, false), Fate::Lost);
        }
        let due = passage(&mut pair, &frame(46), now).due;
        assert_eq!(due, now + 2 * MILLISECOND);
    }

    #[test]
    fn large_frames_vanish() {
        let effect = Effect {
            mtu: Some(1500),
            ..Effect::default()
        };
        let mut pair = pair(1, &[effect]);
        let now = Instant::now();
        assert_ne!(pair.fate(&frame(1500), now, true), Fate::Lost);
        assert_eq!(pair.fate(&frame(1501), now, true), Fate::Lost);
        assert_ne!(pair.fate(&frame(0), now, true), Fate::Lost);
    }

    #[test]
    fn all_that_is_active_applies() {
        let late = |milliseconds: u32| Effect {
            delay: milliseconds * MILLISECOND,
            duplicate: 1.0,
            ..Effect::default()
        };
        let mut pair = pair(1, &[late(30), late(20)]);
        let now = Instant::now();
        let before = passage(&mut pair, &frame(46), now);
        assert_eq!((before.due, before.copies), (now + 50 * MILLISECOND, 3));
        pair.remove(ImpairmentId(0));
        // What was sent before is not overtaken.
        let after = passage(&mut pair, &frame(46), now + MILLISECOND);
        assert_eq!((after.due, after.copies), (before.due, 2));
        let now = now + 100 * MILLISECOND;
        assert_eq!(
            passage(&mut pair, &frame(46), now).due,
            now + 20 * MILLISECOND
        );
    }
}
