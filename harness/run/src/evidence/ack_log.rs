//! What a writer was to write, and what of that was acknowledged when: kept on the host, so that no guest's end can
//! lose it.

use std::collections::BTreeSet;
use std::time::Duration;

use sanlab_record::{Acknowledged, BlockRange, Found, LostBlocks, Rate};
use serde::{Deserialize, Serialize};

use crate::Failure;

/// The stretches of a writer's rate, seconds.
const HALF_SECOND: f64 = 0.5;

/// One writer's account. It writes its blocks in order, so that what was acknowledged is a beginning of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AckLog {
    /// The step and node, for messages: "step write on vix0".
    pub(crate) by: String,
    /// The name and the seed that stand in its blocks, the same in a fork as in the run that kept its origin.
    pub(crate) writer: String,
    seed: u64,
    /// Absolute, in every guest that has the volume mounted.
    pub(crate) path: String,
    /// Bytes of a block.
    pub(crate) block: u64,
    /// How many it was to write.
    count: u64,
    /// When each block was acknowledged, seconds since the run began: block 0 first.
    acknowledged: Vec<f64>,
    begun: Option<f64>,
    /// When it was last heard of.
    last: f64,
    longest_gap: f64,
    longest_gap_at: f64,
    ended: Option<Ending>,
    /// It was kept by an earlier run, whose clock its times are of.
    #[serde(skip)]
    inherited: bool,
}

/// The number of the stretch of `every` seconds in which a moment lies, counted from the run's begin. Moments are told
/// apart to the microsecond.
pub(crate) fn stretch_at(at: f64, every: f64) -> usize {
    let micros = |seconds: f64| {
        let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        time.as_micros()
    };
    usize::try_from(micros(at) / micros(every).max(1)).unwrap_or(usize::MAX)
}

/// Where a writer is by its own account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    /// Its file is not ready.
    Ahead,
    Writing,
    Over,
}

/// A block that the checker did not find as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) number: u64,
    /// Bytes from the beginning of what was read.
    pub(crate) offset: u64,
    /// The checker's words.
    pub(crate) reason: String,
}

impl Bad {
    /// What was there instead. The words are those of `sanlab-witness check`.
    pub(crate) fn found(&self) -> Found {
        let begins = |words: &str| self.reason.starts_with(words);
        if begins("it is all zeros") {
            Found::Zeros
        } else if begins("in its place stands") {
            Found::AnotherBlock
        } else if begins("the file ends") {
            Found::EndOfFile
        } else if begins("cannot be read") {
            Found::Unreadable
        } else {
            Found::OtherBytes
        }
    }
}

/// How a writer ended by its own account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    Complete,
    /// What it said.
    Error(String),
}

impl AckLog {
    /// Before its first line.
    pub(crate) fn new(
        by: &str,
        (writer, seed): (&str, u64),
        path: &str,
        block: u64,
        count: u64,
    ) -> Self {
        Self {
            by: by.to_owned(),
            writer: writer.to_owned(),
            seed,
            path: path.to_owned(),
            block,
            count,
            acknowledged: Vec::new(),
            begun: None,
            last: 0.0,
            longest_gap: 0.0,
            longest_gap_at: 0.0,
            ended: None,
            inherited: false,
        }
    }

    /// The same as a later run knows it.
    pub(crate) fn inherited(self) -> Self {
        Self {
            inherited: true,
            ..self
        }
    }

    /// Takes in a line that came `at` seconds after the run began. What comes before this writer's own beginning is
    /// somebody else's.
    pub(crate) fn hear(&mut self, at: f64, line: &str) -> Result<(), Failure> {
        let odd = |why: &str| {
            Failure::not_understood(format!("understand `{line}` of {}: {why}", self.by))
        };
        let mut words = line.split_whitespace();
        match (words.next(), self.begun) {
            (Some("begin"), _) if self.is_named(words.clone()) => {
                if self.begun.is_some() {
                    return Err(odd("it has begun already"));
                }
                self.begun = Some(at);
            }
            (_, None) => return Ok(()),
            (Some("ack"), Some(_)) => {
                let number: Option<u64> = words.next().and_then(|word| word.parse().ok());
                if number != Some(self.blocks()) {
                    let next = self.blocks();
                    return Err(odd(&format!("block {next} is the next")));
                }
                self.gap(at);
                self.acknowledged.push(at);
            }
            (Some("end"), Some(_)) => {
                self.gap(at);
                self.ended = Some(Ending::Complete);
            }
            (Some("error"), Some(_)) => {
                self.gap(at);
                let said: Vec<&str> = words.collect();
                self.ended = Some(Ending::Error(said.join(" ")));
            }
            _ => return Err(odd("no writer says so")),
        }
        self.last = at;
        Ok(())
    }

