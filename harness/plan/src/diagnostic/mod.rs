//! Mistakes in a scenario, with place and remedy, rendered like those of rustc.

pub(crate) mod suggest;

use std::fmt;
use std::ops::Range;
use std::path::Path;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

use crate::overlay::SourceText;

/// What settings are shown as instead of a file.
const SETTING: &str = "setting";

/// Bytes of the scenario's text and those of its bases and settings, one after another; end exclusive.
pub type Span = Range<usize>;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, in one line.
    pub title: String,
    /// The offending text.
    pub span: Span,
    /// What stands under the offending text.
    pub label: String,
    /// Other places that matter, each with its label.
    pub also: Vec<(Span, String)>,
    /// The remedy.
    pub help: String,
}

impl Diagnostic {
    pub(crate) fn at(span: &Span, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            span: span.clone(),
            label: String::new(),
            also: Vec::new(),
            help: String::new(),
        }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(crate) fn also(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.also.push((span.clone(), label.into()));
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

/// Where stages note the mistakes they meet, to go on after each.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    found: Vec<Diagnostic>,
    /// Places of tables, and of what settings put into them.
    grafts: Vec<(Span, Span)>,
}

impl Mistakes {
    pub(crate) fn note(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    /// What stands at `from` counts as within the table at `place` from now on.
    pub(crate) fn graft(&mut self, place: &Span, from: &Span) {
        self.grafts.push((place.clone(), from.clone()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Whether something within that place was found wrong.
    pub(crate) fn any_within(&self, place: &Span) -> bool {
        self.found.iter().any(|found| {
            let grafted = self
                .grafts
                .iter()
                .any(|(at, from)| within(&found.span, from) && within(at, place));
            grafted || within(&found.span, place)
        })
    }
}

/// All mistakes of one scenario, in the order of its text, then those in its bases and in settings; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    source_text: SourceText,
    list: Vec<Diagnostic>,
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    /// One line without the details, which [`Diagnostics::render`] gives.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.list.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{count} mistake{plural} in {}", self.source().display())
    }
}

impl Diagnostics {
    pub(crate) fn new(source_text: SourceText, mistakes: Mistakes) -> Self {
        let text = &source_text.text;
        let mut list: Vec<Diagnostic> = Vec::new();
        for diagnostic in mistakes.found {
            // An entry for several nodes is read once for each.
            if !list.contains(&diagnostic) {
                list.push(diagnostic);
            }
        }
        for diagnostic in &mut list {
            settle(&mut diagnostic.span, text);
            for (span, _) in &mut diagnostic.also {
                settle(span, text);
            }
        }
        list.sort_by_key(|diagnostic| diagnostic.span.start);
        Self { source_text, list }
    }

    /// Each mistake, in the order of the text. Spans lie within the text, on character boundaries; those of bases and
    /// settings beyond its end.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// The scenario's file.
    pub fn source(&self) -> &Path {
        self.source_text.path(0)
    }

    /// For people: file, line, column, the offending text, a label under it and a help line, for each mistake.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let files = self.source_text.files.iter();
        let files = files.map(|(path, part)| (path.to_string_lossy(), part));
        let settings = self.source_text.settings.iter();
        let parts: Vec<_> = files
            .chain(settings.map(|part| (SETTING.into(), part)))
            .collect();
        let mut shown = String::new();
        for diagnostic in &self.list {
            let mut report = Group::with_title(Level::ERROR.primary_title(&diagnostic.title));
            // The file of the mistake itself comes first.
            let (own, others): (Vec<_>, Vec<_>) = parts
                .iter()
                .partition(|(_, part)| within(&diagnostic.span, part));
            for (path, part) in own.into_iter().chain(others) {
                let marks = marks(diagnostic, part);
                if !marks.is_empty() {
                    let text = &self.source_text.text[Span::clone(part)];
                    let snippet = Snippet::source(text).path(path.as_ref());
                    report = report.element(snippet.annotations(marks));
                }
            }
            let report = [report.element(Level::HELP.message(&diagnostic.help))];
            shown.push_str(&renderer.render(&report));
            shown.push_str("\n\n");
        }
        shown.truncate(shown.trim_end().len());
        shown.push('\n');
        shown
    }
}

fn within(one: &Span, other: &Span) -> bool {
    other.start <= one.start && one.end <= other.end
}

/// What a mistake marks in a part of the source text.
fn marks<'d>(diagnostic: &'d Diagnostic, part: &Span) -> Vec<Annotation<'d>> {
    let primary = (AnnotationKind::Primary, &diagnostic.span, &diagnostic.label);
    let others = diagnostic.also.iter();
    let others = others.map(|(span, label)| (AnnotationKind::Context, span, label));
    std::iter::once(primary)
        .chain(others)
        .filter(|(_, span, _)| within(span, part))
        .map(|(kind, span, label)| {
            kind.span(span.start - part.start..span.end - part.start)
                .label(label)
        })
        .collect()
}

/// Moves a span's ends into the text and off the inside of a character.
fn settle(span: &mut Span, text: &str) {
    let boundary = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = boundary(span.start);
    *span = start..boundary(span.end).max(start);
}
