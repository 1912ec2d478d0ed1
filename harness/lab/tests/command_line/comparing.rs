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
        "kernel.x86",
        "qemu",
        "sanlab",
        "1 regressed",
        "5 undecided",
        "--budget",
        "--pairs",
        "--margin",
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
    assert!(said.contains("kernel.x86 or kernel.x86_64"), "{said}");
    let said = refused(&["compare", SCENARIO, "--b", "sanlab=no-such-revision"]);
    assert!(said.contains("no such revision"), "{said}");
    let said = refused(&["run", SCENARIO, "--set", "sanlab=HEAD"]);
    assert!(said.contains("only `sanlab compare`"), "{said}");
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
    let said = refused(&["compare", SCENARIO, "--budget", "soon"]);
    assert!(said.contains("ms, s, m"), "{said}");
    let said = refused(&["compare", SCENARIO, "--margin", "speed=5%"]);
    assert!(said.contains("guest_throughput"), "{said}");
    refused(&["compare"]);
    refused(&["bench", "noise", "--comparisons", "0"]);
}

#[test]
fn a_scenario_without_figures_is_refused() {
    let said = refused(&["compare", "scenarios/gnbd-drbd-multipath/membership.toml"]);
    assert!(said.contains("measures nothing"), "{said}");
}

#[test]
fn the_noise_bench_wants_a_scenario_with_nbd() {
    let said = refused(&[
        "bench",
        "noise",
        "--scenario",
        "scenarios/gnbd-drbd-multipath/membership.toml",
    ]);
    assert!(said.contains("measures nothing"), "{said}");
    let said = refused(&[
        "bench",
        "noise",
        "--scenario",
        "scenarios/gnbd-drbd-multipath/concurrent-dd.toml",
    ]);
    assert!(said.contains("layer.nbd.filters"), "{said}");
}
