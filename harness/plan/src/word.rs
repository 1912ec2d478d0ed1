//! Words of a closed list, and what each stands for.

use serde_json::{Value as Json, json};
use toml::Spanned;
use toml::de::DeValue;

use crate::diagnostic::{Diagnostic, Mistakes};
use crate::plan::{
    AccessPattern, Arch, CrashKind, FirstSync, Grouping, Joins, LayerKind, NbdServer, NicModel,
    NoPath, Primaries, Selector, Source, Sync, Tier, Tool, Transport,
};
use crate::read::{Value, note_wrong_type};
use crate::suggest::did_you_mean;

/// Words of a closed list.
pub(crate) trait Word: Copy + PartialEq + 'static {
    /// What one of them is.
    const WHAT: &'static str;
    /// What they are.
    const PLURAL: &'static str;
    const WORDS: &'static [(&'static str, Self)];
}

macro_rules! words {
    ($type:ty, $what:literal, $plural:literal, $wanted:literal, $example:literal, $($word:literal = $value:path),+) => {
        impl Word for $type {
            const WHAT: &'static str = $what;
            const PLURAL: &'static str = $plural;
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $value)),+];
        }

        impl Value for $type {
            const WANTED: &'static str = $wanted;
            const EXAMPLE: &'static str = $example;

            fn read(value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Option<Self> {
                read_word(value, mistakes)
            }

            fn schema() -> Json {
                json!({ "enum": Self::WORDS.iter().map(|(word, _)| *word).collect::<Vec<_>>() })
            }

            fn written(&self) -> Json {
                Self::WORDS.iter().find(|(_, value)| value == self).map_or(Json::Null, |(word, _)| json!(word))
            }
        }
    };
}

words!(
    Arch,
    "architecture",
    "architectures",
    "an architecture",
    r#""x86""#,
    "x86" = Arch::X86,
    "x86_64" = Arch::X86_64
);
words!(
    NicModel,
    "network card",
    "network cards",
    "a network card",
    r#""virtio""#,
    "virtio" = NicModel::VirtioNet,
    "e1000" = NicModel::E1000
);
words!(
    Joins,
    "time to join",
    "times to join",
    "a time to join",
    r#""later""#,
    "start" = Joins::AtStart,
    "later" = Joins::Later
);
words!(
    NbdServer,
    "NBD server",
    "NBD servers",
    "an NBD server",
    r#""nbdkit""#,
    "nbdkit" = NbdServer::Nbdkit,
    "nbd-server" = NbdServer::NbdServer
);
words!(
    Source,
    "source",
    "sources",
    "a source",
    r#""random""#,
    "zero" = Source::Zero,
    "random" = Source::Random
);
words!(
    Tier,
    "tier",
    "tiers",
    "a tier",
    r#""test""#,
    "test" = Tier::Test,
    "nightly" = Tier::Nightly
);

words!(
    Transport,
    "transport",
    "transports",
    "a transport",
    r#""knet""#,
    "knet" = Transport::Knet,
    "udpu" = Transport::Udpu
);
words!(
    Primaries,
    "choice of primaries",
    "choices of primaries",
    "a choice of primaries",
    r#""both""#,
    "both" = Primaries::Both,
    "first" = Primaries::First
);
words!(
    FirstSync,
    "first synchronisation",
    "first synchronisations",
    "a first synchronisation",
    r#""skip""#,
    "skip" = FirstSync::Skip,
    "full" = FirstSync::Full
);
words!(
    Selector,
    "path selector",
    "path selectors",
    "a path selector",
    r#""round-robin""#,
    "round-robin" = Selector::RoundRobin,
    "service-time" = Selector::ServiceTime,
    "queue-length" = Selector::QueueLength
);
words!(
    Grouping,
    "grouping of paths",
    "groupings of paths",
    "a grouping of paths",
    r#""multibus""#,
    "multibus" = Grouping::Multibus,
    "failover" = Grouping::Failover
);
words!(
    NoPath,
    "policy without paths",
    "policies without paths",
    "a policy without paths",
    r#""queue""#,
    "queue" = NoPath::Queue,
    "fail" = NoPath::Fail
);
words!(
    CrashKind,
    "kind of crash",
    "kinds of crash",
    "a kind of crash",
    r#""power""#,
    "power" = CrashKind::Power,
    "panic" = CrashKind::Panic
);
words!(
    SignalWord,
    "signal",
    "signals",
    "a signal",
    r#""KILL""#,
    "KILL" = SignalWord::Kill,
    "TERM" = SignalWord::Term,
    "STOP" = SignalWord::Stop,
    "CONT" = SignalWord::Cont
);
words!(
    Tool,
    "tool",
    "tools",
    "a tool",
    r#""dd""#,
    "dd" = Tool::Dd,
    "fio" = Tool::Fio
);
words!(
    AccessPattern,
    "access pattern",
    "access patterns",
    "an access pattern",
    r#""write""#,
    "write" = AccessPattern::Write,
    "read" = AccessPattern::Read,
    "randwrite" = AccessPattern::RandWrite,
    "randread" = AccessPattern::RandRead,
    "rw" = AccessPattern::ReadWrite,
    "randrw" = AccessPattern::RandReadWrite
);
words!(
    Sync,
    "time to force out",
    "times to force out",
    "a time to force out",
    r#""end""#,
    "never" = Sync::Never,
    "end" = Sync::End,
    "each" = Sync::Each
);
words!(
    LayerKind,
    "layer",
    "layers",
    "a layer",
    r#""gnbd""#,
    "nbd" = LayerKind::Nbd,
    "membership" = LayerKind::Membership,
    "drbd" = LayerKind::Drbd,
    "gnbd" = LayerKind::Gnbd,
    "multipath" = LayerKind::Multipath,
    "md" = LayerKind::Md,
    "striped" = LayerKind::Striped,
    "linear" = LayerKind::Linear,
    "o2cb" = LayerKind::O2cb,
    "ocfs2" = LayerKind::Ocfs2
);

/// A signal's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalWord {
    Kill,
    Term,
    Stop,
    Cont,
}

impl SignalWord {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Term => "TERM",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
        }
    }
}

fn read_word<T: Word + Value>(value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Option<T> {
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
