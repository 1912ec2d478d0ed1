//! `vix[0-3]`: several nodes named at once.

use crate::values::names::{NameError, NodeName};

/// Node names as an author writes them: one name, or a range of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    names: Vec<NodeName>,
}

impl Pattern {
    /// `prefix[FIRST-LAST]suffix`, numbers without leading zeros, or a plain name.
    pub(crate) fn parse(text: &str) -> Result<Self, NameError> {
        let names = match text.split_once('[') {
            None => vec![NodeName::parse(text)?],
            Some((prefix, rest)) => {
                let (first, last, suffix) = range(rest).ok_or_else(|| NameError {
                    reason: "a range of nodes is written `name[FIRST-LAST]`, such as `vix[0-3]`"
                        .to_owned(),
                })?;
                if first > last {
                    return Err(NameError {
                        reason: format!("write the smaller number first: `[{last}-{first}]`"),
                    });
                }
                (first..=last)
                    .map(|n| NodeName::parse(&format!("{prefix}{n}{suffix}")))
                    .collect::<Result<_, _>>()?
            }
        };
        Ok(Self {
            text: text.to_owned(),
            names,
        })
    }

    /// As written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The names, in the order of their numbers; never empty.
    pub(crate) fn names(&self) -> &[NodeName] {
        &self.names
    }
}

fn range(text: &str) -> Option<(u8, u8, &str)> {
    let (inside, suffix) = text.split_once(']')?;
    let (first, last) = inside.split_once('-')?;
    let number = |digits: &str| {
        let plain = digits == "0"
            || !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    Some((number(first)?, number(last)?, suffix))
}

#[cfg(test)]
mod tests {
    use super::{NodeName, Pattern};

    fn expand(text: &str) -> Result<String, String> {
        let pattern = Pattern::parse(text).map_err(|error| error.to_string())?;
        Ok(pattern
            .names()
            .iter()
            .map(NodeName::as_str)
            .collect::<Vec<_>>()
            .join(" "))
    }

    #[test]
    fn ranges_expand_in_order() {
        assert_eq!(expand("vc").as_deref(), Ok("vc"));
        assert_eq!(expand("vix[9-11]").as_deref(), Ok("vix9 vix10 vix11"));
        assert_eq!(expand("rack[1-2]-a").as_deref(), Ok("rack1-a rack2-a"));
    }

    #[test]
    fn anything_else_says_the_form() {
        for text in [
            "vix[0-3",
            "vix[0]",
            "vix[00-03]",
            "vix[-3]",
            "vix[+0-3]",
            "vix[0-999]",
            "vix[a-b]",
        ] {
            assert!(
                expand(text).is_err_and(|reason| reason.contains("vix[0-3]")),
                "{text}"
            );
        }
        assert_eq!(
            expand("vix[3-0]"),
            Err("write the smaller number first: `[0-3]`".to_owned())
        );
        assert!(expand("[0-3]").is_err_and(|reason| reason.contains("starts with")));
    }
}
