//! A run over time: what its writers and readers moved, what went over the network, what every node cost, and what happened
//! meanwhile.

use std::collections::BTreeMap;

use sanlab_record::{Event, EventKind, Lane as NodeLane, PhaseName, RunRecord, Sample, Timeline};

use crate::render::chart::HUES;
use crate::render::chart::activity::{Activity, Band, Form, Lane, Mark, Panel, Step, Stretch};

const MIB: f64 = 1_048_576.0;

/// More marks than this cover what they mark.
const MOST_MARKS: usize = 24;

/// Nothing where there is nothing to see: no figures over time, and nothing that happened.
pub(super) fn of(record: &RunRecord) -> Option<Activity> {
    let hues = hues(record);
    let panels: Vec<Panel> = [moved(record, &hues)]
        .into_iter()
        .chain(
            record
                .timeline
                .iter()
                .flat_map(|timeline| costs(timeline, &hues)),
        )
        .filter(|panel| !panel.lanes.is_empty())
        .collect();
    let (from, to) = window(record)?;
    let marks = marks(record, (from, to));
    if panels.is_empty() && marks.is_empty() {
        return None;
    }
    Some(Activity {
        label: "timeline".to_owned(),
        from,
        to,
        steps: steps(record, (from, to)),
        bands: bands(record),
        panels,
        marks,
    })
}

/// Nodes in the colours of their lanes.
pub(super) fn legend(activity: &Activity) -> Vec<(usize, String)> {
    let mut nodes: BTreeMap<&str, usize> = BTreeMap::new();
    for lane in activity.panels.iter().flat_map(|panel| &panel.lanes) {
        nodes.insert(&lane.name, lane.hue);
    }
    nodes
        .into_iter()
        .map(|(name, hue)| (hue, name.to_owned()))
        .collect()
}

/// A colour for every node, the same in all panels.
fn hues(record: &RunRecord) -> BTreeMap<String, usize> {
    let mut nodes: Vec<&String> = record.nodes.keys().collect();
    nodes.extend(
        record
            .timeline
            .iter()
            .flat_map(|timeline| timeline.nodes.keys()),
    );
    nodes.extend(record.samples.iter().map(|sample| &sample.node));
    nodes.sort();
    nodes.dedup();
    let numbered = nodes.into_iter().enumerate();
    numbered
        .map(|(number, node)| (node.clone(), number % HUES))
        .collect()
}

/// What writers and readers moved: half second by half second where they report every block, else their mean.
fn moved(record: &RunRecord, hues: &BTreeMap<String, usize>) -> Panel {
    let mut lanes: BTreeMap<&str, Vec<Stretch>> = BTreeMap::new();
    for sample in &record.samples {
        let stretches = stretches(sample);
        if !stretches.is_empty() {
            lanes.entry(&sample.node).or_default().extend(stretches);
        }
    }
    let lane = |(node, stretches): (&str, Vec<Stretch>)| lane(node, stretches, hues);
    Panel {
        title: "written and read, MiB/s".to_owned(),
        unit: "MiB/s",
        form: Form::Stacked,
        lanes: lanes.into_iter().map(lane).collect(),
    }
}

fn stretches(sample: &Sample) -> Vec<Stretch> {
    if let Some(rate) = sample
        .acknowledged
        .as_ref()
        .and_then(|told| told.rate.as_ref())
    {
        let stretch = |(number, bytes): (usize, &u64)| {
            let from = rate.from + number as f64 * rate.every;
            Stretch {
                from,
                to: from + rate.every,
                value: *bytes as f64 / MIB / rate.every,
            }
        };
        return rate.bytes.iter().enumerate().map(stretch).collect();
    }
    let mean = |at: f64| Stretch {
        from: at,
        to: at + sample.host_seconds,
        value: sample.bytes as f64 / MIB / sample.host_seconds,
    };
    sample.at.map(mean).into_iter().collect()
}

/// What the network carried, and what the nodes cost the host.
fn costs(timeline: &Timeline, hues: &BTreeMap<String, usize>) -> [Panel; 2] {
    let lanes = |figures: &dyn Fn(&NodeLane) -> Vec<f64>| -> Vec<Lane> {
        let nodes = timeline.nodes.iter();
        nodes
            .map(|(node, kept)| lane(node, over_time(timeline, &figures(kept)), hues))
            .collect()
    };
    [
        Panel {
            title: "sent into the switch, MiB/s".to_owned(),
            unit: "MiB/s",
            form: Form::Stacked,
            lanes: lanes(&|lane| {
                lane.sent_bytes
                    .iter()
                    .map(|bytes| *bytes as f64 / MIB)
                    .collect()
            }),
        },
        Panel {
            title: "host CPUs in use, by node".to_owned(),
            unit: "CPUs",
            form: Form::Apart,
            lanes: lanes(&|lane| lane.host_cpu_seconds.clone()),
        },
    ]
}

