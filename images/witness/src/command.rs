//! The command line: `write` and `check`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{Read as _, Write};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use crate::block::Identity;
use crate::check::check;
use crate::error::Error;
use crate::list;
use crate::write::{Journal, Written};

const USAGE: &str = "usage: sanlab-witness write --file PATH --writer NAME --block BYTES --count N [--interval MS] [--seed S]
                            [--ack PATH]
       sanlab-witness check --file PATH --writer NAME --block BYTES [--seed S] [--upto N | --blocks LIST]

write: makes the file, prints `ready`, writes N blocks with O_DIRECT and O_DSYNC, and acknowledges each on PATH (default:
       standard output), with at least MS milliseconds from one to the next: begin WRITER BLOCK COUNT SEED, ack NUMBER MICROSECONDS, error NUMBER ERRNO TEXT, end COUNT.
check: prints `bad NUMBER OFFSET REASON` for every block that is not what it must be, then `checked N`. Of the file's own
       blocks the first N, or all; or those of LIST: lines NUMBER OFFSET [WITHIN LENGTH], in bytes of PATH and of the block.

Ends with 0, with 1 if a block could not be written or is bad, with 2 if nothing can be said.
";

/// Runs the program with these arguments; returns its exit status.
pub fn run(arguments: &[OsString], out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let outcome = match arguments.first().and_then(|word| word.to_str()) {
        Some("write") => {
            Options::parse(&arguments[1..]).and_then(|options| run_write(options, out))
        }
        Some("check") => {
            Options::parse(&arguments[1..]).and_then(|options| run_check(options, out))
        }
        _ => Err(Error::Usage("expected `write` or `check`".to_owned())),
    };
    let error = match outcome {
        Ok(good) => return u8::from(!good),
        Err(error) => error,
    };
    let usage = matches!(error, Error::Usage(_)).then_some(USAGE);
    // Nobody is left to tell where standard error is gone.
    let _ = write!(
        err,
        "sanlab-witness: failed to {error}\n{}",
        usage.unwrap_or_default()
    );
    2
}

fn run_write(mut options: Options, out: &mut dyn Write) -> Result<bool, Error> {
    let (path, identity) = options.journal()?;
    let count = options.needed("count")?;
    let interval = options.take("interval");
    let interval = interval.map_or(Ok(0), |text| number("interval", &text))?;
    let port = options.take("ack");
    options.end()?;
    let interval = Duration::from_millis(interval);
    let journal = Journal::create(Path::new(&path), &identity, count, interval)?;
    say(out, "ready")?;
    let written = match port {
        None => journal.write(out)?,
        Some(port) => {
            let port = Path::new(&port);
            let opened = OpenOptions::new().write(true).open(port);
            journal.write(&mut opened.map_err(|error| Error::host("open", port, error))?)?
        }
    };
    Ok(written == Written::Whole)
}

fn run_check(mut options: Options, out: &mut dyn Write) -> Result<bool, Error> {
    let (path, identity) = options.journal()?;
    let path = Path::new(&path);
    let (upto, blocks) = (options.take("upto"), options.take("blocks"));
    options.end()?;
    let pieces = match (upto, blocks) {
        (Some(_), Some(_)) => {
            return Err(Error::Usage(
                "`--upto` and `--blocks` exclude each other".to_owned(),
            ));
        }
        (None, Some(list)) => {
            let list = Path::new(&list);
            list::parse(&read(list)?, &identity)?
        }
        (Some(count), None) => list::first(number("upto", &count)?, &identity),
        (None, None) => {
            let meta =
                std::fs::metadata(path).map_err(|error| Error::host("look at", path, error))?;
            list::first(meta.len().div_ceil(identity.length() as u64), &identity)
        }
    };
    let mut good = true;
    let checked = check(path, &identity, pieces, |bad| {
        good = false;
        say(out, &bad.to_string())
    })?;
    say(out, &format!("checked {checked}"))?;
    Ok(good)
}

fn read(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    OpenOptions::new()
        .read(true)
        .open(path)
        .and_then(|mut file| file.read_to_string(&mut text))
        .map_err(|error| Error::host("read", path, error))?;
    Ok(text)
}

fn say(out: &mut dyn Write, line: &str) -> Result<(), Error> {
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|source| Error::Host {
            doing: format!("print `{line}`"),
            source,
        })
}

/// Words `--name value`, each at most once.
struct Options(BTreeMap<String, String>);

impl Options {
    fn parse(words: &[OsString]) -> Result<Self, Error> {
        let mut options = BTreeMap::new();
        for pair in words.chunks(2) {
            let text = |word: &OsString| {
                let text = word.to_str().map(str::to_owned);
                text.ok_or_else(|| Error::Usage("an argument is not UTF-8".to_owned()))
            };
            let name = text(&pair[0])?;
            let Some(name) = name.strip_prefix("--") else {
                return Err(Error::Usage(format!("`{name}` is no option")));
            };
            let Some(value) = pair.get(1) else {
                return Err(Error::Usage(format!("`--{name}` has no value")));
            };
            if options.insert(name.to_owned(), text(value)?).is_some() {
                return Err(Error::Usage(format!("`--{name}` is given twice")));
            }
        }
        Ok(Self(options))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn needed<T: FromStr>(&mut self, name: &str) -> Result<T, Error> {
        let value = self.take(name);
        let value = value.ok_or_else(|| Error::Usage(format!("`--{name}` is missing")))?;
        number(name, &value)
    }

    /// What both commands must know: which file, and what stands in it.
    fn journal(&mut self) -> Result<(String, Identity), Error> {
        let (path, writer): (String, String) = (self.needed("file")?, self.needed("writer")?);
        let length = self.needed("block")?;
        let seed = self
            .take("seed")
            .map_or(Ok(0), |seed| number("seed", &seed))?;
        Ok((path, Identity::new(&writer, seed, length)?))
    }

    /// There are no others.
    fn end(self) -> Result<(), Error> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(Error::Usage(format!("`--{name}` is not known here"))),
        }
    }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, Error> {
    value
        .parse()
        .map_err(|_| Error::Usage(format!("`--{name} {value}` is not possible")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(words: &str) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let words: Vec<_> = words.split_whitespace().map(OsString::from).collect();
        let status = run(&words, &mut out, &mut err);
        let err = String::from_utf8(err).unwrap();
        let err = err.split("usage:").next().unwrap_or_default();
        format!(
            "{status} {}{}",
            String::from_utf8(out).unwrap(),
            err.trim_end()
        )
    }

    #[test]
    fn mistakes_are_told() {
        let lines = [
            "",
            "read",
            "write",
            "write --file x --writer n --block 4096",
            "write --file x --writer n --block 4096 --count many",
            "write --file x --writer n --block 100 --count 1",
            "write --file x --writer n --block 4096 --count 0",
            "write --file x --file y",
            "write --file",
            "write file",
            "write --file x --writer n --block 4096 --count 1 --upto 3",
            "check --file /nowhere --writer n --block 4096",
            "check --file x --writer n --block 4096 --upto 1 --blocks y",
            "check --file x --writer n --block 4096 --count 1",
        ];
        let said: Vec<_> = lines
            .iter()
            .map(|line| format!("{line}\n    {}", says(line)))
            .collect();
        insta::assert_snapshot!(said.join("\n"));
    }
}
