//! What varies between the runs of an exploration: keys of the scenario, each with a range.

use sanlab_plan::{Action, Plan, Range};

/// The 32 bits above the point.
const ONE: f64 = 4_294_967_296.0;

/// A key and the values that it may have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dimension {
    /// As for `--set`.
    pub(crate) key: String,
    pub(crate) range: Range,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Space {
    pub(crate) dimensions: Vec<Dimension>,
    /// What no run may leave to chance, since a dimension says it.
    pub(crate) fixed: Vec<String>,
}

/// A place from 0 to 1 in each dimension.
pub(crate) type Point = Vec<f64>;

impl Space {
    /// What the scenario and the user let vary, and the moment of each crash that has a time `within` which it comes. The user's
    /// range of a key takes the place of the scenario's.
    pub(crate) fn of(plan: &Plan, given: &[(String, Range)]) -> Self {
        let mut space = Self::default();
        let own = plan.vary.iter();
        let own = own.filter(|(key, _)| given.iter().all(|(other, _)| other != key));
        for (key, range) in own.chain(given) {
            space.dimensions.push(Dimension {
                key: key.clone(),
                range: *range,
            });
        }
        for step in &plan.steps {
            let Action::Crash(crash) = &step.action else {
                continue;
            };
            let key = format!("step.{}.after", step.label);
            let varies = space.dimensions.iter().any(|it| it.key == key);
            let moment = Range::of_times(step.after, step.after + crash.within);
            if let Some(range) = moment.filter(|_| !varies) {
                space.dimensions.push(Dimension { key, range });
                space.fixed.push(format!("step.{}.within=0s", step.label));
            }
        }
        space
    }

    /// The point of a run. However many there are, they are spread evenly: each dimension advances by a fraction of its own, the
    /// powers of a number by which as few as possible come close to each other (the additive recurrence of the generalised golden
    /// ratio).
    pub(crate) fn point(&self, seed: u64, number: u32) -> Point {
        let count = self.dimensions.len();
        // The root of x^(count + 1) = x + 1.
        let mut ratio = 2.0_f64;
        for _ in 0..64 {
            ratio = (1.0 + ratio).powf(1.0 / (count as f64 + 1.0));
        }
        let mut random = fastrand::Rng::with_seed(seed);
        let place = |dimension: usize| {
            let begin = f64::from(random.u32(..)) / ONE;
            let advance = ratio.powf(-(dimension as f64 + 1.0));
            f64::from(number).mul_add(advance, begin).fract()
        };
        (0..count).map(place).collect()
    }

    /// The settings of a point.
    pub(crate) fn settings(&self, point: &[f64]) -> Vec<String> {
        let each = self.dimensions.iter().zip(point);
        let each = each.map(|(it, place)| format!("{}={}", it.key, it.range.at(*place)));
        each.chain(self.fixed.iter().cloned()).collect()
    }

    /// What varies, in a line each.
    pub(crate) fn describe(&self) -> Vec<String> {
        let each = self.dimensions.iter();
        each.map(|it| {
            format!(
                "{} from {}",
                it.key,
                it.range.to_string().replace("..", " to ")
            )
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn plan(above: &str, crash: &str) -> Plan {
        let text = format!(
            r#"
            name = "a crash"
            nodes = {{ vix0 = {{ arch = "x86" }}, vix1 = {{ arch = "x86" }} }}
            {above}
            [[step]]
            crash = {{ node = "vix1", {crash} }}
            "#
        );
        sanlab_plan::parse(Path::new("a.toml"), &text).unwrap()
    }

    fn range(text: &str) -> Range {
        Range::parse(text).unwrap()
    }

    #[test]
    fn moments_of_crashes_vary_and_what_the_scenario_and_the_user_say() {
        let none = Space::of(&plan("", r#"how = "panic""#), &[]);
        assert_eq!(none, Space::default());
        assert!(none.settings(&none.point(1, 7)).is_empty());

        let within = plan("", r#"within = "3s""#);
        let space = Space::of(&within, &[]);
        assert_eq!(space.describe(), ["step.crash.after from 0s to 3s"]);
        assert_eq!(
            space.settings(&[0.5]),
            ["step.crash.after=1500ms", "step.crash.within=0s"]
        );
        let vary = r#"vary = { "mtu" = "1500..9000", "step.crash.after" = "0s..1s" }"#;
        let both = plan(vary, r#"within = "3s""#);
        let given = [("mtu".to_owned(), range("1500..2000"))];
        assert_eq!(
            Space::of(&both, &given).describe(),
            ["step.crash.after from 0s to 1s", "mtu from 1500 to 2000"]
        );
    }

    #[test]
    fn points_are_spread_evenly_over_every_dimension() {
        let given = [("a", "0..100"), ("b", "0..100")];
        let given = given.map(|(key, text)| (key.to_owned(), range(text)));
        let space = Space::of(&plan("", r#"how = "panic""#), &given);
        let points: Vec<Point> = (0..64).map(|number| space.point(7, number)).collect();
        for x in 0..4 {
            for y in 0..4 {
                let is_here = |place: f64, number: u8| {
                    let begin = f64::from(number) / 4.0;
                    (begin..begin + 0.25).contains(&place)
                };
                let here = points.iter();
                let here = here.filter(|point| is_here(point[0], x) && is_here(point[1], y));
                let here = here.count();
                assert!((2..=6).contains(&here), "{here} of 64 in {x}, {y}");
            }
        }
        assert_eq!(space.point(7, 5), points[5]);
        assert_ne!(space.point(8, 5), points[5]);
    }
}
