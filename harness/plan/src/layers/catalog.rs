//! What a row of the table of layers gives: the kinds and their words, what is written and what is planned of them.

use std::time::Duration;

use crate::devices::provided::Provided;
use crate::devices::resolved_stack::Building;
use crate::diagnostic::{Mistakes, Span};
use crate::document::read::{At, Value};
use crate::layers::FileSystem;
use crate::plan::LayerKind;
use crate::values::names::{NetworkName, NodeName};
use crate::values::units::ByteSize;

/// What the checks of all layers together must know of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Property {
    /// Gives nodes devices, be there any below or not.
    Source,
    /// Stands on devices, and gives others: nothing of that sort stands on a file system.
    OnDevices,
    /// Makes one device of several. Of all layers that do, one can be there.
    Joins,
    /// A cluster file system: nothing stands on it, and of all of them one can be there.
    FileSystem,
    /// There can be several of its kind.
    Several,
    /// Has daemons in guests, which a `start` step starts again.
    Daemons,
    /// Its daemons are how other nodes reach a node's own disk.
    ServesDisks,
    /// Some layer below must be a [`Property::Source`].
    NeedsDevice,
    /// One of those layers must be below.
    Needs(&'static [LayerKind]),
}

/// A layer as written: the table under its key.
pub(crate) trait LayerTable: Value {
    /// What is decided of it.
    type Planned: Planned;
    const PROPERTIES: &'static [Property];

