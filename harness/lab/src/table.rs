//! Text tables: words to the left, figures to the right, two blanks between columns.

use std::fmt::Write;

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// Rows under headings.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    headings: Vec<String>,
    sides: Vec<Side>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Headings from left to right; one that starts with `>` has its column on the right-hand side.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let sides = headings.iter().map(|text| {
            if text.starts_with('>') {
                Side::Right
            } else {
                Side::Left
            }
        });
        Self {
            sides: sides.collect(),
            headings: headings
                .iter()
                .map(|text| text.trim_start_matches('>').to_owned())
                .collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; cells that are missing at its end stay empty.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        row.resize(self.headings.len(), String::new());
        self.rows.push(row);
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text, each line indented by so many blanks.
    pub(crate) fn render(&self, indent: usize) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| &row[column]);
            cells
                .chain([&self.headings[column]])
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let mut text = String::new();
        for row in std::iter::once(&self.headings).chain(&self.rows) {
            let mut line = " ".repeat(indent);
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                // Writing to a String cannot fail.
                let _ = match self.sides[column] {
                    Side::Left => write!(line, "{cell:<width$}  "),
                    Side::Right => write!(line, "{cell:>width$}  "),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["scenario", ">seconds", "outcome"]);
        table.row(["mount", "41.2", "passed"]);
        table.row(["hot_node_addition", "183.0"]);
        insta::assert_snapshot!(table.render(2), @r"
          scenario           seconds  outcome
          mount                 41.2  passed
          hot_node_addition    183.0
        ");
    }
}
