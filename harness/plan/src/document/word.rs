//! Words of a closed list: an enum, and how a scenario writes each of its values.

use toml::Spanned;
use toml::de::DeValue;

use crate::diagnostic::suggest::did_you_mean;
use crate::diagnostic::{Diagnostic, Mistakes};
use crate::document::read::{Value, note_wrong_type};

/// Words of a closed list.
pub(crate) trait Word: Copy + PartialEq + 'static {
    /// What one of them is.
    const WHAT: &'static str;
    /// What they are.
    const PLURAL: &'static str;
    const WORDS: &'static [(&'static str, Self)];
}

/// The enum, its words in scenario files and records, and its reader. What one is, what they are, one with its article, and
/// an example stand before the values.
macro_rules! words {
    (
        $(#[$doc:meta])+
        $vis:vis $name:ident, $what:literal, $plural:literal, $wanted:literal, $example:literal {
            $($(#[$value_doc:meta])* $value:ident = $word:expr,)+
        }
    ) => {
        $(#[$doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name {
            $($(#[$value_doc])* $value,)+
        }

        impl $name {
            /// The word used in scenario files and records.
            $vis const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)+
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl $crate::document::word::Word for $name {
            const WHAT: &'static str = $what;
            const PLURAL: &'static str = $plural;
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$value)),+];
        }

        impl $crate::document::read::Value for $name {
            const WANTED: &'static str = $wanted;
            const EXAMPLE: &'static str = $example;

            fn read(
                value: &::toml::Spanned<::toml::de::DeValue<'_>>,
                mistakes: &mut $crate::diagnostic::Mistakes,
            ) -> Option<Self> {
                $crate::document::word::read_word(value, mistakes)
            }

            fn schema() -> ::serde_json::Value {
                ::serde_json::json!({ "enum": [$($word),+] })
            }

            fn written(&self) -> ::serde_json::Value {
                ::serde_json::json!(self.as_str())
            }
        }
    };
}

pub(crate) use words;

pub(crate) fn read_word<T: Word + Value>(
    value: &Spanned<DeValue<'_>>,
    mistakes: &mut Mistakes,
) -> Option<T> {
    let Some(text) = value.get_ref().as_str() else {
        note_wrong_type::<T>(value, mistakes);
        return None;
    };
    let found = T::WORDS
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value);
    if found.is_none() {
        mistakes.note(
            Diagnostic::at(&value.span(), format!("unknown {} `{text}`", T::WHAT))
                .label(format!("not {}", T::WANTED))
                .help(did_you_mean(
                    text,
                    T::PLURAL,
                    T::WORDS.iter().map(|(word, _)| *word),
                )),
        );
    }
    found
}
