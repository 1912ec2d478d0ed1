//! `dip`: what an event did to those who wrote meanwhile. Nothing is asked of any guest: writers' half seconds are laid
//! beside the time of another step.

use std::time::Duration;

use sanlab_plan::Dip as Limits;
use sanlab_record::{Dip, PhaseName, Sample};

use super::Doing;
use crate::Failure;
use crate::evidence::ack_log::stretch_at;
use crate::failure::Cause;

pub(super) fn perform(doing: Doing<'_>, limits: &Limits) -> Result<(), Failure> {
    let event_log = &doing.context.event_log;
    let around = PhaseName::step(&limits.around);
    let Some(span) = event_log.span_of(&around) else {
        let text = format!("look at {around}: it has not ended");
        return Err(Failure::internal(text));
    };
    let rate_of = |step: &str| Rates::of(&event_log.samples_of(step));
    let newcomers = limits.newcomers.as_ref();
    let newcomers = newcomers.and_then(|step| rate_of(step.as_str()));
    let seen = rate_of(limits.of.as_str())
        .ok_or_else(|| format!("nothing was acknowledged to `{}`", limits.of))
        .and_then(|writers| measure(&writers, newcomers.as_ref(), span));
    let seen = seen.map_err(|why| {
        let Limits { of, around, .. } = limits;
        let text = format!("compare `{of}` before and after `{around}`: {why}");
        Failure::from(Cause::LimitExceeded(text))
    })?;
    let dip = Dip {
        step: doing.step.label.to_string(),
        of: limits.of.to_string(),
        around: limits.around.to_string(),
        ..seen
    };
    doing.scope.progress(None, told(&dip));
    let broken = broken(&dip, limits);
    doing.scope.dipped(dip);
    if broken.is_empty() {
        return Ok(());
    }
    Err(Cause::LimitExceeded(broken.join("; ")).into())
}

/// For people.
fn told(dip: &Dip) -> String {
    let mut text = format!("{:.1} MiB/s before", dip.before_mib_per_second);
    let mut add = |more: String| text.push_str(&more);
    add(format!(", {:.1} during", dip.during_mib_per_second));
    if let Some(after) = dip.after_mib_per_second {
        add(format!(", {after:.1} after"));
    }
    add(format!(
        "; at worst {:.0} % missing, below half for {:.1} s",
        dip.depth * 100.0,
        dip.length_seconds
    ));
    if let Some(adds) = dip.adds {
        add(format!("; with newcomers {:+.0} %", adds * 100.0));
    }
    text
}

/// Limits that it does not keep, with the figures.
fn broken(dip: &Dip, limits: &Limits) -> Vec<String> {
    let mut broken = Vec::new();
    let depth = dip.depth * 100.0;
    if let Some(limit) = limits
        .depth_percent
        .filter(|limit| depth > f64::from(*limit))
    {
        broken.push(format!(
            "{depth:.1} % of {:.1} MiB/s were missing in the worst half second, at most {limit} % may be",
            dip.before_mib_per_second
        ));
    }
    let length = Duration::from_secs_f64(dip.length_seconds);
    if let Some(limit) = limits.length.filter(|limit| length > *limit) {
        broken.push(format!(
            "for {:.1} s less than half of {:.1} MiB/s was written, at most {} s are allowed",
            dip.length_seconds,
            dip.before_mib_per_second,
            limit.as_secs_f64()
        ));
    }
    if let Some(limit) = limits.adds_percent {
        match dip.adds.map(|adds| adds * 100.0) {
            Some(adds) if adds >= f64::from(limit) => {}
            Some(adds) => broken.push(format!(
                "with the newcomers {adds:+.1} % of {:.1} MiB/s were written, at least {limit:+} % must be",
                dip.before_mib_per_second
            )),
            None => broken.push(
                "what newcomers add is not known: they did not write beside the others".to_owned(),
            ),
        }
    }
    broken
}

/// What several writers wrote together, in the half seconds in which all of them wrote.
#[derive(Debug, Clone, PartialEq)]
struct Rates {
    /// The number of the first, counted from the run's begin.
    first: usize,
    every: f64,
    /// Bytes.
    bytes: Vec<u64>,
}