    /// Puts the layer on those below, with its nodes. `None` after a noted mistake.
    fn lower(
        &self,
        span: &Span,
        building: &mut Building<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<(Vec<NodeName>, Self::Planned)>;

    /// The TCP port on which it listens.
    fn port(&self) -> Option<&At<u16>> {
        None
    }

    /// The disk that it asks of nodes.
    fn disk(&self) -> Option<&At<ByteSize>> {
        None
    }

    /// The networks on which its nodes talk with each other; none: they do not, or only as layers below do.
    fn networks(&self) -> Vec<&At<NetworkName>> {
        Vec::new()
    }
}

/// A layer as decided.
pub(crate) trait Planned {
    /// See [`crate::Layer::parameters`].
    fn parameters(&self) -> Vec<(&'static str, String)>;

    /// The disk that it asks of nodes.
    fn disk(&self) -> Option<ByteSize> {
        None
    }

    /// The file system that it is, as steps use it.
    fn file_system(&self) -> Option<FileSystem> {
        None
    }

    /// The networks on which its nodes talk with each other: where it has several, one is enough.
    fn networks(&self) -> &[NetworkName] {
        &[]
    }

    /// Whether it has the power of a node cut that others do not hear of.
    fn fences(&self) -> bool {
        false
    }

    /// After how long its clients miss a request which went with a connection that they have replaced.
    fn requests_are_missed_after(&self) -> Duration {
        Duration::ZERO
    }

    /// The devices that it makes, on all nodes together. `on`: the layer's nodes.
    fn provided(&self, _on: &[NodeName]) -> Vec<Provided> {
        Vec::new()
    }
}

/// `key => Layer, what else its file makes public;` for each layer, in the order of the guide; before them a `$` for the
/// macro that is made of them.
macro_rules! catalog {
    (($d:tt) $($(#[$doc:meta])+ $key:ident => $name:ident $(, $also:ident)*;)+) => {
        $(pub use self::$key::{$name, $($also),*};)+

        /// One layer of the storage stack.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Layer {
            $($(#[$doc])+ $name($name),)+
        }

        impl Layer {
            /// Its key in a scenario file.
            pub const fn kind(&self) -> LayerKind {
                match self {
                    $(Self::$name(_) => LayerKind::$name,)+
                }
            }

            /// Every key of the layer with its value as a scenario file writes it, those that were left to their defaults too; in
            /// the order of the guide. A key without a value and without a default is left out, a `network` that is the first, and `on`,
            /// which the [`PlacedLayer`](crate::PlacedLayer) has: but where it means the servers. Lists are joined by commas.
            pub fn parameters(&self) -> Vec<(&'static str, String)> {
                match self {
                    $(Self::$name(layer) => layer.parameters(),)+
                }
            }

            /// The disk that it asks of the nodes that serve it.
            pub fn disk(&self) -> Option<ByteSize> {
                match self {
                    $(Self::$name(layer) => Planned::disk(layer),)+
                }
            }

            /// The cluster file system that it is, if it is one.
            pub fn file_system(&self) -> Option<FileSystem> {
                match self {
                    $(Self::$name(layer) => layer.file_system(),)+
                }
            }

            /// The networks on which its nodes talk with each other: where it has several, one is enough. None: they do not talk, or
            /// only as layers below do.
            pub fn networks(&self) -> &[NetworkName] {
                match self {
                    $(Self::$name(layer) => Planned::networks(layer),)+
                }
            }

            /// See [`Planned::fences`].
            pub(crate) fn fences(&self) -> bool {
                match self {
                    $(Self::$name(layer) => Planned::fences(layer),)+
                }
            }

            /// See [`Planned::requests_are_missed_after`].
            pub(crate) fn requests_are_missed_after(&self) -> Duration {
                match self {
                    $(Self::$name(layer) => Planned::requests_are_missed_after(layer),)+
                }
            }

            /// See [`Planned::provided`].
            pub(crate) fn provided(&self, on: &[NodeName]) -> Vec<Provided> {
                match self {
                    $(Self::$name(layer) => layer.provided(on),)+
                }
            }
        }

        /// Does the same with whatever layer it is: `each_layer!(&placed.layer, layer => layer.parameters())`.
        #[macro_export]
        macro_rules! each_layer {
            ($d layer:expr, $d it:ident => $d body:expr) => {
                match $d layer {
                    $($crate::Layer::$name($d it) => $d body,)+
                }
            };
        }

        /// The same for the type of each layer, as an array in the order of the guide:
        /// `each_layer_type!(Layer => size_of::<Layer>())`.
        #[macro_export]
        macro_rules! each_layer_type {
            ($d it:ident => $d body:expr) => {
                [$({
                    type $d it = $crate::$name;
                    $d body
                },)+]
            };
        }

        $crate::document::word::words! {
            /// The kinds of layers, as in scenario files.
            pub LayerKind, "layer", "layers", "a layer", r#""gnbd""# {
                $($(#[$doc])+ $name = stringify!($key),)+
            }
        }

        impl LayerKind {
            pub(crate) const fn properties(self) -> &'static [Property] {
                match self {
                    $(Self::$name => <self::$key::Written as LayerTable>::PROPERTIES,)+
                }
            }

            pub(crate) fn has(self, property: Property) -> bool {
                self.properties().contains(&property)
            }

            /// Whether it is a cluster file system: what nodes mount.
            pub fn is_file_system(self) -> bool {
                self.has(Property::FileSystem)
            }

            /// Whether it has daemons that a `start` step starts again.
            pub fn is_startable(self) -> bool {
                self.has(Property::Daemons)
            }

            /// Whether its daemons are how other nodes reach a node's own disk.
            pub fn serves_disks(self) -> bool {
                self.has(Property::ServesDisks)
            }

            /// Those that are so, in the order of the guide.
            pub(crate) fn with(property: Property) -> impl Iterator<Item = Self> {
                let kinds = <Self as $crate::document::word::Word>::WORDS.iter().map(|(_, kind)| *kind);
                kinds.filter(move |kind| kind.has(property))
            }

            /// One as it can be written.
            pub(crate) const fn example(self) -> &'static str {
                match self {
                    $(Self::$name => <self::$key::Written as Value>::EXAMPLE,)+
                }
            }
        }

        $crate::document::table::choice! {
            /// A layer as written.
            WrittenLayer, "layer", "layers" {
                $($key => $name(self::$key::Written),)+
            }
        }

        impl WrittenLayer {
            pub(crate) const fn kind(&self) -> LayerKind {
                match self {
                    $(Self::$name(_) => LayerKind::$name,)+
                }
            }

            /// See [`LayerTable::lower`].
            pub(crate) fn lower(
                &self,
                span: &$crate::diagnostic::Span,
                building: &mut Building<'_>,
                mistakes: &mut Mistakes,
            ) -> Option<(Vec<NodeName>, Layer)> {
                match self {
                    $(Self::$name(layer) => {
                        let (on, layer) = layer.lower(span, building, mistakes)?;
                        Some((on, Layer::$name(layer)))
                    })+
                }
            }

            /// See [`LayerTable::port`].
            pub(crate) fn port(&self) -> Option<&At<u16>> {
                match self {
                    $(Self::$name(layer) => LayerTable::port(layer),)+
                }
            }

            /// See [`LayerTable::disk`].
            pub(crate) fn disk(&self) -> Option<&At<ByteSize>> {
                match self {
                    $(Self::$name(layer) => LayerTable::disk(layer),)+
                }
            }

            /// See [`LayerTable::networks`].
            pub(crate) fn networks(&self) -> Vec<&At<NetworkName>> {
                match self {
                    $(Self::$name(layer) => LayerTable::networks(layer),)+
                }
            }
        }
    };
}

pub(crate) use catalog;
