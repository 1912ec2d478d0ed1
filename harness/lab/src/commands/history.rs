//! `sanlab history`: the figures of all runs, in one file.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use sanlab_record::RunRecord;
use sanlab_report::history::{History, Imported, Pruned};
use sanlab_report::load;
use sanlab_report::measure::Measure;
use sanlab_report::table::Table;

use super::pages;
use super::report::load_and_tell;
use crate::compare::verdicts::HostClass;
use crate::lab::runs::{self, shown};
use crate::shards::durations::Durations;
use crate::shards::merge::is_missing;
use crate::terminal::quantity::count;
use crate::terminal::{Terminal, print};
use crate::{Exit, Lab, LabError};

/// What to do with the history.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum HistoryCommand {
    /// Add runs; those that are in it already are skipped
    Import {
        /// Records, folders with records, or files written by `export` (`.jsonl`)
        #[arg(required = true, value_name = "DIR|FILE")]
        paths: Vec<PathBuf>,
    },
    /// Write everything as JSON Lines, one line for each run and series
    Export {
        /// File to write [default: standard output]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// List the series, with their numbers of runs
    Ls,
    /// Write how long each scenario took, for `plan --shards` and `run --shard`: the median of its newest five runs
    Durations {
        /// File to write, to be given to every shard [default: standard output]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Keep the newest runs of each series, and give the space of the others back
    Prune {
        /// How many runs of each series stay
        #[arg(long, value_name = "N", default_value_t = 1000)]
        keep: usize,
        /// How many run folders stay, the newest, with records, logs and collected files; without this, all of them
        #[arg(long, value_name = "N")]
        run_folders: Option<usize>,
    },
}

/// Executes it on the file that the environment names, else `.sanlab/history.sqlite`.
pub(crate) fn execute(command: HistoryCommand, file: Option<PathBuf>) -> Result<Exit, LabError> {
    let path = match file {
        Some(path) => path,
        None => default_path(&Lab::find(&std::env::current_dir()?)?)?,
    };
    match command {
        HistoryCommand::Import { paths } => import(&path, paths)?,
        HistoryCommand::Export { file } => export(&path, file.as_deref())?,
        HistoryCommand::Ls => list(&path)?,
        HistoryCommand::Durations { file } => durations(&path, file.as_deref())?,
        HistoryCommand::Prune { keep, run_folders } => {
            prune(&path, keep)?;
            if let Some(keep) = run_folders {
                prune_folders(keep)?;
            }
        }
    }
    Ok(Exit::Success)
}

/// Where a lab's history is kept: not in `target`, which `cargo clean` deletes. One that an earlier version left there is moved.
pub(crate) fn default_path(lab: &Lab) -> Result<PathBuf, LabError> {
    let named = std::env::var_os("SANLAB_HISTORY").filter(|path| !path.is_empty());
    if let Some(named) = named {
        return Ok(PathBuf::from(named));
    }
    let path = lab.project().join(".sanlab/history.sqlite");
    let before = lab.project().join("target/sanlab/history.sqlite");
    if before.exists() && !path.exists() {
        fs::create_dir_all(lab.project().join(".sanlab"))?;
        fs::rename(&before, &path)?;
        let moved = format!(
            "the history is now {}, no longer {}",
            path.display(),
            before.display()
        );
        Terminal::new().line(&moved);
    }
    Ok(path)
}

/// What noise the lab's history knows of a class of hosts; nothing where there is no history.
pub(crate) fn noise_floors(
    lab: &Lab,
    class: &HostClass,
) -> Result<BTreeMap<Measure, f64>, LabError> {
    let path = default_path(lab)?;
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    Ok(History::open(&path)?.noise_floors(&class.host, &class.accelerator)?)
}

/// A history that somebody wants to read: a name without a file is a mistake.
pub(crate) fn existing(path: &Path) -> Result<History, LabError> {
    if !path.exists() {
        return Err(LabError::NoHistory {
            path: path.to_owned(),
        });
    }
    Ok(History::open(path)?)
}

fn import(path: &Path, paths: Vec<PathBuf>) -> Result<(), LabError> {
    let is_exported = |path: &PathBuf| {
        let name = path.extension().unwrap_or_default();
        path.is_file() && (name == "jsonl" || name == "ndjson")
    };
    let (exported, others): (Vec<PathBuf>, Vec<PathBuf>) = paths.into_iter().partition(is_exported);
    // Everything is read before anything is taken in.
    let texts: Vec<(PathBuf, String)> = exported
        .into_iter()
        .map(|path| fs::read_to_string(&path).map(|text| (path, text)))
        .collect::<Result<_, _>>()
        .map_err(LabError::Unreadable)?;
    let records: Vec<RunRecord> = if others.is_empty() {
        Vec::new()
    } else {
        let loaded = load_and_tell(&others)?;
        let counted = load::counted(&loaded.runs, &loaded.comparisons);
        // That a shard left no record is no run.
        let runs = counted.filter(|record| !is_missing(&record.outcome));
        runs.cloned().collect()
    };
    let mut history = History::open(path)?;
    let mut all = vec![history.import(&records)?];
    for (name, text) in texts {
        all.push(history.import_lines(&name, &text)?);
    }
    let sum = |of: fn(&Imported) -> usize| all.iter().map(of).sum::<usize>();
    print(&format!(
        "{} taken in, {} were there already, {} had no figures; {} holds {}\n",
        count(sum(|it| it.new), "run"),
        sum(|it| it.known),
        sum(|it| it.without_figures),
        path.display(),
        count(history.runs()?, "run")
    ))?;
    Ok(())
}

fn export(path: &Path, file: Option<&Path>) -> Result<(), LabError> {
    let history = existing(path)?;
    if let Some(file) = file {
        let mut out = io::BufWriter::new(fs::File::create(file)?);
        let lines = history.export(&mut out)?;
        out.flush()?;
        print(&format!(
            "{} written to {}\n",
            count(lines, "line"),
            file.display()
        ))?;
    } else {
        let mut lines = Vec::new();
        history.export(&mut lines)?;
        print(&String::from_utf8_lossy(&lines))?;
    }
    Ok(())
}

fn list(path: &Path) -> Result<(), LabError> {
    let history = existing(path)?;
    let mut table = Table::new(&["scenario", "step", ">runs", "circumstances"]);
    for (series, runs) in history.series()? {
        let circumstances = series.circumstances();
        let runs = runs.to_string();
        table.row([&series.scenario, &series.step, &runs, &circumstances]);
    }
    print(&table.render(0))?;
    let runs = count(history.runs()?, "run");
    print(&format!("{runs} in {}\n", path.display()))?;
    Ok(())
}

fn durations(path: &Path, file: Option<&Path>) -> Result<(), LabError> {
    let durations = existing(path)?.durations()?;
    if durations.is_empty() {
        return Err(LabError::NoDurations {
            path: path.to_owned(),
        });
    }
    let durations = Durations::of(durations);
    let Some(file) = file else {
        return Ok(print(&durations.text())?);
    };
    pages::write(file, &durations.text())?;
    print(&format!(
        "durations of {} written to {}\n",
        count(durations.len(), "scenario"),
        file.display()
    ))?;
    Ok(())
}

fn prune(path: &Path, keep: usize) -> Result<(), LabError> {
    let mut history = existing(path)?;
    let Pruned { runs, entries } = history.prune(keep)?;
    print(&format!(
        "figures of {entries} runs removed, and {} with nothing left; {} holds {}\n",
        count(runs, "run"),
        path.display(),
        count(history.runs()?, "run")
    ))?;
    Ok(())
}

fn prune_folders(keep: usize) -> Result<(), LabError> {
    let lab = Lab::find(&std::env::current_dir()?)?;
    let (removed, runs) = runs::prune(lab.project(), keep)?;
    print(&format!(
        "{} removed from {}\n",
        count(removed, "run folder"),
        shown(&runs).display()
    ))?;
    Ok(())
}
