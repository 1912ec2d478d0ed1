//! The table.

use sanlab_report::table::Table;

use super::super::median;

/// What one side has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Wanted {
    /// GNBD's median at least so much of the other's.
    Ratio(f64),
    /// GNBD's median at most this.
    AtMost(f64),
}

/// A row: figures in `unit`, one a round.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) unit: &'static str,
    pub(super) wanted: Wanted,
    pub(super) gnbd: Vec<f64>,
    pub(super) nbd: Vec<f64>,
    /// Why something was not measured.
    pub(super) skipped: Option<String>,
}

pub(super) fn render(rows: &[Row]) -> String {
    let mut table = Table::new(&[
        "what", ">gnbd", ">nbd", ">ratio", ">wanted", ">of", "unit", "",
    ]);
    for row in rows {
        let show = |figure: Option<f64>| figure.map_or(String::new(), figure_text);
        let (gnbd, nbd) = (median(&row.gnbd), median(&row.nbd));
        let ratio = gnbd.zip(nbd).map(|(gnbd, nbd)| gnbd / nbd);
        let (wanted, kept) = match row.wanted {
            Wanted::Ratio(least) => (format!(">= {least:.1}"), ratio.map(|it| it >= least)),
            Wanted::AtMost(most) => (format!("<= {most:.0}"), gnbd.map(|it| it <= most)),
        };
        let remark = match (&row.skipped, kept) {
            (Some(why), _) => why.clone(),
            (None, Some(true)) => String::new(),
            (None, Some(false)) => "missed".to_owned(),
            (None, None) => "not measured".to_owned(),
        };
        table.row([
            row.what.clone(),
            show(gnbd),
            show(nbd),
            ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
            wanted,
            row.gnbd.len().max(row.nbd.len()).to_string(),
            row.unit.to_owned(),
            remark,
        ]);
    }
    table.render(0)
}

fn figure_text(figure: f64) -> String {
    let digits = usize::from(figure < 100.0);
    format!("{figure:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_medians_and_what_was_missed() {
        let row = |what: &str, wanted, gnbd: &[f64], nbd: &[f64]| Row {
            what: what.to_owned(),
            unit: "MiB/s",
            wanted,
            gnbd: gnbd.to_vec(),
            nbd: nbd.to_vec(),
            skipped: None,
        };
        let mut rows = vec![
            row(
                "write",
                Wanted::Ratio(0.8),
                &[30.0, 10.0, 20.0],
                &[20.0, 1.0, 25.0],
            ),
            row(
                "read",
                Wanted::Ratio(0.8),
                &[150.4, 100.0, 200.0],
                &[200.0, 200.0, 400.0],
            ),
            row("memory", Wanted::AtMost(16.0), &[9.25], &[]),
            row("nothing", Wanted::Ratio(0.6), &[], &[]),
            row("half", Wanted::Ratio(0.8), &[1200.0], &[]),
        ];
        rows[4].skipped = Some("nbdkit is not installed".to_owned());
        insta::assert_snapshot!(render(&rows));
    }
}
