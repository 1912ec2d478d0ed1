//! What a plan's texts are wrapped in on their way to a shell.

/// One word for a POSIX shell, whatever stands in it.
pub fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The same as a person would write it: as it is, where a shell takes it so.
pub fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,%+@".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        quote(text)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_are_quoted_where_a_shell_would_divide_them() {
        let plain = "step.crash.after=1372ms";
        assert_eq!(super::word(plain), plain);
        let divided = "step.the crash.after=1s";
        assert_eq!(super::word(divided), "'step.the crash.after=1s'");
        assert_eq!(super::word(""), "''");
    }

    #[test]
    fn quotes_what_a_shell_would_read() {
        assert_eq!(super::quote("a$b 'c'"), r"'a$b '\''c'\'''");
    }
}
