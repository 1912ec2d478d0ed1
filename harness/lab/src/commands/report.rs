//! `sanlab report`: verdicts, trends and pages from records alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use sanlab_report::baseline::{Baseline, WINDOW};
use sanlab_report::comparison::Rules;
use sanlab_report::github_action_benchmark::{self, Direction};
use sanlab_report::history::History;
use sanlab_report::load::{self, Loaded};
use sanlab_report::measure::Measure;
use sanlab_report::report::Report;
use sanlab_report::series::{Figures, figures};
use sanlab_report::{ReportError, bencher, terminal, trend};

use super::history;
use super::pages::{self, Pages};
use crate::compare::verdicts::HostClass;
use crate::lab::runs::since_1970;
use crate::terminal::{Terminal, complain, print};
use crate::{Exit, Lab, LabError};

/// What the command line says of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Records, comparisons, or folders with such files
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// Title of the report
    #[arg(long, value_name = "TEXT", default_value = "sanlab")]
    title: String,
    #[command(flatten)]
    pages: Pages,
    /// Write Bencher Metric Format JSON
    #[arg(long, value_name = "FILE")]
    bencher: Option<PathBuf>,
    /// Write bigger-is-better.json and smaller-is-better.json for github-action-benchmark
    #[arg(long, value_name = "DIR")]
    github_action_benchmark: Option<PathBuf>,
    /// Compare the runs with the baseline in this file
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write a baseline from the runs and the history: the last 20 runs of each series
    #[arg(long, value_name = "FILE")]
    save_baseline: Option<PathBuf>,
    /// History file with earlier runs, for trends [default: `$SANLAB_HISTORY`, else .sanlab/history.sqlite, if it is there]
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Seed of permutations and the bootstrap
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

/// Reads, renders, and ends by the verdict: what was only measured and not compared is no regression.
pub(crate) fn execute(arguments: &Arguments) -> Result<Exit, LabError> {
    let loaded = load_and_tell(&arguments.paths)?;
    let history = history_of(arguments)?;
    let runs: Vec<Figures> = load::counted(&loaded.runs, &loaded.comparisons)
        .flat_map(figures)
        .collect();
    let past = match &history {
        Some(history) => {
            let series = runs.iter().map(|figures| figures.series.clone());
            history.newest(&series.collect(), trend::LONGEST)?
        }
        None => Vec::new(),
    };
    let made = since_1970().as_secs_f64();
    let mut without_baseline = false;
    let baseline = match &arguments.baseline {
        Some(path) => {
            let mut rules = Rules::new(arguments.seed);
            if let Some(history) = &history {
                rules.noise_floors.extend(floors(history, &runs)?);
            }
            let name = path.display().to_string();
            match Baseline::read(path)?.against(&name, &rules, &runs, &past) {
                Err(error @ ReportError::NoBaselineHere(_)) => {
                    // No mistake of the input, and nothing that was compared.
                    complain(&error.into());
                    without_baseline = true;
                    None
                }
                other => Some(other?),
            }
        }
        None => None,
    };
    let report = Report::new(&arguments.title, made, loaded, &past, baseline);
    print(&terminal::report_table(&report))?;
    arguments.pages.write(&report)?;
    if let Some(path) = &arguments.bencher {
        pages::write(path, &bencher::render(&report))?;
    }
    if let Some(folder) = &arguments.github_action_benchmark {
        for direction in Direction::ALL {
            let text = github_action_benchmark::render(&report, direction);
            pages::write(&folder.join(direction.file_name()), &text)?;
        }
    }
    if let Some(path) = &arguments.save_baseline {
        let mut all = match &history {
            Some(history) => {
                let series = history.series()?.into_iter().map(|(series, _)| series);
                history.newest(&series.collect(), WINDOW)?
            }
            None => Vec::new(),
        };
        let known = |new: &Figures| {
            let same = |old: &Figures| {
                old.series == new.series && (old.started - new.started).abs() < 1e-6
            };
            !all.iter().any(same)
        };
        let new: Vec<Figures> = runs.into_iter().filter(known).collect();
        all.extend(new);
        all.sort_by(|one, other| one.started.total_cmp(&other.started));
        Baseline::of(&all, WINDOW, made)?.write(path)?;
    }
    let exit = report.verdict.map_or(Exit::Success, Exit::from);
    Ok(if without_baseline {
        exit.max(Exit::Undecided)
    } else {
        exit
    })
}

/// Loads, and says on standard error what was left out.
pub(crate) fn load_and_tell(paths: &[PathBuf]) -> Result<Loaded, LabError> {
    let loaded = load::load(paths)?;
    let mut terminal = Terminal::new();
    for text in &loaded.left_out {
        terminal.line(&format!("left out: {text}"));
    }
    Ok(loaded)
}

/// One that is named must be there; else the project's, if there is one.
fn history_of(arguments: &Arguments) -> Result<Option<History>, LabError> {
    if let Some(path) = &arguments.history {
        return history::existing(path).map(Some);
    }
    let lab = Lab::find(&std::env::current_dir()?)?;
    let path = history::default_path(&lab)?;
    if path.exists() {
        Ok(Some(History::open(&path)?))
    } else {
        Ok(None)
    }
}

/// The noise of the hosts that the runs were on: the greatest of each measure.
fn floors(history: &History, runs: &[Figures]) -> Result<BTreeMap<Measure, f64>, LabError> {
    let classes: BTreeSet<HostClass> = runs.iter().filter_map(HostClass::of).collect();
    let mut all = BTreeMap::new();
    for class in classes {
        for (measure, floor) in history.noise_floors(&class.host, &class.accelerator)? {
            let known: &mut f64 = all.entry(measure).or_default();
            *known = known.max(floor);
        }
    }
    Ok(all)
}
