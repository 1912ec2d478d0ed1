//! Judgements as a table with their intervals, and the figures below them as charts.

use askama::Template;

use super::word;
use crate::chart::{interval, pairs, spread};
use crate::number;
use crate::statistics;
use crate::verdict::Judgement;

#[derive(Template)]
#[template(path = "judgements.html")]
pub(super) struct Judgements {
    head: String,
    groups: Vec<Group>,
}

/// The measures of one step.
struct Group {
    step: String,
    rows: Vec<Row>,
}

struct Row {
    class: &'static str,
    sign: &'static str,
    word: &'static str,
    measure: &'static str,
    unit: &'static str,
    a: String,
    b: String,
    change: String,
    forest: String,
    interval: String,
    p: String,
    least: String,
}

/// Charts side by side.
#[derive(Template)]
#[template(path = "charts.html")]
pub(super) struct Gallery {
    pub(super) charts: Vec<Charts>,
}

/// The figures of one judgement.
pub(super) struct Charts {
    pub(super) class: &'static str,
    pub(super) measure: &'static str,
    pub(super) unit: &'static str,
    pub(super) step: String,
    pub(super) change: String,
    pub(super) spread: String,
    /// Empty where runs are not in pairs.
    pub(super) pairs: String,
}

impl Judgements {
    /// `names`: what their steps are called, one a judgement; those of a step stand together.
    pub(super) fn new(judgements: &[&Judgement], names: &[String]) -> Self {
        const WIDTH: f64 = 240.0;
        let of_interest = judgements.iter().flat_map(|judgement| {
            let (low, high) = judgement.interval;
            [
                judgement.ratio,
                low,
                high,
                1.0 - judgement.margin,
                1.0 + judgement.margin,
            ]
        });
        let axis = interval::Axis::new(of_interest, WIDTH);
        let mut groups: Vec<Group> = Vec::new();
        for (judgement, name) in judgements.iter().zip(names) {
            let row = row(judgement, &axis);
            match groups.last_mut().filter(|group| group.step == *name) {
                Some(group) => group.rows.push(row),
                None => groups.push(Group {
                    step: name.clone(),
                    rows: vec![row],
                }),
            }
        }
        Self {
            head: axis.head(),
            groups,
        }
    }
}

fn row(judgement: &Judgement, axis: &interval::Axis) -> Row {
    let class = word::of_verdict(judgement.verdict);
    let change = word::change(judgement.ratio);
    let label = format!("{change}, within {}", between(judgement));
    Row {
        class,
        sign: word::sign(class),
        word: judgement.verdict.as_str(),
        measure: judgement.measure.title(),
        unit: judgement.measure.unit(),
        a: middle(&judgement.a),
        b: middle(&judgement.b),
        forest: axis.row(
            class,
            judgement.ratio,
            judgement.interval,
            judgement.margin,
            &label,
        ),
        change,
        interval: between(judgement),
        p: number::probability(judgement.p),
        least: least(judgement),
    }
}

impl Charts {
    pub(super) fn new(judgement: &Judgement) -> Self {
        const WIDTH: f64 = 310.0;
        let class = word::of_verdict(judgement.verdict);
        let measure = judgement.measure;
        let label = format!(
            "{} of {}: every run of A and B",
            measure.title(),
            judgement.step
        );
        let rows = [("A", "a", &judgement.a), ("B", "b", &judgement.b)];
        let rows = rows.map(|(name, class, values)| spread::Row {
            name,
            class,
            values,
        });
        let is_paired = measure.is_timed() && judgement.a.len() == judgement.b.len();
        let ratios: Vec<f64> = judgement
            .b
            .iter()
            .zip(&judgement.a)
            .map(|(b, a)| b / a)
            .collect();
        let pairs = pairs::Pairs {
            label: &format!(
                "{} of {}: B by A in each pair",
                measure.title(),
                judgement.step
            ),
            class,
            ratios: &ratios,
            interval: judgement.interval,
            margin: judgement.margin,
        };
        Self {
            class,
            measure: measure.title(),
            unit: measure.unit(),
            step: judgement.step.clone(),
            change: word::change(judgement.ratio),
            spread: spread::draw(&label, measure.unit(), &rows, WIDTH),
            pairs: if is_paired && !ratios.is_empty() {
                pairs::draw(&pairs, WIDTH)
            } else {
                String::new()
            },
        }
    }
}

fn middle(values: &[f64]) -> String {
    statistics::median(values).map_or_else(|| "-".to_owned(), word::figure)
}

/// `−41 % … −35 %`.
fn between(judgement: &Judgement) -> String {
    let (low, high) = judgement.interval;
    format!("{} … {}", word::change(low), word::change(high))
}

/// Within what nothing changed, or what counts as a change, and why that.
fn least(judgement: &Judgement) -> String {
    let margin = number::share(judgement.margin);
    match (judgement.within, judgement.noise_floor) {
        (Some(within), _) => format!("within {}", number::share(within)),
        (None, Some(floor)) if floor >= judgement.margin => {
            format!("equivalence margin {margin}, noise floor")
        }
        _ => format!("equivalence margin {margin}"),
    }
}