impl Rates {
    /// Of all samples with rates; `None`: there is none, or no half second in which all wrote.
    fn of(samples: &[Sample]) -> Option<Self> {
        let rates = || {
            samples.iter().filter_map(|sample| {
                let rate = sample.acknowledged.as_ref()?.rate.as_ref()?;
                Some((rate, stretch_at(rate.from, rate.every)))
            })
        };
        let every = rates().next()?.0.every;
        // The first half second of each is not whole, nor is the last.
        let first = rates().map(|(_, first)| first + 1).max()?;
        let end = rates()
            .map(|(rate, first)| (first + rate.bytes.len()).saturating_sub(1))
            .min()?;
        let together = |number: usize| {
            let of_each = rates().map(|(rate, first)| rate.bytes[number - first]);
            of_each.sum::<u64>()
        };
        let bytes: Vec<u64> = (first..end).map(together).collect();
        (!bytes.is_empty()).then_some(Self {
            first,
            every,
            bytes,
        })
    }

    /// The half seconds with their numbers.
    fn numbered(&self) -> impl Iterator<Item = (usize, u64)> {
        (self.first..).zip(self.bytes.iter().copied())
    }
}

/// What the writers wrote before, during and after the time from `span.0` to `span.1`, and with newcomers; the error says
/// what there is too little of. The names are left empty.
fn measure(
    writers: &Rates,
    newcomers: Option<&Rates>,
    (from, to): (f64, f64),
) -> Result<Dip, String> {
    let every = writers.every;
    let begin = |number: usize| number as f64 * every;
    let those = |wanted: &dyn Fn(usize) -> bool| -> Vec<f64> {
        let chosen = writers.numbered().filter(|(number, _)| wanted(*number));
        chosen.map(|(_, bytes)| mib(bytes) / every).collect()
    };
    let before = those(&|number| begin(number + 1) <= from);
    let during = those(&|number| begin(number + 1) > from && begin(number) < to);
    let after = those(&|number| begin(number) >= to);
    let (from_there, to_there) = (
        begin(writers.first),
        begin(writers.first + writers.bytes.len()),
    );
    let seconds = |what: &str| {
        format!(
            "{what}: all wrote from {from_there:.1} s to {to_there:.1} s, the event went on from {from:.1} s to {to:.1} s"
        )
    };
    let before = median(before)
        .filter(|before| *before > 0.0)
        .ok_or_else(|| seconds("nothing was written before"))?;
    let worst = during.iter().chain(&after).copied().reduce(f64::min);
    let worst = worst.ok_or_else(|| seconds("it was over before"))?;
    let mut longest = 0;
    let mut stretch = 0;
    for rate in during.iter().chain(&after) {
        stretch = if *rate < before / 2.0 { stretch + 1 } else { 0 };
        longest = longest.max(stretch);
    }
    let during = median(during).ok_or_else(|| seconds("no block was acknowledged during it"))?;
    let beside = newcomers.and_then(|newcomers| {
        let both = newcomers.numbered().filter_map(|(number, bytes)| {
            let old = writers.bytes.get(number.checked_sub(writers.first)?)?;
            (begin(number) >= to).then(|| mib(old + bytes) / every)
        });
        median(both.collect())
    });
    Ok(Dip {
        step: String::new(),
        of: String::new(),
        around: String::new(),
        from,
        to,
        before_mib_per_second: before,
        during_mib_per_second: during,
        after_mib_per_second: median(after),
        depth: (1.0 - worst / before).clamp(0.0, 1.0),
        length_seconds: f64::from(longest) * every,
        adds: beside.map(|beside| beside / before - 1.0),
    })
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let low = figures.get(figures.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(*low, figures[figures.len() / 2]))
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use sanlab_plan::StepLabel;
    use sanlab_record::{Acknowledged, Rate};

    use super::*;

    /// A writer with so many MiB in each half second, from the half second `first` on.
    fn writer(first: usize, mib: &[u64]) -> Sample {
        let bytes = mib.iter().map(|mib| mib << 20).collect();
        let rate = Rate {
            from: first as f64 * 0.5,
            every: 0.5,
            bytes,
        };
        Sample {
            acknowledged: Some(Acknowledged {
                blocks: 1,
                longest_gap_seconds: 0.0,
                longest_gap_at: 0.0,
                interval_seconds: None,
                rate: Some(rate),
            }),
            ..Sample::new("load", "vix0", "x86", 1, 1.0, 1.0)
        }
    }

    fn assert_near(seen: f64, expected: f64) {
        assert!((seen - expected).abs() < 1e-9, "{seen}, not {expected}");
    }

    /// Two writers of 2 MiB each half second; from 3.5 s to 5.2 s a node comes.
    fn load() -> Rates {
        let one = writer(2, &[1, 2, 2, 2, 2, 2, 1, 0, 0, 1, 2, 2, 2, 1]);
        let other = writer(3, &[1, 2, 2, 2, 2, 1, 0, 0, 1, 2, 2, 2, 2, 2]);
        Rates::of(&[one, other]).unwrap()
    }

    #[test]
    fn writers_are_added_up_where_all_of_them_write() {
        let load = load();
        assert_eq!(load.first, 4, "half seconds 2 and 3 are not whole");
        let mib: Vec<u64> = load.bytes.iter().map(|bytes| bytes >> 20).collect();
        assert_eq!(mib, [4, 4, 4, 4, 2, 0, 0, 2, 4, 4, 4]);
        assert_eq!(Rates::of(&[writer(2, &[1, 1])]), None);
        assert_eq!(Rates::of(&[writer(2, &[1; 5]), writer(20, &[1; 5])]), None);
        assert_eq!(Rates::of(&[]), None);
    }

    #[test]
    fn before_during_and_after_are_told_apart() {
        let dip = measure(&load(), None, (3.5, 5.2)).unwrap();
        assert_near(dip.before_mib_per_second, 8.0);
        // Half seconds 7 to 10: 4, 2, 0 and 0 MiB.
        assert_near(dip.during_mib_per_second, 2.0);
        assert_near(dip.after_mib_per_second.unwrap(), 8.0);
        assert_near(dip.depth, 1.0);
        assert_near(dip.length_seconds, 1.0);
        assert_eq!(dip.adds, None);
    }

    #[test]
    fn newcomers_add_what_they_write_beside_the_others() {
        let newcomer = Rates::of(&[writer(11, &[1, 1, 1, 1, 1, 1])]);
        let dip = measure(&load(), newcomer.as_ref(), (3.5, 5.2)).unwrap();
        assert_near(dip.adds.unwrap(), 0.25);
        let late = Rates::of(&[writer(15, &[1, 1, 1])]);
        let dip = measure(&load(), late.as_ref(), (3.5, 5.2)).unwrap();
        assert_eq!(dip.adds, None, "the others had ended");
    }

    #[test]
    fn what_cannot_be_compared_says_why() {
        let load = load();
        for (span, why) in [
            ((1.0, 3.0), "nothing was written before"),
            ((9.0, 11.0), "it was over before"),
        ] {
            let error = measure(&load, None, span).unwrap_err();
            assert!(error.starts_with(why), "{error}");
            assert!(error.contains("all wrote from 2.0 s to 7.5 s"), "{error}");
        }
        let dip = measure(&load, None, (3.5, 9.0)).unwrap();
        assert_eq!(dip.after_mib_per_second, None, "nobody wrote after it");
    }

    #[test]
    fn a_limit_that_is_broken_is_told_with_figures() {
        let newcomer = Rates::of(&[writer(11, &[1, 1, 1, 1, 1, 1])]);
        let dip = measure(&load(), newcomer.as_ref(), (3.5, 5.2)).unwrap();
        let label = |label: &str| StepLabel::parse(label).unwrap();
        let limits = |depth, length, adds| Limits {
            of: label("load"),
            around: label("vc joins"),
            newcomers: None,
            depth_percent: depth,
            length,
            adds_percent: adds,
        };
        let second = Duration::from_secs(1);
        let kept = limits(Some(100), Some(second), Some(25));
        assert_eq!(broken(&dip, &kept), [""; 0]);
        let tight = limits(Some(90), Some(second / 2), Some(26));
        insta::assert_snapshot!(broken(&dip, &tight).join("\n"), @r"
        100.0 % of 8.0 MiB/s were missing in the worst half second, at most 90 % may be
        for 1.0 s less than half of 8.0 MiB/s was written, at most 0.5 s are allowed
        with the newcomers +25.0 % of 8.0 MiB/s were written, at least +26 % must be
        ");
        insta::assert_snapshot!(told(&dip), @"8.0 MiB/s before, 2.0 during, 8.0 after; at worst 100 % missing, below half for 1.0 s; with newcomers +25 %");
        let alone = measure(&load(), None, (3.5, 5.2)).unwrap();
        assert_eq!(broken(&alone, &limits(None, None, Some(0))).len(), 1);
    }
}
