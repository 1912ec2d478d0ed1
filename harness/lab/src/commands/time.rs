//! Times on the command line: one grammar for all options, that of scenarios.

use std::time::Duration;

use sanlab_plan::parse_duration;

/// Parses `500ms`, `30s`, `2m`, `8h`; nothing can be done in no time.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).map_err(|error| error.to_string())?;
    if time.is_zero() {
        return Err("it would end at once".to_owned());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::commands::cli::Cli;

    #[test]
    fn times_are_those_of_scenarios_and_longer_than_none() {
        assert_eq!(parse_time("90m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_time("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["0s", "0h", "soon", "30", "1h 30m"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_option_takes_the_same_times() {
        for options in [
            &["up", "--for"][..],
            &["run", "--hold"],
            &["capture", "vix0", "--write=-", "--for"],
            &["compare", "--budget"],
            &["explore", "--budget"],
            &["slurm", "--nodes=1", "--deadline"],
        ] {
            let parse = |time| {
                let file = (options[0] != "capture").then_some("a.toml");
                let words = ["sanlab"].iter().chain(options).copied();
                Cli::try_parse_from(words.chain([time]).chain(file))
            };
            for time in ["500ms", "30s", "20m", "2h"] {
                assert!(parse(time).is_ok(), "{options:?} {time}");
            }
            for time in ["2 hours", "0s", "1d"] {
                let error = parse(time).unwrap_err();
                assert_eq!(error.exit_code(), 2, "{options:?} {time}");
            }
        }
    }
}
