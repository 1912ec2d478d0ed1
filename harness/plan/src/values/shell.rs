//! What a plan's texts are wrapped in on their way to a shell.

/// One word for a POSIX shell, whatever stands in it.
pub fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn quotes_what_a_shell_would_read() {
        assert_eq!(super::quote("a$b 'c'"), r"'a$b '\''c'\'''");
    }
}
