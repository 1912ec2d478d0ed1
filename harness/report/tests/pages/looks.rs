//! How the page looks, and that it keeps to itself.

use std::path::PathBuf;

use sanlab_report::html;
use sanlab_report::report::Report;
use serde_json::json;

use crate::browser::Browser;
use crate::{content, gathered, hostile, made_up};

/// Pictures and pages are kept here.
fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pages");
    fs_err::create_dir_all(&folder).expect("a folder for pictures");
    folder
}

/// Opens the report on every screen, and sees that it fits and keeps to itself. Gives the browser with the last one.
fn show(name: &str, report: &Report) -> Browser {
    let page = folder().join(format!("{name}.html"));
    fs_err::write(&page, html::render(report)).expect("room for a page");
    let mut browser = Browser::start();
    for (width, theme) in [
        (1280, "dark"),
        (390, "dark"),
        (1280, "light"),
        (390, "light"),
    ] {
        browser.become_screen(width, theme);
        browser.open(&page);
        let picture = browser.picture();
        assert!(picture.starts_with(b"\x89PNG\r\n"), "no picture");
        let file = folder().join(format!("{name}-{width}-{theme}.png"));
        fs_err::write(file, picture).expect("room for a picture");

        assert_eq!(
            browser.complaints(),
            Vec::<String>::new(),
            "{width} {theme}"
        );
        let own = format!("file://{}", page.display());
        // Its empty icon stands in the page itself.
        let others: Vec<String> = browser
            .requests()
            .into_iter()
            .filter(|url| *url != own && url != "data:,")
            .collect();
        assert_eq!(others, Vec::<String>::new(), "{width} {theme}");

        let fits = browser.value("document.documentElement.scrollWidth");
        assert_eq!(fits, json!(width), "the page is as wide as the screen");
        // What a cell holds stays out of the cells beside it.
        let overlaps = browser.value(
            "[...document.querySelectorAll('tr')].filter(row => {\
                const cells = [...row.children].filter(cell => cell.offsetParent !== null);\
                const range = document.createRange();\
                return cells.some(cell => {\
                    range.selectNodeContents(cell);\
                    const held = range.getBoundingClientRect();\
                    return cells.filter(other => other !== cell).some(other => {\
                        const box = other.getBoundingClientRect();\
                        return held.left < box.right - 1 && box.left < held.right - 1\
                            && held.top < box.bottom - 1 && box.top < held.bottom - 1;\
                    });\
                });\
             }).map(row => row.innerText)",
        );
        assert_eq!(overlaps, json!([]), "{width} {theme}");
        let is_dark = browser.value("matchMedia('(prefers-color-scheme: dark)').matches");
        assert_eq!(is_dark, json!(theme == "dark"));
        let ground = browser.value("getComputedStyle(document.body).backgroundColor");
        let expected = if theme == "dark" {
            "rgb(18, 20, 23)"
        } else {
            "rgb(247, 246, 243)"
        };
        assert_eq!(ground, json!(expected));
        // Of each chart in two sizes, one is to be seen.
        let shown = browser.value(
            "[...document.querySelectorAll('.wide, .narrow')].filter(e => e.offsetParent !== null)\
             .every(e => e.classList.contains(innerWidth > 720 ? 'wide' : 'narrow'))",
        );
        assert_eq!(shown, json!(true));
    }
    browser
}

pub(crate) fn looks_good_everywhere() {
    let mut browser = show("report", &gathered::report());
    let verdict = browser.value("document.querySelector('#verdict').innerText");
    assert_eq!(verdict, json!("✗ regressed, 1 run failed, 1 known failure"));
    let compared = "document.querySelector('#comparison-2 h2').innerText";
    assert_eq!(
        browser.value(compared),
        json!("✗ regressed frames of 1500 bytes")
    );
    let same = "document.querySelector('#comparison-1 h2').innerText";
    assert_eq!(browser.value(same), json!("= no change the same twice"));
    // Every link leads somewhere on the page, but that to where a failure is reported.
    let lost = "[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))\
                .filter(href => !href.startsWith('#') || !document.getElementById(href.slice(1)))";
    assert_eq!(browser.value(lost), json!([made_up::REPORTED]));
    // A known failure has a colour of its own.
    let colours = "new Set(['passed', 'failed', 'known_failure'].map(word => \
                   getComputedStyle(document.querySelector('.badge.' + word)).color)).size";
    assert_eq!(browser.value(colours), json!(3));
    let twice = "(ids => ids.length - new Set(ids).size)\
                 ([...document.querySelectorAll('[id]')].map(e => e.id))";
    assert_eq!(browser.value(twice), json!(0), "ids that are there twice");
    // Drawings have something in them, and say what they show.
    let empty = "[...document.querySelectorAll('svg')]\
                 .filter(e => !e.children.length || !e.getAttribute('aria-label')).length";
    assert_eq!(browser.value(empty), json!(0));
}

pub(crate) fn kept_records_look_good() {
    let records = content::kept_records();
    let count = records.len();
    let mut browser = show("kept", &gathered::of_runs("records that are kept", records));
    let runs = "document.querySelectorAll('section.run').length";
    assert_eq!(browser.value(runs), json!(count));
}

pub(crate) fn a_hostile_record_does_nothing() {
    let mut browser = show("hostile", &hostile::report());
    let foreign = "document.querySelectorAll('script, img, iframe, object, embed, [onload], [onerror]').length";
    assert_eq!(browser.value(foreign), json!(0));
    let led_away =
        "[...document.querySelectorAll('a')].filter(a => !a.hash || a.protocol !== 'file:').length";
    assert_eq!(browser.value(led_away), json!(0));
    let title = browser.value("document.querySelector('h1').innerText");
    assert!(
        title.as_str().unwrap_or_default().contains("<script src="),
        "{title}"
    );
}
