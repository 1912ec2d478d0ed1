//! `sanlab compare` and settings, as far as no guest is needed.

use super::sanlab;

const SCENARIO: &str = "scenarios/nbd-striped-ocfs2/concurrent-dd.toml";

/// What the program says on standard error when it refuses, which must be as wrong input.
fn refused(arguments: &[&str]) -> String {
    let output = sanlab(arguments, &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    said
}

#[test]
fn help_tells_the_keys_and_the_exit_codes() {
    let output = sanlab(&["compare", "--help"], &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    for word in [
        "layer.striped.chunk",
        "module.x86_64",
        "qemu",
        "1 regressed",
        "5 undecided",
        "--budget",
        "--pairs",
        "--margin",
        "--aa",
    ] {
        assert!(said.contains(word), "no `{word}` in:\n{said}");
    }
    let output = sanlab(&["--help"], &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("5 a comparison is undecided"), "{said}");
    assert!(said.contains("SANLAB_HISTORY"), "{said}");
}

#[test]
fn what_is_no_setting_is_named() {
    let said = refused(&["compare", SCENARIO, "--a", "mtu"]);
    assert!(said.contains("`mtu` cannot be set"), "{said}");
    let said = refused(&["compare", SCENARIO, "--b", "mtu=1500", "mtu=9000"]);
    assert!(said.contains("given twice"), "{said}");
    let said = refused(&["compare", SCENARIO, "--a", "kernel=/proc/version"]);
    assert!(said.contains("`kernel.x86_64=...`"), "{said}");
}

#[test]
fn a_setting_that_the_scenario_has_no_place_for_is_a_mistake_in_its_own_text() {
    for side in ["--a", "--b", "--set"] {
        let said = refused(&["compare", SCENARIO, side, "layer.stripe.chunk=64KiB"]);
        assert!(said.contains("layer.stripe.chunk"), "{said}");
        assert!(said.contains("striped"), "no way out in:\n{said}");
    }
    let said = refused(&["run", SCENARIO, "--set", "layer.striped.chunk=63KiB"]);
    assert!(said.contains("63KiB"), "{said}");
}

#[test]
fn bounds_and_effects_are_checked_before_anything_runs() {
    let said = refused(&["compare", SCENARIO, "--pairs", "9..4"]);
    assert!(said.contains("MIN..MAX"), "{said}");
    let said = refused(&["compare", SCENARIO, "--pairs", "4"]);
    assert!(said.contains("fewer than 5 pairs"), "{said}");
    let said = refused(&["compare", SCENARIO, "--budget", "soon"]);
    assert!(said.contains("ms, s, m, h"), "{said}");
    let said = refused(&["compare", SCENARIO, "--margin", "speed=5%"]);
    assert!(said.contains("guest_throughput"), "{said}");
    refused(&["compare"]);
    let said = refused(&["compare", "--a", "mtu=1500", "--b", "mtu=9000"]);
    assert!(said.contains("compare which scenario?"), "{said}");
    // The file may stand behind the sides, too.
    let said = refused(&[
        "compare",
        "--a",
        "mtu=1500",
        "--b",
        "layer.stripe.chunk=64KiB",
        SCENARIO,
    ]);
    assert!(said.contains("layer.stripe"), "{said}");
    let said = refused(&["compare", SCENARIO, "--aa", "4"]);
    assert!(said.contains("from 5 to 1000"), "{said}");
}

#[test]
fn a_comparison_with_itself_has_no_sides() {
    for other in [
        ["--a", "mtu=1500"],
        ["--b", "mtu=1500"],
        ["--pairs", "6"],
        ["--html", "page.html"],
    ] {
        let said = refused(&[&["compare", SCENARIO, "--aa", "5"], &other[..]].concat());
        assert!(said.contains("cannot be used with"), "{said}");
    }
    let said = refused(&[
        "compare",
        "scenarios/gnbd-drbd-multipath/membership.toml",
        "--aa",
        "5",
    ]);
    assert!(said.contains("measures nothing"), "{said}");
}

#[test]
fn a_scenario_without_figures_is_refused() {
    let said = refused(&["compare", "scenarios/gnbd-drbd-multipath/membership.toml"]);
    assert!(said.contains("measures nothing"), "{said}");
}