/// Amounts in each stretch of the timeline, as rates.
fn over_time(timeline: &Timeline, amounts: &[f64]) -> Vec<Stretch> {
    let starts = std::iter::once(&timeline.from).chain(&timeline.at);
    let stretches = starts.zip(&timeline.at).zip(amounts);
    stretches
        .map(|((from, to), amount)| Stretch {
            from: *from,
            to: *to,
            value: amount / (to - from),
        })
        .collect()
}

fn lane(node: &str, stretches: Vec<Stretch>, hues: &BTreeMap<String, usize>) -> Lane {
    Lane {
        name: node.to_owned(),
        hue: hues.get(node).copied().unwrap_or_default(),
        stretches,
    }
}

/// From the first to the last thing of interest with some room around: building the stack, and looking at it afterwards, may
/// take much longer, and have the chart of phases.
fn window(record: &RunRecord) -> Option<(f64, f64)> {
    let mut moments: Vec<f64> = Vec::new();
    for sample in &record.samples {
        moments.extend(stretches(sample).iter().flat_map(|one| [one.from, one.to]));
        let label = PhaseName::step(&sample.step);
        let phases = record.phases.iter().filter(|phase| phase.name == label);
        moments.extend(phases.flat_map(|phase| [phase.at, phase.at + phase.seconds]));
    }
    for measurement in &record.measurements {
        moments.extend([measurement.at, measurement.at + measurement.seconds]);
    }
    moments.extend(record.dips.iter().flat_map(|dip| [dip.from, dip.to]));
    let events = record.events.iter().filter(|event| weight(event).is_some());
    moments.extend(events.map(|event| event.at));
    moments.retain(|moment| moment.is_finite());
    let from = moments.iter().copied().reduce(f64::min)?;
    let to = moments.iter().copied().reduce(f64::max)?;
    let room = ((to - from) * 0.03).max(0.5);
    let end = record.seconds().max(to);
    Some(((from - room).max(0.0), (to + room).min(end)))
}

/// Steps that are at least partly within.
fn steps(record: &RunRecord, (from, to): (f64, f64)) -> Vec<Step> {
    let steps = record.phases.iter().filter_map(|phase| {
        let PhaseName::Step(name) = &phase.name else {
            return None;
        };
        let end = phase.at + phase.seconds;
        (phase.seconds > 0.0 && phase.at < to && end > from).then(|| Step {
            name: name.clone(),
            from: phase.at.max(from),
            to: end.min(to),
        })
    });
    steps.collect()
}

fn bands(record: &RunRecord) -> Vec<Band> {
    let dips = record.dips.iter();
    dips.map(|dip| Band {
        from: dip.from,
        to: dip.to,
        title: dip.around.clone(),
    })
    .collect()
}

fn is_grave(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Crashed { .. }
            | EventKind::Fenced { .. }
            | EventKind::WriteCacheLost { .. }
            | EventKind::FaultBegan { .. }
            | EventKind::FaultEnded { .. }
            | EventKind::Panicked { .. }
            | EventKind::QemuExited { .. }
            | EventKind::DiskFailed { .. }
            | EventKind::Failed { .. }
            | EventKind::KnownFailure { .. }
    )
}

/// What happened within, in order of time; of too much what matters most.
fn marks(record: &RunRecord, (from, to): (f64, f64)) -> Vec<Mark> {
    let within = |event: &&Event| event.at >= from && event.at <= to;
    let mut told: Vec<(u8, f64, String)> = record
        .events
        .iter()
        .filter(within)
        .filter_map(|event| {
            Some((
                weight(event)?,
                event.at,
                event
                    .to_string()
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            ))
        })
        .collect();
    // The gravest first; what is equally grave stays in the order of time.
    told.sort_by_key(|(weight, ..)| *weight);
    told.truncate(MOST_MARKS);
    told.sort_by(|one, other| one.1.total_cmp(&other.1));
    let numbered = told.into_iter().enumerate();
    numbered
        .map(|(number, (weight, at, title))| Mark {
            at,
            number: number + 1,
            grave: weight == 0,
            title,
        })
        .collect()
}

/// How much an event matters here, the most first; nothing: not at all.
fn weight(event: &Event) -> Option<u8> {
    let in_step = || matches!(event.phase, Some(PhaseName::Step(_)));
    match event.kind {
        ref grave if is_grave(grave) => Some(0),
        EventKind::Answered { .. } if in_step() => Some(1),
        EventKind::KernelSaid { .. } if in_step() => Some(2),
        _ => None,
    }
}
