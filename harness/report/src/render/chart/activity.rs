//! Timeline over time: steps as bars, below them panels of figures, all on one axis; what happened goes through all of them
//! as upright lines with numbers, which a list beside the chart explains.

use super::lanes::{between, borders};
use super::number::moment;
use super::scale::Scale;
use super::svg::{Anchor, Area, Svg, Way, fitting, whole};
use crate::render::number::figure;

/// The whole chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Activity {
    /// What it is about.
    pub label: String,
    /// Where the axis begins, seconds since the run began.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// Steps; those that overlap stand below each other.
    pub steps: Vec<Step>,
    /// Stretches that are shaded in every panel.
    pub bands: Vec<Band>,
    /// From top to bottom.
    pub panels: Vec<Panel>,
    /// What happened.
    pub marks: Vec<Mark>,
}

/// A stretch with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name, of which so much is shown as fits.
    pub name: String,
    /// When it began.
    pub from: f64,
    /// When it ended.
    pub to: f64,
}

/// A shaded stretch.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    /// When it began.
    pub from: f64,
    /// When it ended.
    pub to: f64,
    /// What it is.
    pub title: String,
}

/// Something that happened at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// When.
    pub at: f64,
    /// Its number in the list beside the chart.
    pub number: usize,
    /// Whether something was lost by it.
    pub grave: bool,
    /// What it was.
    pub title: String,
}

/// Figures of the same kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// What they are.
    pub title: String,
    /// Their unit.
    pub unit: &'static str,
    /// How they are drawn.
    pub form: Form,
    /// One a node.
    pub lanes: Vec<Lane>,
}

/// How the lanes of a panel are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// On top of each other: what matters is the sum.
    Stacked,
    /// Below each other, each with its name: what matters is each.
    Apart,
}

/// One node's figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    /// The node.
    pub name: String,
    /// Its colour, the number of a class `hue`.
    pub hue: usize,
    /// In order of time; nothing between them means nothing.
    pub stretches: Vec<Stretch>,
}

/// A figure for some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// Its begin, seconds since the run began.
    pub from: f64,
    /// Its end.
    pub to: f64,
    /// The figure over that time.
    pub value: f64,
}

const LEFT: f64 = 40.0;
const RIGHT: f64 = 6.0;
const TEXT: f64 = 11.0;
const STEP: f64 = 17.0;
const STACK: f64 = 110.0;
const LANE: f64 = 30.0;
const TITLE: f64 = 28.0;

/// Draws all of it.
pub fn draw(activity: &Activity, width: f64) -> String {
    let (from, to) = (
        activity.from.min(activity.to),
        activity.to.max(activity.from),
    );
    let scale = Scale::new((from, to), (LEFT, width - RIGHT));
    let (marks_high, places) = place_marks(&activity.marks, &scale);
    let rows = pack(&activity.steps, &scale);
    let steps_high = rows
        .iter()
        .max()
        .map_or(0.0, |last| (*last as f64 + 1.0) * STEP);
    let first_panel = marks_high + steps_high;
    let heights: Vec<f64> = activity.panels.iter().map(panel_height).collect();
    let bottom = first_panel + heights.iter().sum::<f64>();
    let mut svg = Svg::new(width, bottom + 22.0, "activity", &activity.label);

    let wanted = whole(((width - LEFT) / 90.0).clamp(3.0, 12.0));
    for (value, text) in scale.ticks(wanted) {
        let x = scale.at(value);
        svg.line("grid", (x, marks_high), (x, bottom));
        svg.text(
            "tick",
            (x, bottom + 14.0),
            Anchor::Middle,
            &format!("{text} s"),
        );
    }
    for band in &activity.bands {
        let (low, high) = (scale.at(band.from), scale.at(band.to));
        let area = Area {
            x: low,
            y: first_panel,
            width: (high - low).max(1.0),
            height: bottom - first_panel,
        };
        svg.rect("band", area, &band.title);
    }
    for (step, row) in activity.steps.iter().zip(&rows) {
        draw_step(&mut svg, step, marks_high + *row as f64 * STEP, &scale);
    }
    let mut y = first_panel;
    for (panel, height) in activity.panels.iter().zip(&heights) {
        svg.text("title", (0.0, y + 15.0), Anchor::Start, &panel.title);
        let (top, within) = (y + TITLE, (activity.from, activity.to, width));
        match panel.form {
            Form::Stacked => draw_stack(&mut svg, panel, top, within, &scale),
            Form::Apart => draw_apart(&mut svg, panel, top, within, &scale),
        }
        y += height;
    }
    // All lines first: none goes through a number.
    let numbered = || {
        activity.marks.iter().zip(&places).map(|(mark, row)| {
            let class = if mark.grave { "mark grave" } else { "mark" };
            (mark, class, (scale.at(mark.at), 8.0 + *row as f64 * 17.0))
        })
    };
    for (_, class, (x, y)) in numbered() {
        svg.line(class, (x, y + 7.0), (x, bottom));
    }
    for (mark, class, (x, y)) in numbered() {
        let title = format!("{}: {}", moment(mark.at), mark.title);
        svg.circle(class, (x, y), 7.5, &title);
        svg.text(
            "number",
            (x, y + 3.5),
            Anchor::Middle,
            &mark.number.to_string(),
        );
    }
    svg.finish()
}

