//! Which of the writes that were not flushed are on the disk: drawn from a seed, without any disk.

use fastrand::Rng;

/// What chance has to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheDraw {
    /// The same seed draws the same of the same writes.
    pub seed: u64,
    /// Whether a write may be there in part.
    pub torn: bool,
}

/// What there is of a write after a loss of power.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing.
    Lost,
    /// All of it.
    Kept,
    /// Those of its sectors that are marked: at least one, and not all.
    Torn(Vec<bool>),
}

/// The fate of each write, of which the lengths are given in sectors: it is there or lost with even odds, and with `torn` half of
/// those that are there, and have more than one sector, are there in part.
pub(super) fn fates(draw: CacheDraw, lengths: impl IntoIterator<Item = u64>) -> Vec<Fate> {
    let mut random = Rng::with_seed(draw.seed);
    let lengths = lengths.into_iter();
    lengths
        .map(|sectors| match (random.bool(), draw.torn && sectors > 1) {
            (false, _) => Fate::Lost,
            (true, true) if random.bool() => Fate::Torn(part(&mut random, sectors)),
            (true, _) => Fate::Kept,
        })
        .collect()
}

/// Each sector is there with even odds, but for one that is and one that is not.
fn part(random: &mut Rng, sectors: u64) -> Vec<bool> {
    let there = random.u64(0..sectors);
    let lost = (there + random.u64(1..sectors)) % sectors;
    (0..sectors)
        .map(|sector| sector == there || (random.bool() && sector != lost))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, torn: bool) -> Vec<Fate> {
        fates(
            CacheDraw { seed, torn },
            (0..400).map(|number| 1 + number % 9),
        )
    }

    #[test]
    fn a_seed_draws_the_same_again_and_others_draw_others() {
        assert_eq!(drawn(7, true), drawn(7, true));
        assert_ne!(drawn(7, true), drawn(8, true));
    }

    #[test]
    fn half_of_the_writes_are_there() {
        for seed in 0..20 {
            let fates = drawn(seed, false);
            let kept = fates.iter().filter(|fate| **fate == Fate::Kept).count();
            assert!((150..=250).contains(&kept), "{kept} of 400");
            let lost = fates.iter().filter(|fate| **fate == Fate::Lost).count();
            assert_eq!(kept + lost, 400);
        }
    }

    #[test]
    fn a_torn_write_is_there_in_part() {
        let fates = drawn(1, true);
        let mut torn = 0;
        for (number, fate) in fates.iter().enumerate() {
            if let Fate::Torn(sectors) = fate {
                torn += 1;
                assert_eq!(sectors.len(), 1 + number % 9);
                assert!(sectors.contains(&true) && sectors.contains(&false));
            }
        }
        assert!((60..=130).contains(&torn), "{torn} of 400");
    }
}
