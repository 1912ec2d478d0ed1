//! `clock`: the wall clock of nodes is set wrong, or their kernel lets it run fast or slow.

use std::fmt::Write as _;

use sanlab_plan::guest::DATE;
use sanlab_plan::{Clock, Drift, TimeShift};

use super::Doing;
use crate::Failure;
use crate::engine::faults::nodes::NodeFault;
use crate::engine::faults::open::Mend;

pub(super) async fn perform(doing: Doing<'_>, clock: &Clock) -> Result<(), Failure> {
    let (jump, drift) = (clock.jump, clock.drift);
    let mend = Mend::new(move |seconds| right(jump, drift, seconds));
    let fault = NodeFault::of(doing.step, &clock.on, mend, clock.lasts);
    doing.break_nodes(fault, &wrong(jump, drift)).await
}

/// The script that makes the clock wrong.
fn wrong(jump: TimeShift, drift: Drift) -> String {
    let mut script = String::new();
    if drift != Drift::NONE {
        script += &rate(drift);
    }
    if jump != TimeShift::NONE {
        script += &shift(jump.milliseconds());
    }
    script
}

/// The script that makes it right again after so many seconds.
fn right(jump: TimeShift, drift: Drift, seconds: f64) -> String {
    let mut script = String::new();
    if drift != Drift::NONE {
        script += &rate(Drift::NONE);
    }
    // An hour's drift of a tenth is less than a day in milliseconds.
    #[expect(clippy::cast_possible_truncation)]
    let gained = (seconds * f64::from(drift.millionths()) / 1e3).round() as i64;
    script + &shift(-jump.milliseconds() - gained)
}

/// Sets the wall clock by so many milliseconds. What passes between its two commands, some milliseconds, is lost.
fn shift(milliseconds: i64) -> String {
    format!(
        "now=$({DATE} +%s%N)\n\
         now=$((now / 1000000 + {milliseconds}))\n\
         {DATE} -s @$((now / 1000)).$(printf %03d $((now % 1000))) >/dev/null\n"
    )
}

/// Lets all clocks run too fast by that: the kernel adds so much to the 10000 microseconds of a tick, in whole microseconds of
/// which each is 100 millionths, and the rest to its frequency, in 65536ths of a millionth.
fn rate(drift: Drift) -> String {
    let (ticks, rest) = (drift.millionths() / 100, drift.millionths() % 100);
    let mut script = String::new();
    let _ = writeln!(
        script,
        "adjtimex -q -t {} -f {}",
        10_000 + ticks,
        rest * 65_536
    );
    script
}

#[cfg(test)]
mod tests {
    use sanlab_plan::{Action, Clock};

    use super::{right, wrong};

    fn clock(keys: &str) -> Clock {
        let text = format!(
            "name = \"clock\"\nnodes = {{ n = {{ arch = \"x86\" }} }}\n\
             [[step]]\nclock = {{ on = \"n\", {keys} }}\n"
        );
        let plan = sanlab_plan::parse("clock.toml".as_ref(), &text).unwrap();
        match &plan.steps[0].action {
            Action::Clock(clock) => clock.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_jump_is_undone_by_one_back() {
        let Clock { jump, drift, .. } = clock(r#"jump = "-60m""#);
        assert!(wrong(jump, drift).contains("+ -3600000"));
        assert!(right(jump, drift, 9.0).contains("+ 3600000"));
        assert!(!right(jump, drift, 9.0).contains("adjtimex"));
    }

    #[test]
    fn what_a_drift_has_gained_is_taken_back() {
        let Clock { jump, drift, .. } = clock(r#"drift = "-50050ppm""#);
        assert_eq!(wrong(jump, drift), "adjtimex -q -t 9500 -f -3276800\n");
        let right = right(jump, drift, 10.0);
        assert!(right.starts_with("adjtimex -q -t 10000 -f 0\n"), "{right}");
        assert!(right.contains("+ 501"), "{right}");
    }
}