/// How much room the marks' numbers take, and in which row each stands so that none covers another.
fn place_marks(marks: &[Mark], scale: &Scale) -> (f64, Vec<usize>) {
    let mut ends: Vec<f64> = Vec::new();
    let mut rows = Vec::with_capacity(marks.len());
    for mark in marks {
        let x = scale.at(mark.at);
        let free = ends.iter().position(|end| *end <= x);
        let row = free.unwrap_or(ends.len());
        let end = x + 16.5;
        match ends.get_mut(row) {
            Some(last) => *last = end,
            None => ends.push(end),
        }
        rows.push(row);
    }
    (ends.len() as f64 * 17.0 + 4.0, rows)
}

/// In which row each step stands: the first that is free when it begins.
fn pack(steps: &[Step], scale: &Scale) -> Vec<usize> {
    let mut ends: Vec<f64> = Vec::new();
    let mut rows = Vec::with_capacity(steps.len());
    for step in steps {
        let (from, to) = (scale.at(step.from), scale.at(step.to));
        let free = ends.iter().position(|end| *end <= from + 0.5);
        let row = free.unwrap_or(ends.len());
        let end = to.max(from + 2.0);
        match ends.get_mut(row) {
            Some(last) => *last = end,
            None => ends.push(end),
        }
        rows.push(row);
    }
    rows
}

fn draw_step(svg: &mut Svg, step: &Step, y: f64, scale: &Scale) {
    let (from, to) = (scale.at(step.from), scale.at(step.to));
    let area = Area {
        x: from,
        y: y + 1.0,
        width: (to - from - 1.0).max(1.5),
        height: STEP - 3.0,
    };
    let title = format!(
        "{}: {} to {}",
        step.name,
        moment(step.from),
        moment(step.to)
    );
    svg.rect("step", area, &title);
    let text = fitting(&step.name, TEXT, area.width - 6.0);
    // One or two letters say nothing.
    if text.chars().count() > 3 || text == step.name {
        svg.text("inside", (from + 4.0, y + 12.0), Anchor::Start, &text);
    }
}

fn panel_height(panel: &Panel) -> f64 {
    let figures = match panel.form {
        Form::Stacked => STACK,
        Form::Apart => LANE * panel.lanes.len() as f64,
    };
    TITLE + figures + 6.0
}

/// No finer than a pixel.
fn grid(panel: &Panel, (from, to, width): (f64, f64, f64)) -> Vec<f64> {
    let lanes = panel.lanes.iter().map(|lane| &lane.stretches[..]);
    borders(lanes, (from, to), whole(width - LEFT - RIGHT))
}

fn draw_stack(svg: &mut Svg, panel: &Panel, top: f64, within: (f64, f64, f64), time: &Scale) {
    let borders = grid(panel, within);
    let cells = borders.len().saturating_sub(1);
    let mut levels = vec![vec![0.0; cells]];
    for lane in &panel.lanes {
        let below = &levels[levels.len() - 1];
        let own = between(&lane.stretches, &borders);
        levels.push(
            below
                .iter()
                .zip(own)
                .map(|(below, own)| below + own)
                .collect(),
        );
    }
    let most = levels
        .last()
        .into_iter()
        .flatten()
        .copied()
        .fold(0.0, f64::max);
    let bottom = top + STACK;
    let scale = Scale::round((0.0, if most > 0.0 { most } else { 1.0 }), (bottom, top), 3);
    for (value, text) in scale.ticks(3) {
        let y = scale.at(value);
        svg.line("grid", (LEFT, y), (within.2 - RIGHT, y));
        svg.text("tick", (LEFT - 5.0, y + 3.5), Anchor::End, &text);
    }
    for (lane, pair) in panel.lanes.iter().zip(levels.windows(2)) {
        let mut way = Way::default();
        area(&mut way, &borders, &pair[0], &pair[1], &scale, time);
        if !way.is_empty() {
            let peak = between(&lane.stretches, &borders)
                .into_iter()
                .fold(0.0, f64::max);
            let title = format!("{}: at most {} {}", lane.name, figure(peak), panel.unit);
            svg.path(&format!("area hue{}", lane.hue % super::HUES), &way, &title);
        }
    }
}

