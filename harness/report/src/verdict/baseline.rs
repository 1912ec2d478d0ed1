//! A file that a project commits: what its runs were like, to hold later runs against. It is plain JSON with sorted keys, so that
//! a change of it can be reviewed.
//!
//! A baseline was measured at another time than the runs that are held against it, and whatever the host did meanwhile is in
//! the difference. So what is timed must differ by more than sessions of the same series lay apart in the history, and where that is
//! not known, it is undecided: a comparison of two sides in turns tells more. What is counted does not mind.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use fs_err as fs;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::error::ReportError;
use crate::load::measure::Measure;
use crate::load::series::{Figures, Series};
use crate::verdict::comparison::{self, Rules};
use crate::verdict::{Judgement, Verdict, drift};

/// Version of a baseline's shape, its field `format`.
pub const FORMAT: u32 = 1;

/// How many runs of a series a baseline keeps, where nothing else is asked for.
pub const WINDOW: usize = 20;

/// The file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// [`FORMAT`] of the harness that wrote it.
    pub format: u32,
    /// When it was made, seconds since 1970.
    pub made: f64,
    /// Its series, in order; never empty.
    pub series: Vec<Window>,
}

/// The last runs of a series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Which.
    pub series: Series,
    /// What the last of them was made of.
    pub origin: BTreeMap<String, String>,
    /// By measure, each run's figure ([`Figures::figure`]), the oldest run first.
    pub means: BTreeMap<Measure, Vec<f64>>,
}

/// One measure of one series against the baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgainstSeries {
    /// Which series.
    pub series: Series,
    /// What sessions of it lay apart in the history, as a share; of what is timed, nothing smaller is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<f64>,
    /// A is the baseline, B the runs of the report.
    pub judgement: Judgement,
}

/// The runs of a report against a baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgainstBaseline {
    /// Its file, as it was named.
    pub name: String,
    /// By series and measure.
    pub series: Vec<AgainstSeries>,
    /// Series of these runs that it does not have.
    pub unknown: Vec<Series>,
    /// Series that it has and these runs do not.
    pub missing: Vec<Series>,
    /// The whole: as in a comparison.
    pub verdict: Verdict,
}

impl Baseline {
    /// The last runs of every series, at most `window` of each.
    pub fn of(figures: &[Figures], window: usize, made: f64) -> Result<Self, ReportError> {
        let series: Vec<_> = by_series(figures)
            .into_iter()
            .filter_map(|(series, runs)| {
                let runs = &runs[runs.len().saturating_sub(window)..];
                let means = means(runs);
                (!means.is_empty()).then(|| Window {
                    series: series.clone(),
                    origin: runs
                        .last()
                        .map(|run| run.origin.clone())
                        .unwrap_or_default(),
                    means,
                })
            })
            .collect();
        if series.is_empty() {
            return Err(ReportError::EmptyBaseline);
        }
        Ok(Self {
            format: FORMAT,
            made,
            series,
        })
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        // Maps with string keys and plain numbers: nothing in it can fail to serialise.
        let mut text = serde_json::to_string_pretty(self).expect("a baseline is plain data");
        text.push('\n');
        text
    }

