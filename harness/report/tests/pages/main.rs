//! What people look at: tables for a terminal, and the page as a browser shows it: headless Chromium opens it without a network, in both themes, on a desk and on a phone.
//!
//! Where there is no Chromium the trials are ignored, unless `SANLAB_REQUIRE_VMS` is 1: `ci/host-packages` installs it. The
//! pictures that they take are kept in `target/tmp/pages`, to be looked at.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

mod browser;
mod content;
mod gathered;
mod hostile;
mod looks;
mod made_up;
mod terminal;

fn main() -> ExitCode {
    let trials = vec![
        plain("verdicts_come_first", content::verdicts_come_first),
        plain("a_failure_is_told_whole", content::a_failure_is_told_whole),
        plain(
            "a_failed_run_is_in_the_headline",
            content::a_failed_run_is_in_the_headline,
        ),
        plain(
            "a_known_failure_says_why_and_where_that_is_reported",
            content::a_known_failure_says_why_and_where_that_is_reported,
        ),
        plain(
            "findings_stand_in_a_table",
            content::findings_stand_in_a_table,
        ),
        plain("what_happened_is_drawn", content::what_happened_is_drawn),
        plain(
            "every_kept_record_is_shown",
            content::every_kept_record_is_shown,
        ),
        plain("an_empty_report_says_so", content::an_empty_report_says_so),
        plain(
            "texts_of_others_stay_texts",
            hostile::texts_of_others_stay_texts,
        ),
        plain(
            "a_source_of_others_is_no_script",
            hostile::a_source_of_others_is_no_script,
        ),
        plain(
            "figures_of_others_break_nothing",
            hostile::figures_of_others_break_nothing,
        ),
        plain("tables_for_a_terminal", terminal::tables_for_a_terminal),
        in_browser("looks_good_everywhere", looks::looks_good_everywhere),
        in_browser("kept_records_look_good", looks::kept_records_look_good),
        in_browser(
            "a_hostile_record_does_nothing",
            looks::a_hostile_record_does_nothing,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn plain(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

fn in_browser(name: &str, test: fn()) -> Trial {
    Trial::ignorable_test(name, move || {
        if browser::program().is_none() {
            let reason = "chromium is not installed: ci/host-packages installs it";
            return match std::env::var("SANLAB_REQUIRE_VMS") {
                Ok(value) if value == "1" => Err(Failed::from(reason)),
                _ => Ok(Completion::ignored_with(reason)),
            };
        }
        test();
        Ok(Completion::Completed)
    })
}
