//! The course of a comparison: whose turn it is, when there is enough, what came of it. Knows neither guests nor statistics.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sanlab_record::{Outcome, RunRecord};
use sanlab_report::series::{Figures, figures};
use sanlab_report::verdict::Judgement;
use sanlab_run::Extent;

use crate::LabError;

/// Which side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Letter {
    /// What is compared with.
    A,
    /// What is compared.
    B,
}

impl Letter {
    /// `A`, `B`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }
}

/// One run of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Whose.
    pub(crate) side: Letter,
    /// Of which pair; pair 0 prepares the others.
    pub(crate) pair: usize,
}

impl Turn {
    /// Whether it only makes what the others are forked from.
    pub(crate) const fn prepares(self) -> bool {
        self.pair == 0
    }

    /// How much of the plan is done. The first pair that counts is whole, so that each side's data is proved once, after it was
    /// measured; what another run has proved already is proved `again` only if somebody wants it.
    pub(crate) const fn extent(self, again: bool) -> Extent {
        match self.pair {
            0 => Extent::Whole,
            1 if again => Extent::Whole,
            1 => Extent::UnlessProved,
            _ => Extent::Measures,
        }
    }

    /// `a-0`, `b-3`: the folder within the comparison's.
    pub(crate) fn folder(self) -> String {
        format!("{}-{}", self.side.as_str().to_lowercase(), self.pair)
    }
}

/// The turns of a pair: AB, BA, AB, ..., so that what drifts does not favour a side.
pub(crate) const fn turns(pair: usize) -> [Turn; 2] {
    let sides = if pair.is_multiple_of(2) {
        [Letter::A, Letter::B]
    } else {
        [Letter::B, Letter::A]
    };
    [
        Turn {
            side: sides[0],
            pair,
        },
        Turn {
            side: sides[1],
            pair,
        },
    ]
}

/// Does the runs.
pub(crate) trait Runner {
    /// Does one. A run that did not pass is a record, not an error.
    async fn run(&mut self, turn: Turn) -> Result<Ran, LabError>;

    /// Whether somebody wants an end.
    fn is_cancelled(&self) -> bool;
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) record: RunRecord,
    /// Where its record is.
    pub(crate) path: PathBuf,
}

/// Says what the runs so far tell.
pub(crate) trait Judge {
    /// By step and measure; nothing before there are figures of both sides.
    fn judge(&self, sides: &Sides) -> Result<Vec<Judgement>, LabError>;

    /// Whether so many pairs are enough, of which at least `fewest` are wanted.
    fn is_enough(&self, judgements: &[Judgement], pairs: usize, fewest: usize) -> bool;
}

/// When there is enough.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Not fewer pairs than the one, not more than the other, beside the pair of runs that prepare them.
    pub(crate) pairs: RangeInclusive<usize>,
    /// No pair is begun that would end later than this, as long as the pairs before it took. Preparations left out.
    pub(crate) budget: Option<Duration>,
}

/// What a comparison has so far.
#[derive(Debug, Default)]
pub(crate) struct Sides {
    /// What each counted run of A measured, in the order of the pairs.
    pub(crate) a: Vec<Vec<Figures>>,
    /// The same of B.
    pub(crate) b: Vec<Vec<Figures>>,
}

/// Where the records of a side are, that of its preparation first.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) a: Vec<PathBuf>,
    pub(crate) b: Vec<PathBuf>,
}

/// Why it ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The verdict stands.
    Firm,
    /// As many pairs as were allowed.
    Pairs,
    /// As much time as was allowed.
    Budget,
    /// Somebody wanted it.
    Interrupted,
    /// A run that did not pass. Nothing can be said of the sides then.
    Stopped { turn: Turn, ran: Box<Ran> },
}

/// A comparison that has ended.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) sides: Sides,
    pub(crate) records: Records,
    /// After the last whole pair.
    pub(crate) judgements: Vec<Judgement>,
    pub(crate) end: End,
    pub(crate) seconds: f64,
}

impl Course {
    /// How many pairs count.
    pub(crate) fn pairs(&self) -> usize {
        self.sides.a.len().min(self.sides.b.len())
    }
}

/// News on the way.
#[derive(Debug)]
pub(crate) enum News<'a> {
    /// A run ended.
    Ran { turn: Turn, record: &'a RunRecord },
    /// A pair ended, and this is what all of them say.
    Judged {
        pairs: usize,
        judgements: &'a [Judgement],
    },
}

/// Runs both sides in turns until there is enough.
pub(crate) async fn run(
    runner: &mut impl Runner,
    judge: &impl Judge,
    bounds: &Bounds,
    mut tell: impl FnMut(News<'_>),
) -> Result<Course, LabError> {
    let begin = Instant::now();
    let mut sides = Sides::default();
    let mut records = Records::default();
    let mut judgements = Vec::new();
    let mut longest = Duration::ZERO;
    let mut pair = 0;
    let end = 'pairs: loop {
        if runner.is_cancelled() {
            break End::Interrupted;
        }
        if pair > *bounds.pairs.end() {
            break End::Pairs;
        }
        let late = |budget: Duration| begin.elapsed() + longest > budget;
        if bounds.budget.is_some_and(late) {
            break End::Budget;
        }
        let pair_begin = Instant::now();
        let mut pair_figures = [Vec::new(), Vec::new()];
        for turn in turns(pair) {
            let ran = runner.run(turn).await?;
            tell(News::Ran {
                turn,
                record: &ran.record,
            });
            if ran.record.outcome != Outcome::Passed {
                if runner.is_cancelled() {
                    break 'pairs End::Interrupted;
                }
                let ran = Box::new(ran);
                break 'pairs End::Stopped { turn, ran };
            }
            pair_figures[turn.side as usize] = figures(&ran.record);
            match turn.side {
                Letter::A => records.a.push(ran.path),
                Letter::B => records.b.push(ran.path),
            }
        }
        // The first pair may have built what later ones fork.
        if pair > 0 {
            longest = longest.max(pair_begin.elapsed());
            let [a, b] = pair_figures;
            sides.a.push(a);
            sides.b.push(b);
            judgements = judge.judge(&sides)?;
            tell(News::Judged {
                pairs: pair,
                judgements: &judgements,
            });
            if judge.is_enough(&judgements, pair, *bounds.pairs.start()) {
                break End::Firm;
            }
        }
        pair += 1;
    };
    Ok(Course {
        sides,
        records,
        judgements,
        end,
        seconds: begin.elapsed().as_secs_f64(),
    })
}

#[cfg(test)]
mod tests;