    /// Reads a file's text; `path` is for messages.
    pub fn from_json(path: &Path, text: &str) -> Result<Self, ReportError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
            series: Option<IgnoredAny>,
        }
        let fault = |message: String| ReportError::Baseline {
            path: path.to_owned(),
            message,
        };
        let bad = |error: serde_json::Error| {
            fault(if error.is_eof() {
                "the file is cut short\n  help: restore it from where it is committed".to_owned()
            } else {
                format!("{error}\n  help: `sanlab report --save-baseline FILE` writes one")
            })
        };
        let Version { format, series } = serde_json::from_str(text).map_err(bad)?;
        if series.is_none() {
            return Err(fault(
                "it has no `series`: it is something else\n  help: `sanlab report --save-baseline FILE` writes a baseline"
                    .to_owned(),
            ));
        }
        if format != FORMAT {
            return Err(fault(format!(
                "it is of format {format}, this sanlab reads format {FORMAT}\n  help: make it anew with `sanlab report --save-baseline FILE`"
            )));
        }
        let baseline: Self = serde_json::from_str(text).map_err(bad)?;
        if baseline.series.is_empty() {
            return Err(fault(
                "it has no series\n  help: make it anew with `sanlab report --save-baseline FILE`"
                    .to_owned(),
            ));
        }
        Ok(baseline)
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        Self::from_json(path, &fs::read_to_string(path)?)
    }

    /// Writes the file, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), ReportError> {
        Ok(durable::write(path, &self.to_json())?)
    }

    /// Holds runs against it, series by series, by the test for sides that were not run in turns. `name` is what the report calls
    /// the baseline; `past` is what the history has of the runs' series.
    pub fn against(
        &self,
        name: &str,
        rules: &Rules,
        figures: &[Figures],
        past: &[Figures],
    ) -> Result<AgainstBaseline, ReportError> {
        let now = by_series(figures);
        let known: BTreeSet<_> = self.series.iter().map(|window| &window.series).collect();
        let mut series = Vec::new();
        for window in &self.series {
            let Some(runs) = now.get(&window.series) else {
                continue;
            };
            let means = means(runs);
            let begins: Vec<f64> = runs.iter().map(|run| run.started).collect();
            for (&measure, before) in &window.means {
                let drift = drift::of(past, &window.series, measure, &begins);
                let mut rules = rules.clone();
                if let Some(drift) = drift.filter(|_| measure.is_timed()) {
                    let floor = rules.noise_floors.entry(measure).or_default();
                    *floor = floor.max(drift);
                }
                let judgement = means.get(&measure).and_then(|after| {
                    let step = &window.series.step;
                    comparison::judge_independent(&rules, step, measure, before, after)
                });
                series.extend(judgement.map(|mut judgement| {
                    if measure.is_timed() && drift.is_none() {
                        judgement.verdict = Verdict::Undecided;
                        judgement.within = None;
                    }
                    AgainstSeries {
                        series: window.series.clone(),
                        drift,
                        judgement,
                    }
                }));
            }
        }
        if series.is_empty() {
            let text = self.nothing_in_common(&now);
            return Err(if self.is_of_another_host(&now) {
                ReportError::NoBaselineHere(text)
            } else {
                ReportError::NoCommonSeries(text)
            });
        }
        let judgements: Vec<_> = series.iter().map(|one| one.judgement.clone()).collect();
        Ok(AgainstBaseline {
            name: name.to_owned(),
            series,
            unknown: now
                .keys()
                .filter(|series| !known.contains(*series))
                .map(|series| (*series).clone())
                .collect(),
            missing: known
                .into_iter()
                .filter(|series| !now.contains_key(series))
                .cloned()
                .collect(),
            verdict: comparison::overall(&judgements),
        })
    }

    /// Whether it has one of these series but for the host or what executes the guests' instructions.
    fn is_of_another_host(&self, now: &BTreeMap<&Series, Vec<&Figures>>) -> bool {
        let anywhere = |series: &Series| {
            let mut series = series.clone();
            for dimension in ["host", "accelerator"] {
                series.dimensions.remove(dimension);
            }
            series
        };
        let ours: BTreeSet<Series> = self.series.iter().map(|it| anywhere(&it.series)).collect();
        now.keys().any(|series| ours.contains(&anywhere(series)))
    }

    /// What each has, and where the same step was measured under other circumstances, which.
    fn nothing_in_common(&self, now: &BTreeMap<&Series, Vec<&Figures>>) -> String {
        let steps = |series: &mut dyn Iterator<Item = &Series>| {
            let names: BTreeSet<_> = series
                .map(|series| format!("{} {}", series.scenario, series.step))
                .collect();
            match names.len() {
                0 => "nothing".to_owned(),
                _ => names.into_iter().collect::<Vec<_>>().join(", "),
            }
        };
        let mut text = format!(
            "no series in common: it has {}, the runs have {}",
            steps(&mut self.series.iter().map(|window| &window.series)),
            steps(&mut now.keys().copied()),
        );
        let near = now.keys().find_map(|series| {
            let same = |window: &&Window| {
                window.series.scenario == series.scenario && window.series.step == series.step
            };
            Some((*series, &self.series.iter().find(same)?.series))
        });
        if let Some((run, ours)) = near {
            let nothing = "nothing".to_owned();
            let keys: BTreeSet<_> = run
                .dimensions
                .keys()
                .chain(ours.dimensions.keys())
                .collect();
            for key in keys {
                let of = |series: &Series| series.dimensions.get(key).unwrap_or(&nothing).clone();
                let (before, after) = (of(ours), of(run));
                if before != after {
                    let _ = write!(
                        text,
                        "\n  {} {}: {key} is {before} in the baseline, {after} in the runs",
                        run.scenario, run.step
                    );
                }
            }
        }
        text.push_str(
            "\n  help: a baseline is for one class of host; make one here with `sanlab report --save-baseline FILE`",
        );
        text
    }
}

/// Runs by series, the oldest first.
fn by_series(figures: &[Figures]) -> BTreeMap<&Series, Vec<&Figures>> {
    let mut series: BTreeMap<&Series, Vec<&Figures>> = BTreeMap::new();
    for run in figures {
        series.entry(&run.series).or_default().push(run);
    }
    for runs in series.values_mut() {
        runs.sort_by(|one, other| one.started.total_cmp(&other.started));
    }
    series
}

/// The figures of runs by measure; a measure that no run has is absent.
fn means(runs: &[&Figures]) -> BTreeMap<Measure, Vec<f64>> {
    Measure::ALL
        .into_iter()
        .filter_map(|measure| {
            let means: Vec<_> = runs.iter().filter_map(|run| run.figure(measure)).collect();
            (!means.is_empty()).then_some((measure, means))
        })
        .collect()
}
