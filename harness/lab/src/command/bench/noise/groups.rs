//! Groups of runs of the same thing, as if they had been two sides.

/// Two groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    /// Places in the pool.
    pub(super) a: Vec<usize>,
    pub(super) b: Vec<usize>,
}

/// Pairs of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Groups {
    pub(super) drawn: Vec<Pair>,
    /// How many of them, from the first on, have no run in common. Later ones have runs of earlier ones, grouped anew.
    pub(super) apart: usize,
}

/// Draws pairs of groups of `size` runs each from a pool. First in turns from runs that were done one after the other, as a
/// comparison does them, each run once; then from the pool shuffled, again each run once, and so on until there are enough.
pub(super) fn draw(pool: usize, size: usize, wanted: usize, seed: u64) -> Groups {
    let mut drawn = Vec::new();
    let mut apart = 0;
    if pool < 2 * size || size == 0 {
        return Groups { drawn, apart };
    }
    let mut order: Vec<usize> = (0..pool).collect();
    let mut random = fastrand::Rng::with_seed(seed);
    while drawn.len() < wanted {
        for block in order.chunks_exact(2 * size) {
            let every_second =
                |first: usize| block.iter().copied().skip(first).step_by(2).collect();
            drawn.push(Pair {
                a: every_second(0),
                b: every_second(1),
            });
        }
        if apart == 0 {
            apart = drawn.len().min(wanted);
        }
        random.shuffle(&mut order);
    }
    drawn.truncate(wanted);
    Groups { drawn, apart }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_disjoint_and_the_first_ones_among_each_other() {
        let groups = draw(50, 4, 100, 1);
        assert_eq!((groups.drawn.len(), groups.apart), (100, 6));
        for pair in &groups.drawn {
            let mut all = [pair.a.clone(), pair.b.clone()].concat();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), 8, "{pair:?}");
            assert!(all.iter().all(|run| *run < 50));
        }
        assert_eq!(groups.drawn[0].a, [0, 2, 4, 6]);
        assert_eq!(groups.drawn[0].b, [1, 3, 5, 7]);
        let mut first: Vec<usize> = groups.drawn[..6]
            .iter()
            .flat_map(|pair| [pair.a.clone(), pair.b.clone()].concat())
            .collect();
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 48);
        assert_eq!(groups, draw(50, 4, 100, 1));
        assert_ne!(groups, draw(50, 4, 100, 2));
    }

    #[test]
    fn too_few_runs_make_no_groups() {
        assert_eq!(draw(7, 4, 100, 1).drawn, []);
    }
}
