//! What each kind of value accepts: numbers, text, sizes, times, names.

use std::time::Duration;

use serde_json::{Value as Json, json};
use toml::Spanned;
use toml::de::DeValue;

use crate::diagnostic::{Diagnostic, Mistakes};
use crate::document::pattern::Pattern;
use crate::document::read::{At, Value, note_wrong_type, read};
use crate::values::clocks::{Drift, TimeShift};
use crate::values::names::{
    CheckpointName, ClusterName, GuestPath, ImageName, NetworkName, NodeName, ResourceName,
    StepLabel, VolumeName,
};
use crate::values::range::Range;
use crate::values::subnet::Subnet;
use crate::values::units::{ByteSize, Percent, Share, parse_duration};

/// Text with a rule; the rule's breach is the help.
fn read_text<T: Value, E: std::fmt::Display>(
    value: &Spanned<DeValue<'_>>,
    mistakes: &mut Mistakes,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    let Some(text) = value.get_ref().as_str() else {
        note_wrong_type::<T>(value, mistakes);
        return None;
    };
    parse(text)
        .map_err(|error| {
            let title = match text.trim() {
                "" => format!("nothing where {} should stand", T::WANTED),
                _ => format!("`{text}` is not {}", T::WANTED),
            };
            mistakes.note(
                Diagnostic::at(&value.span(), title)
                    .label(format!("expected {}", T::WANTED))
                    .help(error.to_string()),
            );
        })
        .ok()
}

macro_rules! texts {
    ($($type:ty, $wanted:literal, $example:literal, $parse:expr, $show:expr;)+) => {$(
        impl Value for $type {
            const WANTED: &'static str = $wanted;
            const EXAMPLE: &'static str = $example;

            fn read(value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Option<Self> {
                read_text(value, mistakes, $parse)
            }

            fn schema() -> Json {
                json!({ "type": "string" })
            }

            fn written(&self) -> Json {
                json!($show(self))
            }
        }
    )+};
}

texts! {
    String, "some text", r#""some words""#, not_blank, String::clone;
    ByteSize, "a size", r#""1GiB""#, ByteSize::parse, ToString::to_string;
    Duration, "a time", r#""30s""#, parse_duration, show_duration;
    TimeShift, "a shift of time", r#""-60m""#, TimeShift::parse, ToString::to_string;
    Drift, "a drift", r#""500ppm""#, Drift::parse, ToString::to_string;
    Percent, "a percentage", r#""90%""#, Percent::parse, ToString::to_string;
    Share, "a share", r#""1%""#, Share::parse, ToString::to_string;
    Range, "a range", r#""0s..3s""#, Range::parse, ToString::to_string;
    NodeName, "a node name", r#""vix0""#, NodeName::parse, ToString::to_string;
    NetworkName, "a network's name", r#""cluster""#, NetworkName::parse, ToString::to_string;
    Subnet, "a subnet", r#""192.168.7.0/24""#, Subnet::parse, ToString::to_string;
    VolumeName, "a volume name", r#""nbdsan""#, VolumeName::parse, ToString::to_string;
    ClusterName, "a cluster name", r#""nbdsan""#, ClusterName::parse, ToString::to_string;
    ResourceName, "a resource name", r#""r0""#, ResourceName::parse, ToString::to_string;
    ImageName, "an image name", r#""debian-bookworm""#, ImageName::parse, ToString::to_string;
    StepLabel, "a label", r#""load""#, StepLabel::parse, ToString::to_string;
    CheckpointName, "a checkpoint's name", r#""two-files""#, CheckpointName::parse, ToString::to_string;
    GuestPath, "a path in a guest", r#""/mnt/nbdsan""#, GuestPath::parse, ToString::to_string;
    Pattern, "a node name or range", r#""vix[0-3]""#, Pattern::parse, |pattern: &Pattern| pattern.as_str().to_owned();
}

fn not_blank(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        Err("write at least one word")
    } else {
        Ok(text.to_owned())
    }
}

pub(crate) fn show_duration(duration: &Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}

