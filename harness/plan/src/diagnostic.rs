//! Mistakes of a scenario: where, what, and the way out; rendered in the form of rustc's.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Bytes of the scenario's text, end exclusive.
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
    /// The way out.
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
pub(crate) struct Mistakes(Vec<Diagnostic>);

impl Mistakes {
    pub(crate) fn note(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something within that place was found wrong.
    pub(crate) fn any_within(&self, place: &Span) -> bool {
        self.0
            .iter()
            .any(|found| place.start <= found.span.start && found.span.end <= place.end)
    }
}

/// All mistakes of one scenario, in the order of its text; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    source: PathBuf,
    text: String,
    list: Vec<Diagnostic>,
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    /// One line without the details, which [`Diagnostics::render`] gives.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.list.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{count} mistake{plural} in {}", self.source.display())
    }
}

impl Diagnostics {
    pub(crate) fn new(source: &Path, text: &str, mistakes: Mistakes) -> Self {
        let mut list = mistakes.0;
        for diagnostic in &mut list {
            settle(&mut diagnostic.span, text);
            for (span, _) in &mut diagnostic.also {
                settle(span, text);
            }
        }
        list.sort_by_key(|diagnostic| diagnostic.span.start);
        Self {
            source: source.to_owned(),
            text: text.to_owned(),
            list,
        }
    }

    /// Each mistake, in the order of the text. Spans lie within the text, on character boundaries.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// The file that the text came from.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// For people: file, line, column, the offending text, a label under it and a help line, for each mistake.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let path = self.source.to_string_lossy();
        let mut shown = String::new();
        for diagnostic in &self.list {
            let primary = AnnotationKind::Primary
                .span(diagnostic.span.clone())
                .label(&diagnostic.label);
            let others = diagnostic
                .also
                .iter()
                .map(|(span, label)| AnnotationKind::Context.span(span.clone()).label(label));
            let snippet = Snippet::source(&self.text)
                .path(path.as_ref())
                .annotation(primary)
                .annotations(others);
            let report = [Level::ERROR
                .primary_title(&diagnostic.title)
                .element(snippet)
                .element(Level::HELP.message(&diagnostic.help))];
            shown.push_str(&renderer.render(&report));
            shown.push_str("\n\n");
        }
        shown.truncate(shown.trim_end().len());
        shown.push('\n');
        shown
    }
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
