//! Command lines in the manner of `getopt`: `-ab`, `-t5`, `-t 5`, `-U[VALUE]`, operands anywhere, `--` before operands.
//!
//! Where a letter is given twice both stand in [`CommandLine::options`]; what that means is the program's matter.

use std::ffi::OsString;
use std::fmt::{self, Display, Formatter};

/// A command line, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// Letters in their order, with their values.
    pub options: Vec<(char, Option<String>)>,
    /// What is no option, in its order.
    pub operands: Vec<String>,
}

/// What is wrong with a command line, in the words of `getopt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionError {
    /// A letter that the program does not have.
    Unknown(char),
    /// A letter that needs a value is the last word.
    MissingValue(char),
    /// An argument that is not UTF-8.
    NotText,
}

impl Display for OptionError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(letter) => {
                write!(f, "invalid option -- '{}'", letter.escape_debug())
            }
            Self::MissingValue(letter) => write!(f, "option requires an argument -- '{letter}'"),
            Self::NotText => f.write_str("argument is not UTF-8"),
        }
    }
}

impl std::error::Error for OptionError {}

/// Whether a letter takes a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    None,
    Needed,
    Attached,
}

fn kind(specification: &str, letter: char) -> Option<Value> {
    if letter == ':' {
        return None;
    }
    let at = specification.find(letter)?;
    let rest = &specification[at + letter.len_utf8()..];
    Some(if rest.starts_with("::") {
        Value::Attached
    } else if rest.starts_with(':') {
        Value::Needed
    } else {
        Value::None
    })
}

impl CommandLine {
    /// Takes arguments (the program's name left out) apart. In `specification`, as in C, a colon behind a letter
    /// means that it has a value, two that it may have one, then only in the same word.
    pub fn parse(
        specification: &str,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, OptionError> {
        let mut line = Self::default();
        let mut arguments = arguments.into_iter();
        let mut only_operands = false;
        while let Some(argument) = arguments.next() {
            let argument = text(argument)?;
            if only_operands || argument == "-" || !argument.starts_with('-') {
                line.operands.push(argument);
                continue;
            }
            if argument == "--" {
                only_operands = true;
                continue;
            }
            let mut letters = argument[1..].chars();
            while let Some(letter) = letters.next() {
                let value = match kind(specification, letter) {
                    None => return Err(OptionError::Unknown(letter)),
                    Some(Value::None) => {
                        line.options.push((letter, None));
                        continue;
                    }
                    Some(Value::Attached) if letters.as_str().is_empty() => None,
                    Some(Value::Needed) if letters.as_str().is_empty() => Some(text(
                        arguments.next().ok_or(OptionError::MissingValue(letter))?,
                    )?),
                    Some(Value::Attached | Value::Needed) => Some(letters.as_str().to_owned()),
                };
                line.options.push((letter, value));
                break;
            }
        }
        Ok(line)
    }

    /// Whether the letter was given.
    pub fn has(&self, letter: char) -> bool {
        self.options.iter().any(|(given, _)| *given == letter)
    }

    /// The value of the letter's last occurrence that has one.
    pub fn value(&self, letter: char) -> Option<&str> {
        let mut given = self.options.iter().rev();
        given.find_map(|(other, value)| value.as_deref().filter(|_| *other == letter))
    }
}

fn text(argument: OsString) -> Result<String, OptionError> {
    argument.into_string().map_err(|_| OptionError::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORT: &str = "acd:e:hlLOoqrRt:u:U::vV";

    fn parse(words: &[&str]) -> Result<CommandLine, OptionError> {
        CommandLine::parse(EXPORT, words.iter().map(OsString::from))
    }

    #[test]
    fn letters_combine_and_take_values() {
        let line = parse(&[
            "-cod/dev/sdb",
            "-e",
            "disk",
            "-U",
            "x",
            "-U/bin/uid %n",
            "-t5",
        ])
        .unwrap();
        assert!(line.has('c') && line.has('o') && !line.has('q'));
        assert_eq!(line.value('d'), Some("/dev/sdb"));
        assert_eq!(line.value('e'), Some("disk"));
        assert_eq!(line.value('U'), Some("/bin/uid %n"));
        assert_eq!(line.options[4], ('U', None));
        assert_eq!(line.operands, ["x"]);
    }

    #[test]
    fn operands_stand_anywhere() {
        let line = parse(&["a", "-r", "b", "-", "--", "-O", "--"]).unwrap();
        assert_eq!(line.operands, ["a", "b", "-", "-O", "--"]);
        assert_eq!(line.options, [('r', None)]);
    }

    #[test]
    fn mistakes_are_told_as_getopt_does() {
        let told = |words: &[&str]| parse(words).unwrap_err().to_string();
        assert_eq!(told(&["-x"]), "invalid option -- 'x'");
        assert_eq!(told(&["-c:"]), "invalid option -- ':'");
        assert_eq!(told(&["--help"]), "invalid option -- '-'");
        assert_eq!(told(&["-cd"]), "option requires an argument -- 'd'");
    }
}