    /// Whether a beginning, `WRITER BLOCK COUNT SEED`, is this writer's.
    fn is_named<'a>(&self, words: impl Iterator<Item = &'a str>) -> bool {
        let Self {
            writer,
            block,
            count,
            seed,
            ..
        } = self;
        let own = [
            writer,
            &block.to_string(),
            &count.to_string(),
            &seed.to_string(),
        ];
        words.eq(own)
    }

    fn gap(&mut self, at: f64) {
        let gap = at - self.last;
        if gap > self.longest_gap {
            (self.longest_gap, self.longest_gap_at) = (gap, self.last);
        }
    }

    /// How many blocks were acknowledged: those below this number.
    pub(crate) fn blocks(&self) -> u64 {
        self.acknowledged.len() as u64
    }

    /// Whether every block was acknowledged.
    pub(crate) fn is_complete(&self) -> bool {
        self.blocks() == self.count
    }

    /// Where it is.
    pub(crate) fn course(&self) -> Course {
        match (self.begun, &self.ended) {
            (None, _) => Course::Ahead,
            (_, None) => Course::Writing,
            (_, Some(_)) => Course::Over,
        }
    }

    /// How it ended, if it said so.
    pub(crate) fn ended(&self) -> Option<&Ending> {
        self.ended.as_ref()
    }

    /// How far it got, for messages about its end.
    pub(crate) fn progress(&self) -> String {
        let Self { count, .. } = self;
        match (self.begun, self.acknowledged.last()) {
            (None, _) => "it had not begun".to_owned(),
            (_, None) => "nothing was acknowledged".to_owned(),
            (_, Some(at)) => format!(
                "{} of {count} blocks were acknowledged, the last at {at:.3} s",
                self.blocks()
            ),
        }
    }

    /// Tells of blocks that one reader did not find as they must be, all in the same way. `bad` is in the blocks' order and
    /// not empty.
    pub(crate) fn lost(&self, node: &str, device: Option<&str>, bad: &[Bad]) -> LostBlocks {
        let at = |bad: Option<&Bad>| {
            let number = bad.and_then(|bad| usize::try_from(bad.number).ok());
            let at = number.and_then(|number| self.acknowledged.get(number));
            at.copied().unwrap_or_default()
        };
        let first = bad.first();
        // A block may lie in several pieces.
        let blocks: BTreeSet<u64> = bad.iter().map(|bad| bad.number).collect();
        LostBlocks {
            file: self.path.clone(),
            writer: self.by.clone(),
            acknowledged: self.blocks(),
            node: node.to_owned(),
            device: device.map(str::to_owned),
            found: first.map_or(Found::OtherBytes, Bad::found),
            example: first.map(|bad| bad.reason.clone()).unwrap_or_default(),
            first_byte: first.map_or(0, |bad| bad.offset),
            blocks: BlockRange::of(blocks),
            acknowledged_at: (at(first), at(bad.last())),
            earlier_run: self.inherited,
        }
    }

    /// Bytes that were acknowledged, and the seconds from the beginning to the last of them.
    pub(crate) fn throughput(&self) -> (u64, f64) {
        let begun = self.begun.unwrap_or_default();
        let last = self.acknowledged.last().copied().unwrap_or(begun);
        (self.blocks() * self.block, last - begun)
    }

    /// When it began, seconds since the run began.
    pub(crate) fn begun(&self) -> Option<f64> {
        self.begun
    }

    /// The figures for the record.
    pub(crate) fn figures(&self) -> Acknowledged {
        Acknowledged {
            blocks: self.blocks(),
            longest_gap_seconds: self.longest_gap,
            longest_gap_at: self.longest_gap_at,
            interval_seconds: None,
            rate: self.rate(),
        }
    }

    /// The bytes of each half second from its beginning to the last that was heard of it. The half seconds are those of the
    /// run, so that the rates of several writers can be added up; the first and the last are not whole as a rule.
    fn rate(&self) -> Option<Rate> {
        let stretch = |at: f64| stretch_at(at, HALF_SECOND);
        let first = stretch(self.begun?);
        let mut bytes = vec![0; stretch(self.last).saturating_sub(first) + 1];
        for at in &self.acknowledged {
            if let Some(bytes) = bytes.get_mut(stretch(*at).saturating_sub(first)) {
                *bytes += self.block;
            }
        }
        Some(Rate {
            from: first as f64 * HALF_SECOND,
            every: HALF_SECOND,
            bytes,
        })
    }

    /// What the checker must know to recognise this writer's blocks.
    pub(crate) fn arguments(&self) -> String {
        format!(
            "--writer {} --block {} --seed {}",
            self.writer, self.block, self.seed
        )
    }

    /// All of it as a file for people: `None` if an earlier run wrote it.
    pub(crate) fn text(&self) -> Option<String> {
        use std::fmt::Write as _;
        if self.inherited {
            return None;
        }
        let Self {
            by, path, block, ..
        } = self;
        let mut text = format!(
            "# {by}: blocks of {block} bytes to {path}; {}\n# block, seconds since the run began\n",
            self.progress()
        );
        for (number, at) in self.acknowledged.iter().enumerate() {
            // A String takes everything.
            let _ = writeln!(text, "{number} {at:.6}");
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &[(f64, &str)]) -> Result<AckLog, Failure> {
        let mut ack_log = AckLog::new("step w on vc", ("vc", 3), "/mnt/f", 4096, 5);
        for (at, line) in lines {
            ack_log.hear(*at, line)?;
        }
        Ok(ack_log)
    }

    #[test]
    fn gaps_count_from_the_beginning_to_the_end() {
        let ack_log = heard(&[
            (1.0, "ack 7 1"),
            (2.0, "begin vc 4096 5 3"),
            (2.5, "ack 0 10"),
            (6.5, "ack 1 20"),
            (7.0, "ack 2 30"),
            (12.0, "error 3 5 Input/output error"),
        ])
        .unwrap();
        let figures = ack_log.figures();
        assert_eq!(figures.blocks, 3, "the first line was somebody else's");
        assert!((figures.longest_gap_seconds - 5.0).abs() < 1e-9);
        assert!((figures.longest_gap_at - 7.0).abs() < 1e-9);
        let error = Ending::Error("3 5 Input/output error".to_owned());
        assert_eq!(ack_log.ended(), Some(&error));
        assert_eq!(ack_log.throughput().0, 3 * 4096);
        assert!((ack_log.throughput().1 - 5.0).abs() < 1e-9);
        insta::assert_snapshot!(ack_log.text().unwrap(), @r"
        # step w on vc: blocks of 4096 bytes to /mnt/f; 3 of 5 blocks were acknowledged, the last at 7.000 s
        # block, seconds since the run began
        0 2.500000
        1 6.500000
        2 7.000000
        ");
    }

    #[test]
    fn the_rate_counts_bytes_in_the_runs_half_seconds() {
        let ack_log = heard(&[
            (1.75, "begin vc 4096 5 3"),
            (2.1, "ack 0 10"),
            (2.4, "ack 1 20"),
            (3.6, "ack 2 30"),
        ]);
        let rate = ack_log.unwrap().figures().rate.unwrap();
        assert_eq!(
            (rate.from.to_bits(), rate.every.to_bits()),
            (1.5_f64.to_bits(), 0.5_f64.to_bits())
        );
        assert_eq!(rate.bytes, [0, 8192, 0, 0, 4096]);
        assert_eq!(heard(&[]).unwrap().figures().rate, None, "it never began");
    }

    #[test]
    fn a_line_out_of_order_is_not_taken_for_another() {
        let begun = (1.0, "begin vc 4096 5 3");
        for (line, why) in [
            ("ack 1 10", "block 0 is the next"),
            ("ack", "block 0 is the next"),
            ("begin vc 4096 5 3", "it has begun already"),
            ("hello", "no writer says so"),
        ] {
            let error = heard(&[begun, (2.0, line)]).unwrap_err().to_string();
            assert!(error.ends_with(why), "{error}");
        }
    }

    #[test]
    fn times_of_another_run_are_told_apart() {
        let begun = (1.0, "begin vc 4096 5 3");
        let ack_log = heard(&[begun, (1.5, "ack 0 10"), (1.75, "ack 1 20")]).unwrap();
        let bad = |number: u64| Bad {
            number,
            offset: number * 4096,
            reason: "it is all zeros: never written, or lost".to_owned(),
        };
        let lost = ack_log.lost("vd", None, &[bad(0), bad(1)]);
        assert_eq!((lost.acknowledged, lost.count()), (2, 2));
        assert_eq!(lost.acknowledged_at, (1.5, 1.75));
        assert!(!lost.earlier_run);
        let kept = serde_json::to_string(&ack_log).unwrap();
        let kept: AckLog = serde_json::from_str(&kept).unwrap();
        assert_eq!(kept, ack_log);
        let kept = kept.inherited();
        assert!(kept.lost("vd", Some("/dev/vdb"), &[bad(1)]).earlier_run);
        assert_eq!(kept.text(), None);
    }
}
