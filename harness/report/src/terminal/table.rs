//! Text tables: words to the left, figures to the right, two blanks between columns.

/// Rows under headings.
#[derive(Debug)]
pub(super) struct Table {
    /// The headings first.
    rows: Vec<Vec<String>>,
    /// Whether a column stands on the right-hand side.
    right: Vec<bool>,
}

impl Table {
    /// Headings from left to right; one that starts with `>` has its column on the right-hand side.
    pub(super) fn new(headings: &[&str]) -> Self {
        let texts = headings
            .iter()
            .map(|text| text.trim_start_matches('>').to_owned());
        Self {
            rows: vec![texts.collect()],
            right: headings.iter().map(|text| text.starts_with('>')).collect(),
        }
    }

    /// Adds a row; what a terminal would obey is taken out of it.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let tame = cells.into_iter().map(|cell| plain(&cell));
        self.rows.push(tame.collect());
    }

    /// Whether it has no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// All of it, so many blanks from the left.
    pub(super) fn render(&self, indent: usize) -> String {
        let length = |row: &Vec<String>, column: usize| {
            row.get(column).map_or(0, |cell| cell.chars().count())
        };
        let widths: Vec<usize> = (0..self.right.len())
            .map(|column| {
                self.rows
                    .iter()
                    .map(|row| length(row, column))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for ((cell, width), right) in row.iter().zip(&widths).zip(&self.right) {
                let blanks = " ".repeat(width - cell.chars().count());
                let (before, after) = if *right {
                    (&*blanks, "")
                } else {
                    ("", &*blanks)
                };
                line.extend([before, cell, after, "  "]);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Text without control characters: records are not to be trusted with a terminal.
pub(super) fn plain(text: &str) -> String {
    let tame = |character: char| {
        if character.is_control() {
            '\u{fffd}'
        } else {
            character
        }
    };
    text.chars().map(tame).collect()
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["step", ">A", "verdict"]);
        table.row(vec![
            "write\u{1b}[2J".to_owned(),
            "41.2".to_owned(),
            "no change".to_owned(),
        ]);
        table.row(vec!["é".to_owned(), "7".to_owned(), "regressed".to_owned()]);
        insta::assert_snapshot!(table.render(2), @r"
          step          A  verdict
          write�[2J  41.2  no change
          é             7  regressed
        ");
    }
}
