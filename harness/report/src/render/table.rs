//! Text tables: words to the left, figures to the right, two blanks between columns.

use std::fmt::Write;

/// Rows under headings.
#[derive(Debug, Clone)]
pub struct Table {
    /// The headings first; all as long as these.
    rows: Vec<Vec<String>>,
    /// Whether a column stands on the right-hand side.
    right: Vec<bool>,
}

impl Table {
    /// Headings from left to right; one that starts with `>` has its column on the right-hand side.
    pub fn new(headings: &[&str]) -> Self {
        let texts = headings.iter().map(|text| text.trim_start_matches('>'));
        Self {
            rows: vec![texts.map(str::to_owned).collect()],
            right: headings.iter().map(|text| text.starts_with('>')).collect(),
        }
    }

    /// Adds a row; cells that are missing at its end stay empty. What a terminal would obey is taken out of them.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        let mut row: Vec<String> = cells.into_iter().map(|cell| plain(cell.as_ref())).collect();
        row.resize(self.right.len(), String::new());
        self.rows.push(row);
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// All of it, so many blanks from the left.
    pub fn render(&self, indent: usize) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for ((cell, width), right) in row.iter().zip(&widths).zip(&self.right) {
                // Writing to a String cannot fail.
                let _ = if *right {
                    write!(line, "{cell:>width$}  ")
                } else {
                    write!(line, "{cell:<width$}  ")
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Text without control characters: records are not to be trusted with a terminal.
pub fn plain(text: &str) -> String {
    let tame = |character: char| match character {
        control if control.is_control() => '\u{fffd}',
        other => other,
    };
    text.chars().map(tame).collect()
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["step", ">A", "verdict"]);
        table.row(["write\u{1b}[2J", "41.2", "no change"]);
        table.row(["é", "7"]);
        insta::assert_snapshot!(table.render(2), @r"
          step          A  verdict
          write�[2J  41.2  no change
          é             7
        ");
    }
}
