//! What a comparison says of sides that do not fit together, of missing measures and of odd figures.

use std::collections::BTreeMap;

use sanlab_report::comparison::{
    CompareError, Rules, is_enough, is_firm, judge, judge_independent, noise_floors, overall,
};
use sanlab_report::measure::Measure;
use sanlab_report::series::Figures;
use sanlab_report::verdict::{Judgement, Verdict};

use crate::play::figures;

fn run(measure: Measure, figure: f64) -> Vec<Figures> {
    vec![figures([(measure, figure)].into())]
}

fn runs(measure: Measure, of: &[f64]) -> Vec<Vec<Figures>> {
    of.iter().map(|figure| run(measure, *figure)).collect()
}

#[test]
fn sides_that_do_not_fit_are_told_why() {
    let rules = Rules::new(1);
    let a = runs(Measure::Throughput, &[40.0, 41.0]);
    let said =
        |a: &[Vec<Figures>], b: &[Vec<Figures>]| judge(&rules, a, b).unwrap_err().to_string();
    let mut other_step = a.clone();
    let mut other_host = a.clone();
    for run in other_step.iter_mut().flatten() {
        run.series.step = "fio".to_owned();
    }
    for run in other_host.iter_mut().flatten() {
        run.series
            .dimensions
            .insert("accelerator".to_owned(), "kvm".to_owned());
    }
    let all = [
        said(&[], &[]),
        said(&a, &a[..1]),
        said(&a, &other_step),
        said(&a, &[vec![], vec![]]),
        said(&a, &other_host),
    ];
    insta::assert_snapshot!(all.join("\n"));
    assert_eq!(judge(&rules, &[], &[]), Err(CompareError::NoRuns));
}

#[test]
fn too_few_pairs_are_undecided_however_clear() {
    let rules = Rules::new(1);
    for (measure, fewest) in [(Measure::Throughput, 5), (Measure::Instructions, 4)] {
        for pairs in 1..=fewest {
            let a = runs(measure, &[40.0, 40.1, 40.2, 40.1, 40.0][..pairs]);
            let b = runs(measure, &[20.0, 20.1, 20.2, 20.0, 20.1][..pairs]);
            let judged = judge(&rules, &a, &b).unwrap();
            assert_eq!(judged.len(), 1);
            assert!((judged[0].ratio - 0.5).abs() < 0.01);
            assert_eq!(
                is_firm(&judged),
                pairs == fewest,
                "{measure} {pairs}: {judged:?}"
            );
            // It can be kept as JSON whatever it holds.
            let json = serde_json::to_string(&judged).unwrap();
            let read: Vec<Judgement> = serde_json::from_str(&json).unwrap();
            assert_eq!(read[0].verdict, judged[0].verdict, "{json}");
        }
    }
}

#[test]
fn a_measure_counts_where_both_of_a_pair_have_it() {
    let rules = Rules::new(1);
    let mut a = runs(Measure::Throughput, &[40.0; 6]);
    let b = runs(Measure::Throughput, &[40.0; 6]);
    a[3][0].repetitions.clear();
    a[4][0].repetitions.insert(Measure::Instructions, vec![1.0]);
    let judged = judge(&rules, &a, &b).unwrap();
    assert_eq!(judged.len(), 1, "{judged:?}");
    assert_eq!(
        (judged[0].measure, judged[0].a.len()),
        (Measure::Throughput, 5)
    );
    assert_eq!(judged[0].verdict, Verdict::NoChange);
}

#[test]
fn nothing_against_nothing_is_no_change_and_against_something_a_great_one() {
    let rules = Rules::new(1);
    let none = runs(Measure::SwitchBytes, &[0.0; 4]);
    let some = runs(Measure::SwitchBytes, &[1.0; 4]);
    assert_eq!(
        overall(&judge(&rules, &none, &none).unwrap()),
        Verdict::NoChange
    );
    assert_eq!(
        overall(&judge(&rules, &none, &some).unwrap()),
        Verdict::Regressed
    );
    assert_eq!(
        overall(&judge(&rules, &some, &none).unwrap()),
        Verdict::Improved
    );
}

#[test]
fn a_certain_regression_is_enough_whatever_else_is_undecided() {
    let rules = Rules::new(1);
    let pair = |instructions: f64, throughput: f64| {
        vec![figures(
            [
                (Measure::Instructions, instructions),
                (Measure::Throughput, throughput),
            ]
            .into(),
        )]
    };
    // What is counted regresses; what is timed stays undecided.
    let rates = [40.0, 55.0, 43.0, 60.0, 38.0, 52.0, 41.0, 58.0];
    let a: Vec<_> = rates.iter().map(|rate| pair(100.0, *rate)).collect();
    let b: Vec<_> = rates.iter().rev().map(|rate| pair(110.0, *rate)).collect();
    for pairs in 3..=8 {
        let judged = judge(&rules, &a[..pairs], &b[..pairs]).unwrap();
        assert_eq!(overall(&judged) == Verdict::Regressed, pairs >= 4);
        assert!(!is_firm(&judged), "{judged:?}");
        assert_eq!(is_enough(&judged, pairs, 3), pairs >= 4, "{pairs}");
        assert!(!is_enough(&judged, pairs, 9), "{pairs}");
    }
    // Nor does what the 60th percentile alone shows end it.
    let mut judged = judge(&rules, &a, &b).unwrap();
    for one in &mut judged {
        if one.measure == Measure::Instructions {
            one.measure = Measure::InstructionsP60;
        }
    }
    assert!(!is_enough(&judged, 8, 4));
    // One that is just significant waits for the others.
    let mut judged = judge(&rules, &a, &b).unwrap();
    for one in &mut judged {
        one.certain = false;
    }
    assert!(!is_enough(&judged, 8, 4));
    let same = judge(&rules, &a, &a).unwrap();
    assert!(is_enough(&same, 8, 8) && !is_enough(&same, 8, 9));
}

