//! Versions of the interface between QEMU and its plugins.

/// A version by which the plugin can be loaded. QEMU accepts a range of them; within a range the functions that are used here
/// are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// QEMU 4.2 to 8.2: one addition for all virtual processors, not atomic.
    V1,
    /// QEMU 9.0 to 10.2: an addition for each virtual processor.
    V2,
    /// QEMU 11.0: the same.
    V6,
    /// QEMU 11.1 and later: the same, and callbacks have other arguments.
    V7,
}

impl Api {
    /// All that the plugin speaks, newest first.
    pub const ALL: [Self; 4] = [Self::V7, Self::V6, Self::V2, Self::V1];

    /// What QEMU calls it.
    pub fn number(self) -> i32 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
            Self::V6 => 6,
            Self::V7 => 7,
        }
    }

    /// Whether it counts more than one virtual processor.
    pub fn counts_several(self) -> bool {
        self != Self::V1
    }

    /// That of QEMU's number.
    pub(crate) fn of(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.number() == number)
    }

    /// The one that a QEMU's command line asks for: `api=N`, the last of the plugin's arguments. Words end with zero bytes,
    /// as in `/proc/self/cmdline`.
    pub(crate) fn asked_for(command_line: &[u8]) -> Option<Self> {
        let mut words = command_line.split(|byte| *byte == 0);
        words.find(|word| *word == b"-plugin")?;
        let word = std::str::from_utf8(words.next()?.rsplit(|byte| *byte == b',').next()?).ok()?;
        Self::of(word.strip_prefix("api=")?.parse().ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_first_and_each_has_its_number() {
        let numbers = Api::ALL.map(Api::number);
        assert!(numbers.is_sorted_by(|newer, older| newer > older));
        assert_eq!(numbers.map(Api::of), Api::ALL.map(Some));
        assert_eq!(Api::of(8), None);
        assert_eq!(Api::ALL.map(Api::counts_several), [true, true, true, false]);
    }

    #[test]
    fn a_command_line_says_which() {
        let asked = |text: &str| Api::asked_for(text.replace(' ', "\0").as_bytes());
        let line = "qemu -m 16M -plugin /lab/a,,b.so,out=/run/x,api=7 -name a";
        assert_eq!(asked(line), Some(Api::V7));
        assert_eq!(asked("qemu -plugin /a.so,out=/x,api=2"), Some(Api::V2));
        for none in [
            "",
            "qemu api=7",
            "qemu -plugin",
            "qemu -plugin /a.so,out=/x",
            "qemu -plugin /a.so,out=/x,api=5",
            "qemu -plugin /a.so,api=7,out=/x",
        ] {
            assert_eq!(asked(none), None, "{none}");
        }
    }
}