fn draw_apart(svg: &mut Svg, panel: &Panel, top: f64, within: (f64, f64, f64), time: &Scale) {
    let borders = grid(panel, within);
    let lanes: Vec<Vec<f64>> = panel
        .lanes
        .iter()
        .map(|lane| between(&lane.stretches, &borders))
        .collect();
    let most = lanes.iter().flatten().copied().fold(0.0, f64::max);
    // One of whatever it is, at the least: little looks like little.
    let most = most.max(1.0);
    for (number, (lane, values)) in panel.lanes.iter().zip(&lanes).enumerate() {
        let low = top + LANE * (number as f64 + 1.0) - 3.0;
        let scale = Scale::new((0.0, most), (low, low - LANE + 6.0));
        svg.line("grid", (LEFT, low), (within.2 - RIGHT, low));
        let mut way = Way::default();
        let ground = vec![0.0; values.len()];
        area(&mut way, &borders, &ground, values, &scale, time);
        let peak = values.iter().copied().fold(0.0, f64::max);
        if !way.is_empty() {
            let title = format!("{}: at most {} {}", lane.name, figure(peak), panel.unit);
            svg.path(&format!("area hue{}", lane.hue % super::HUES), &way, &title);
        }
        let name = fitting(&lane.name, TEXT, 160.0);
        svg.text(
            "halo",
            (LEFT + 4.0, low - LANE + 16.0),
            Anchor::Start,
            &name,
        );
        if number == 0 {
            let scale = Scale::new((0.0, most), (low, low - LANE + 6.0));
            if let Some((value, text)) = scale.ticks(2).pop() {
                let place = (LEFT - 5.0, scale.at(value) + 4.0);
                svg.text("tick", place, Anchor::End, &text);
            }
            svg.text("tick", (LEFT - 5.0, low + 3.0), Anchor::End, "0");
        }
    }
}

/// The area between two stairs; stretches in which both are the same are left out.
fn area(way: &mut Way, borders: &[f64], low: &[f64], high: &[f64], scale: &Scale, time: &Scale) {
    let cells = low.len().min(high.len());
    let is_flat = |cell: usize| high[cell] <= low[cell];
    let mut cell = 0;
    while cell < cells {
        if is_flat(cell) {
            cell += 1;
            continue;
        }
        let first = cell;
        while cell < cells && !is_flat(cell) {
            cell += 1;
        }
        way.go(time.at(borders[first]), scale.at(low[first]));
        for step in first..cell {
            way.up(scale.at(high[step]))
                .across(time.at(borders[step + 1]));
        }
        for step in (first..cell).rev() {
            way.up(scale.at(low[step])).across(time.at(borders[step]));
        }
        way.close();
    }
}

#[cfg(test)]
mod tests {
    use super::{Activity, Band, Form, Lane, Mark, Panel, Step, Stretch, draw, pack};
    use crate::render::chart::scale::Scale;

    fn step(name: &str, from: f64, to: f64) -> Step {
        Step {
            name: name.to_owned(),
            from,
            to,
        }
    }

    #[test]
    fn steps_at_the_same_time_stand_below_each_other() {
        let steps = [
            step("load", 0.0, 9.0),
            step("add", 3.0, 5.0),
            step("more", 5.0, 8.0),
        ];
        let scale = Scale::new((0.0, 10.0), (0.0, 1000.0));
        assert_eq!(pack(&steps, &scale), [0, 1, 1]);
    }

    #[test]
    fn panels_share_their_time() {
        let lane = |name: &str, hue, value| Lane {
            name: name.to_owned(),
            hue,
            stretches: vec![
                Stretch {
                    from: 10.0,
                    to: 10.5,
                    value,
                },
                Stretch {
                    from: 11.0,
                    to: 11.5,
                    value: value * 2.0,
                },
            ],
        };
        let panel = |form| Panel {
            title: "acknowledged, MiB/s".to_owned(),
            unit: "MiB/s",
            form,
            lanes: vec![lane("va", 0, 3.0), lane("v<b>", 9, 1.0)],
        };
        let activity = Activity {
            label: "timeline".to_owned(),
            from: 10.0,
            to: 12.0,
            steps: vec![step("load", 10.0, 11.5)],
            bands: vec![Band {
                from: 10.5,
                to: 11.0,
                title: "add_node".to_owned(),
            }],
            panels: vec![panel(Form::Stacked), panel(Form::Apart)],
            marks: vec![Mark {
                at: 10.5,
                number: 1,
                grave: true,
                title: "vb lost its power".to_owned(),
            }],
        };
        insta::assert_snapshot!(draw(&activity, 360.0));
    }

    #[test]
    fn nothing_at_all_is_drawn_too() {
        let activity = Activity {
            label: String::new(),
            from: f64::NAN,
            to: f64::NAN,
            steps: Vec::new(),
            bands: Vec::new(),
            panels: vec![Panel {
                title: String::new(),
                unit: "",
                form: Form::Stacked,
                lanes: Vec::new(),
            }],
            marks: Vec::new(),
        };
        assert!(!draw(&activity, 360.0).contains("NaN"));
    }
}