#[test]
fn a_margin_that_is_asked_for_holds_against_a_noise_floor() {
    let mut rules = Rules::new(1);
    rules.noise_floors.insert(Measure::Throughput, 0.2);
    assert!((rules.margin(Measure::Throughput) - 0.2).abs() < 1e-12);
    rules.ask(Measure::Throughput, 0.05);
    assert!((rules.margin(Measure::Throughput) - 0.05).abs() < 1e-12);
    assert_eq!(rules.below_noise(), [(Measure::Throughput, 0.05, 0.2)]);
}

#[test]
fn a_noise_floor_raises_the_least_effect() {
    let a = runs(Measure::Instructions, &[100.0, 100.1, 100.2, 100.1]);
    let b = runs(Measure::Instructions, &[104.0, 104.1, 104.2, 104.1]);
    let mut rules = Rules::new(1);
    assert_eq!(overall(&judge(&rules, &a, &b).unwrap()), Verdict::Regressed);
    rules.noise_floors.insert(Measure::Instructions, 0.06);
    let judged = judge(&rules, &a, &b).unwrap();
    assert_eq!(
        (judged[0].verdict, judged[0].margin),
        (Verdict::NoChange, 0.06)
    );
    // A floor below the wish changes nothing.
    rules.noise_floors.insert(Measure::Instructions, 0.001);
    assert!((judge(&rules, &a, &b).unwrap()[0].margin - 0.02).abs() < 1e-12);
}

#[test]
fn what_depends_on_the_hosts_speed_may_be_told_coarsely_beside_what_it_does_not() {
    let one = |throughput: f64, paced: Option<f64>| {
        let paced = paced.map(|paced| (Measure::CpuNormalisedThroughput, paced));
        vec![figures(
            [(Measure::Throughput, throughput)]
                .into_iter()
                .chain(paced)
                .collect(),
        )]
    };
    let a: Vec<_> = [40.0, 44.0, 42.0, 39.0, 43.0, 41.0, 40.0, 44.0].to_vec();
    let b: Vec<_> = [43.0, 40.0, 43.0, 42.0, 38.0, 44.0, 42.0, 40.0].to_vec();
    let both = |paced: Option<f64>| {
        let side = |figures: &[f64]| -> Vec<_> {
            figures.iter().map(|&figure| one(figure, paced)).collect()
        };
        (side(&a), side(&b))
    };
    let mut rules = Rules::new(1);
    let (alone_a, alone_b) = both(None);
    let judged = judge(&rules, &alone_a, &alone_b).unwrap();
    assert_eq!(judged[0].said(), "undecided");
    let (paced_a, paced_b) = both(Some(50.0));
    let judged = judge(&rules, &paced_a, &paced_b).unwrap();
    let said: Vec<_> = judged.iter().map(Judgement::said).collect();
    assert_eq!(said, ["no change within 15 %", "no change within 5 %"]);
    rules.ask(Measure::Throughput, 0.05);
    let judged = judge(&rules, &paced_a, &paced_b).unwrap();
    assert_eq!(judged[0].said(), "undecided");
}

#[test]
fn noise_floors_are_what_nineteen_of_twenty_stayed_below() {
    let rules = Rules::new(1);
    let comparisons: Vec<_> = (0..=20)
        .map(|i| {
            let b = 100.0 + f64::from(i) * 0.1;
            judge(
                &rules,
                &runs(Measure::Instructions, &[100.0; 4]),
                &runs(Measure::Instructions, &[b; 4]),
            )
            .unwrap()
        })
        .collect();
    let floors = noise_floors(&comparisons);
    assert_eq!(floors.len(), 1);
    assert!(
        (floors[&Measure::Instructions] - 0.019).abs() < 1e-9,
        "{floors:?}"
    );
    assert_eq!(noise_floors(&[]), BTreeMap::new());
}

#[test]
fn runs_of_other_days_are_judged_without_pairs() {
    let rules = Rules::new(1);
    let window: Vec<f64> = (0..20).map(|i| 40.0 + 0.1 * f64::from(i % 5)).collect();
    let judged = |now: &[f64]| judge_independent(&rules, "dd", Measure::Throughput, &window, now);
    assert_eq!(
        judged(&[36.0, 36.1, 36.2, 36.0]).unwrap().verdict,
        Verdict::Regressed
    );
    assert_eq!(
        judged(&[40.1, 40.3, 40.2, 40.0]).unwrap().verdict,
        Verdict::NoChange
    );
    assert_eq!(judged(&[20.0, 20.0]).unwrap().verdict, Verdict::Undecided);
    assert_eq!(judged(&[20.0]).unwrap().verdict, Verdict::Undecided);
    assert_eq!(judged(&[]), None);
}
