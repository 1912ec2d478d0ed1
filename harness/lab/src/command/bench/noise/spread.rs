//! How far the same differs from itself.

use sanlab_report::measure::Measure;
use sanlab_report::series::Figures;
use sanlab_report::statistics::coefficient_of_variation;
use sanlab_report::table::Table;

use super::super::median;

/// By step and measure: the coefficient of variation between the means of runs, and the median of those between the
/// repetitions of one run.
pub(super) fn table(runs: &[Vec<Figures>]) -> String {
    let mut steps: Vec<&str> = Vec::new();
    for figures in runs.iter().flatten() {
        if !steps.contains(&figures.series.step.as_str()) {
            steps.push(&figures.series.step);
        }
    }
    let mut table = Table::new(&[
        "step",
        "measure",
        ">median",
        "unit",
        ">between runs",
        ">between repetitions",
        ">of",
    ]);
    for step in steps {
        for measure in Measure::ALL {
            let of_step = || {
                let all = runs.iter().flatten();
                all.filter(|figures| figures.series.step == step)
            };
            let means: Vec<f64> = of_step().filter_map(|it| it.figure(measure)).collect();
            let Some(middle) = median(&means) else {
                continue;
            };
            let within: Vec<f64> = of_step()
                .filter_map(|it| coefficient_of_variation(it.repetitions.get(&measure)?))
                .collect();
            table.row([
                step.to_owned(),
                measure.title().to_owned(),
                figure(middle),
                measure.unit().to_owned(),
                percent(coefficient_of_variation(&means)),
                percent(median(&within)),
                means.len().to_string(),
            ]);
        }
    }
    format!(
        "\nSpread of the same (coefficient of variation)\n\n{}",
        table.render(2)
    )
}

/// Four figures.
fn figure(figure: f64) -> String {
    sanlab_report::number::figure(figure)
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", share * 100.0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use sanlab_report::series::Series;

    use super::*;

    #[test]
    fn the_spread_between_runs_and_within_them_are_two() {
        let run = |repetitions: &[f64]| {
            vec![Figures {
                series: Series {
                    scenario: "two_nodes".to_owned(),
                    step: "write".to_owned(),
                    dimensions: BTreeMap::new(),
                },
                started: 0.0,
                origin: BTreeMap::new(),
                repetitions: BTreeMap::from([(Measure::Throughput, repetitions.to_vec())]),
            }]
        };
        // The runs' means are 10, 20 and 30; within each the figures are the same.
        let runs = [run(&[10.0, 10.0]), run(&[20.0, 20.0]), run(&[30.0, 30.0])];
        insta::assert_snapshot!(table(&runs));
    }
}
