//! Which impairments are active, and what they do to each pair of ports.

use std::collections::HashMap;

use super::impairment::{Impairment, ImpairmentId, Pair, Stage};

/// The impairments that were asked for together.
struct Active {
    id: ImpairmentId,
    seed: u64,
    impairments: Vec<Impairment>,
}

impl Active {
    /// Adds to a pair what concerns it.
    fn add_to(&self, pair: &mut Pair, from: &str, to: &str) {
        for (place, impairment) in self.impairments.iter().enumerate() {
            if impairment.covers(from, to) {
                let seed = seed(self.seed, place, from, to);
                pair.add(Stage::new(self.id, impairment.effect, seed));
            }
        }
    }
}

/// All that is active in a switch.
#[derive(Default)]
pub(super) struct Impairments {
    active: Vec<Active>,
    /// By the ports' numbers; those that frames have gone between, even if nothing is done to them.
    pairs: HashMap<(usize, usize), Pair>,
}

impl Impairments {
    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// `name` says what a port is called.
    pub(super) fn add<'a>(
        &mut self,
        id: ImpairmentId,
        seed: u64,
        impairments: Vec<Impairment>,
        name: impl Fn(usize) -> &'a str,
    ) {
        let active = Active {
            id,
            seed,
            impairments,
        };
        for ((from, to), pair) in &mut self.pairs {
            active.add_to(pair, name(*from), name(*to));
        }
        self.active.push(active);
    }

    pub(super) fn remove(&mut self, id: ImpairmentId) {
        self.active.retain(|active| active.id != id);
        self.pairs.retain(|_, pair| {
            pair.remove(id);
            // With the last impairment the order ends that it kept.
            !pair.is_empty()
        });
    }

    /// What is done to frames from one port to another; `None`: nothing. `name` says what a port is called.
    pub(super) fn between<'a>(
        &mut self,
        from: usize,
        to: usize,
        name: impl Fn(usize) -> &'a str,
    ) -> Option<&mut Pair> {
        let pair = self.pairs.entry((from, to)).or_insert_with(|| {
            let mut pair = Pair::default();
            for active in &self.active {
                active.add_to(&mut pair, name(from), name(to));
            }
            pair
        });
        (!pair.is_empty()).then_some(pair)
    }
}

/// Each pair decides by a generator of its own: what becomes of its frames does not hang on when those of others come.
/// FNV-1a, from the seed on.
fn seed(seed: u64, place: usize, from: &str, to: &str) -> u64 {
    let place = (place as u64).to_le_bytes();
    let ports = from.bytes().chain([0]).chain(to.bytes());
    place
        .into_iter()
        .chain(ports)
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::network::impairment::{Effect, Fate};

    const NAMES: [&str; 3] = ["a", "b", "c"];

    fn name(port: usize) -> &'static str {
        NAMES[port]
    }

    fn impairment(from: &[&str], to: &[&str], loss: f64) -> Impairment {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Impairment {
            from: owned(from),
            to: owned(to),
            effect: Effect {
                loss,
                ..Effect::default()
            },
        }
    }

    /// The next frame's fate.
    fn is_lost(impairments: &mut Impairments, from: usize, to: usize) -> bool {
        impairments
            .between(from, to, name)
            .is_some_and(|pair| pair.fate(&[0; 64], Instant::now(), true) == Fate::Lost)
    }

    fn fates(impairments: &mut Impairments, from: usize, to: usize) -> Vec<bool> {
        (0..1000).map(|_| is_lost(impairments, from, to)).collect()
    }

    #[test]
    fn the_named_pairs_alone_are_covered_from_the_beginning_to_the_end() {
        let mut impairments = Impairments::default();
        assert!(!is_lost(&mut impairments, 0, 1));
        let some = vec![impairment(&["a", "nobody"], &["b", "c"], 1.0)];
        // The pair is known by then, the others are not.
        impairments.add(ImpairmentId(1), 7, some, name);
        impairments.add(
            ImpairmentId(2),
            7,
            vec![impairment(&["a"], &["b"], 1.0)],
            name,
        );
        assert!(is_lost(&mut impairments, 0, 1) && is_lost(&mut impairments, 0, 2));
        assert!(!is_lost(&mut impairments, 1, 0) && !is_lost(&mut impairments, 1, 2));
        impairments.remove(ImpairmentId(1));
        assert!(is_lost(&mut impairments, 0, 1) && !is_lost(&mut impairments, 0, 2));
        impairments.remove(ImpairmentId(2));
        assert!(!is_lost(&mut impairments, 0, 1) && impairments.is_empty());
    }

    #[test]
    fn the_same_frames_see_the_same_fate_whatever_goes_between_others() {
        let start = |seed| {
            let mut impairments = Impairments::default();
            let all = vec![impairment(&NAMES, &NAMES, 0.5)];
            impairments.add(ImpairmentId(1), seed, all, name);
            impairments
        };
        let (mut one, mut other) = (start(7), start(7));
        fates(&mut other, 0, 2);
        let fate = fates(&mut one, 0, 1);
        assert_eq!(fate, fates(&mut other, 0, 1));
        assert_ne!(fate, fates(&mut one, 1, 0));
        assert_ne!(fate, fates(&mut start(8), 0, 1));
    }
}
