//! Records that mean harm: whoever can write a record must not be able to write a page.

use sanlab_record::{Outcome, RunRecord};
use sanlab_report::html;
use sanlab_report::report::Report;
use serde_json::Value;

use crate::{gathered, made_up};

const ATTACKS: [&str; 5] = [
    "<script>alert('1')</script>",
    "\"><img src=x onerror=alert(2)>",
    "</style></svg></pre></title><script src=\"https://example.org/a.js\"></script>",
    "' onload='alert(3)' x='",
    "{{ 7 * 7 }}{% include \"page.css\" %}<!--",
];

/// Every string of a record is an attack, and every key that is a name; words by which the shape is told stay.
fn poisoned(record: &RunRecord) -> RunRecord {
    fn poison(value: &mut Value, number: &mut usize) {
        let mut next = |kept: &str| {
            *number += 1;
            format!("{kept}{}", ATTACKS[*number % ATTACKS.len()])
        };
        match value {
            Value::String(text) => *text = next(text),
            Value::Array(items) => items.iter_mut().for_each(|item| poison(item, number)),
            Value::Object(fields) => {
                let is_named = |name: &str| ["va", "x86", "x86_64", "chunk"].contains(&name);
                let names: Vec<String> = fields
                    .keys()
                    .filter(|name| is_named(name))
                    .cloned()
                    .collect();
                for name in names {
                    let field = fields.remove(&name).expect("one of its names");
                    fields.insert(next(&name), field);
                }
                // A failure's kind stands beside the outcome, a finding's beside its last time; a layer's is any text. So with how a
                // node crashed and how one stopped.
                let has_kind = fields.contains_key("outcome") || fields.contains_key("until");
                let is_crash = fields.get("event").is_some_and(|event| event == "crashed");
                for (name, field) in fields {
                    let is_word = ["outcome", "event", "origin"].contains(&name.as_str())
                        || has_kind && name == "kind"
                        || is_crash && name == "how"
                        || name == "source" && field == "kernel_log";
                    if !is_word {
                        poison(field, number);
                    }
                }
            }
            _ => {}
        }
    }
    let mut value: Value = serde_json::from_str(&record.to_json()).expect("JSON");
    poison(&mut value, &mut 0);
    RunRecord::from_json(&value.to_string()).expect("still a record")
}

/// One of everything, poisoned.
pub(crate) fn report() -> Report {
    let mut records = vec![
        made_up::hot_addition(),
        made_up::failed(),
        made_up::known_failure(),
    ];
    records.extend(
        (0..3).map(|day| made_up::throughput(made_up::NOON + f64::from(day), 1500, 1.0, 1.0)),
    );
    let records = records.iter().map(poisoned).collect();
    let mut report = gathered::of_runs(ATTACKS[2], records);
    let mut compared = gathered::report().comparisons;
    for (number, loaded) in compared.iter_mut().enumerate() {
        let attack = ATTACKS[number % ATTACKS.len()].to_owned();
        loaded.path = attack.clone().into();
        let comparison = &mut loaded.comparison;
        comparison.title.push_str(&attack);
        comparison.scenario.push_str(&attack);
        comparison.a.settings.insert(attack.clone(), attack.clone());
        for judgement in &mut comparison.judgements {
            judgement.step.push_str(&attack);
        }
    }
    report.comparisons = compared;
    report
}

pub(crate) fn texts_of_others_stay_texts() {
    let page = html::render(&report());
    // Whatever got past that could do nothing.
    assert!(page.contains("default-src 'none'; style-src 'unsafe-inline'; img-src data:\""));
    assert!(page.contains("&#60;script&#62;") || page.contains("&lt;script&gt;"));
    for tag in [
        "<script",
        "<img",
        "<iframe",
        "<object",
        "<embed",
        "<link rel=\"stylesheet",
        "javascript:",
    ] {
        assert!(!page.contains(tag), "{tag}");
    }
    // Whatever opens an attribute of ours ends it: no tag has a handler.
    for tag in page
        .split('<')
        .skip(1)
        .filter_map(|rest| rest.split('>').next())
    {
        let mut outside = String::new();
        let mut quoted = false;
        for character in tag.chars() {
            if character == '"' {
                quoted = !quoted;
            } else if !quoted {
                outside.push(character);
            }
        }
        assert!(!quoted && !outside.contains(" on"), "<{tag}>");
    }
}

/// Sources that a browser must not follow.
pub(crate) fn a_source_of_others_is_no_script() {
    for source in [
        "javascript:alert(4)",
        " javascript:alert(4)",
        "JavaScript://example.org/%0aalert(4)",
        "data:text/html,<script>alert(4)</script>",
        "https://example.org/\" onclick=\"alert(4)",
        "https://example.org/'onclick='alert(4)",
        "https:alert(4)",
    ] {
        let mut record = made_up::known_failure();
        let Outcome::KnownFailure { known, .. } = &mut record.outcome else {
            panic!("it is known");
        };
        source.clone_into(&mut known.source);
        let page = html::render(&gathered::of_runs("one", vec![record]));
        for link in page.split("href=").skip(1) {
            let link = link.trim_start_matches('"');
            let leads_nowhere = link.starts_with('#') || link.starts_with("data:,\"");
            // An apostrophe may stand in an address, and is escaped.
            let is_address = link.starts_with("https://example.org/&#39;onclick=&#39;alert(4)\"");
            assert!(leads_nowhere || is_address, "{source}: {link:.60}");
        }
    }
}

pub(crate) fn figures_of_others_break_nothing() {
    let odd = [0.0, -1.0, 1e-300, 1e308, -1e308];
    for figure in odd {
        let mut record = made_up::hot_addition();
        for phase in &mut record.phases {
            phase.at = figure;
            phase.seconds = figure;
        }
        record.findings = made_up::known_failure().findings;
        for finding in &mut record.findings {
            finding.at = figure;
            finding.count = u64::MAX;
        }
        for event in &mut record.events {
            event.at = figure;
        }
        for sample in &mut record.samples {
            sample.mib_per_second = figure;
            sample.host_seconds = figure;
            if let Some(rate) = sample
                .acknowledged
                .as_mut()
                .and_then(|told| told.rate.as_mut())
            {
                rate.every = figure;
            }
        }
        if let Some(timeline) = &mut record.timeline {
            timeline.at.truncate(3);
            timeline.from = figure;
        }
        for dip in &mut record.dips {
            dip.depth = figure;
            dip.before_mib_per_second = figure;
        }
        let mut other = made_up::throughput(figure, 1500, 1.0, 1.0);
        for measurement in &mut other.measurements {
            measurement.seconds = figure;
            measurement.bytes = u64::MAX;
        }
        let mut report = gathered::of_runs("odd", vec![record, other]);
        report.made = figure;
        let page = html::render(&report);
        for word in ["NaN", "inf\"", "inf "] {
            assert!(!page.contains(word), "{figure:e}: {word}");
        }
    }
}