impl Value for bool {
    const WANTED: &'static str = "a boolean";
    const EXAMPLE: &'static str = "true";

    fn read(value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Option<Self> {
        let found = value.get_ref().as_bool();
        if found.is_none() {
            note_wrong_type::<Self>(value, mistakes);
        }
        found
    }

    fn schema() -> Json {
        json!({ "type": "boolean" })
    }

    fn written(&self) -> Json {
        json!(self)
    }
}

macro_rules! numbers {
    ($($type:ty, $example:literal, $schema:expr;)+) => {$(
        impl Value for $type {
            const WANTED: &'static str = "a whole number";
            const EXAMPLE: &'static str = $example;

            fn read(value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Option<Self> {
                let Some(integer) = value.get_ref().as_integer() else {
                    note_wrong_type::<Self>(value, mistakes);
                    return None;
                };
                let number = Self::from_str_radix(integer.as_str(), integer.radix()).ok();
                if number.is_none() {
                    mistakes.note(
                        Diagnostic::at(&value.span(), format!("number out of range: `{integer}`"))
                            .label("out of range")
                            .help(format!("write a whole number from {} to {}", Self::MIN, Self::MAX)),
                    );
                }
                number
            }

            fn schema() -> Json {
                $schema
            }

            fn written(&self) -> Json {
                json!(self)
            }
        }
    )+};
}

numbers! {
    u8, "4", json!({ "type": "integer", "minimum": 0, "maximum": u8::MAX });
    u16, "4300", json!({ "type": "integer", "minimum": 0, "maximum": u16::MAX });
    u32, "31", json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX });
    u64, "400", json!({ "type": "integer", "minimum": 0 });
    i32, "0", json!({ "type": "integer" });
}

impl<T: Value> Value for Vec<At<T>> {
    const WANTED: &'static str = "a list";
    const EXAMPLE: &'static str = "[]";

    fn example() -> String {
        format!("[{}]", T::example())
    }

    fn read(value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(array) = value.get_ref().as_array() else {
            note_wrong_type::<Self>(value, mistakes);
            return None;
        };
        let elements: Vec<_> = array
            .iter()
            .map(|element| read(element, mistakes))
            .collect();
        elements.into_iter().collect()
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }

    fn written(&self) -> Json {
        self.iter().map(|element| element.value.written()).collect()
    }
}

/// One pattern or a list of them.
#[derive(Debug, Clone)]
pub(crate) struct Nodes(pub(crate) Vec<At<Pattern>>);

impl Value for Nodes {
    const WANTED: &'static str = "a node name or a list of them";
    const EXAMPLE: &'static str = r#"["vix0", "vix[1-3]"]"#;

    fn read(value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(_) => read(value, mistakes).map(|pattern| Self(vec![pattern])),
            DeValue::Array(_) => Vec::read(value, mistakes).map(Self),
            _ => {
                note_wrong_type::<Self>(value, mistakes);
                None
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": ["string", "array"], "items": { "type": "string" } })
    }
}

/// One network's name or a list of them.
#[derive(Debug, Clone)]
pub(crate) struct Networks(pub(crate) Vec<At<NetworkName>>);

impl Networks {
    /// The first alone, written nowhere.
    pub(crate) fn main() -> Self {
        Self(vec![At {
            value: NetworkName::main(),
            span: 0..0,
        }])
    }
}

impl Value for Networks {
    const WANTED: &'static str = "a network's name or a list of them";
    const EXAMPLE: &'static str = r#"["main", "cluster"]"#;

    fn read(value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(_) => read(value, mistakes).map(|name| Self(vec![name])),
            DeValue::Array(_) => Vec::read(value, mistakes).map(Self),
            _ => {
                note_wrong_type::<Self>(value, mistakes);
                None
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": ["string", "array"], "items": { "type": "string" } })
    }

    fn written(&self) -> Json {
        match self.0.as_slice() {
            [only] => only.value.written(),
            several => several.iter().map(|name| name.value.written()).collect(),
        }
    }
}
