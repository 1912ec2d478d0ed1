//! What is looked at in guests: conditions, and what shows that they hold.

use std::time::Duration;

use sanlab_plan::{LayerKind, NodeName};

/// A condition that must come true: the script is run again and again until its output is as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Where.
    pub node: NodeName,
    /// The condition, as a time-out message would name it: "the disks are imported".
    pub title: String,
    /// For busybox `sh -e`; a failing script means "not yet".
    pub script: String,
    /// What it must print.
    pub expect: Expect,
    /// How long it may take to come true.
    pub deadline: Duration,
    /// It is given up earlier when its output has been the same for so long: what goes on changes it.
    pub stall: Option<Duration>,
}

/// A look at a layer at the end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerProbe {
    /// Which layer.
    pub kind: LayerKind,
    /// Its place in the plan, from 0, the lowest first.
    pub place: usize,
    /// What must hold there still.
    pub probe: Probe,
}

/// What a probe's standard output must be: these lines, in this order. Blanks at the ends of lines do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect(pub Vec<String>);

impl Expect {
    /// These lines.
    pub fn lines(lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(lines.into_iter().map(Into::into).collect())
    }

    /// Whether `stdout` is as expected; the error says how it differs.
    pub fn judge(&self, stdout: &str) -> Result<(), String> {
        let seen: Vec<&str> = stdout.trim_end().lines().map(str::trim).collect();
        let mut wanted = self.0.iter();
        for line in &seen {
            match wanted.next() {
                Some(want) if want.trim() == *line => {}
                Some(want) => return Err(format!("expected `{want}`, saw `{line}`")),
                None => return Err(format!("saw `{line}` after everything that was expected")),
            }
        }
        wanted.next().map_or(Ok(()), |want| {
            Err(format!("expected `{want}`, saw nothing more"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Expect;

    #[test]
    fn judges_lines_in_order() {
        let expect = Expect::lines(["nbd0 2097152", "nbd1 2097152"]);
        assert_eq!(expect.judge("nbd0 2097152\nnbd1 2097152 \n"), Ok(()));
        assert_eq!(
            expect.judge("nbd0 2097152\nnbd1 not connected\n"),
            Err("expected `nbd1 2097152`, saw `nbd1 not connected`".to_owned())
        );
        assert_eq!(
            expect.judge("nbd0 2097152\n"),
            Err("expected `nbd1 2097152`, saw nothing more".to_owned())
        );
        assert_eq!(
            expect.judge("nbd0 2097152\nnbd1 2097152\nnbd2 7\n"),
            Err("saw `nbd2 7` after everything that was expected".to_owned())
        );
        assert_eq!(
            expect.judge(""),
            Err("expected `nbd0 2097152`, saw nothing more".to_owned())
        );
    }
}
