//! The notation of a scenario's tables: a struct that mirrors a TOML table, written once, gives its reader (unknown,
//! missing and mistyped keys are all noted) and its JSON Schema.

/// `key: Type, required EXAMPLE;`, `key: Type, default VALUE;`, `key: Type, optional;` or `name: Choice, one_of;`. Every
/// field becomes a [`crate::document::read::Field`].
macro_rules! table {
    (
        $(#[doc = $doc:literal])+
        $name:ident, $what:literal, $example:literal {
            $($(#[doc = $key_doc:literal])+ $key:ident: $type:ty, $how:ident $($given:expr)?;)*
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        pub(crate) struct $name {
            $($(#[doc = $key_doc])+ pub(crate) $key: $crate::document::read::Field<$type>,)*
        }

        impl $crate::document::read::Value for $name {
            const WANTED: &'static str = "a table";
            const EXAMPLE: &'static str = $example;

            fn read(
                value: &::toml::Spanned<::toml::de::DeValue<'_>>,
                mistakes: &mut $crate::diagnostic::Mistakes,
            ) -> Option<Self> {
                let table = $crate::document::read::Table::open::<Self>($what, value, mistakes)?;
                let mut keys = $crate::document::read::Keys::default();
                $($crate::document::table::field!(keys keys, $how, $key, $type);)*
                table.refuse_unknown(&keys, mistakes);
                Some(Self {
                    $($key: $crate::document::table::field!(read table, mistakes, $how, $key, $type $(, $given)?),)*
                })
            }

            fn schema() -> ::serde_json::Value {
                let mut schema = $crate::document::read::TableSchema::new(concat!($($doc, "\n"),+));
                $($crate::document::table::field!(
                    schema schema, concat!($($key_doc, "\n"),+), $how, $key, $type $(, $given)?
                );)*
                schema.finish()
            }
        }
    };
}

macro_rules! field {
    (keys $keys:ident, one_of, $key:ident, $type:ty) => {
        $keys.choice::<$type>()
    };
    (keys $keys:ident, $how:ident, $key:ident, $type:ty) => {
        $keys.key(stringify!($key))
    };
    (read $table:ident, $mistakes:ident, one_of, $key:ident, $type:ty) => {
        <$type as $crate::document::read::Choice>::read_one(&$table, $mistakes)
    };
    (read $table:ident, $mistakes:ident, default, $key:ident, $type:ty, $default:expr) => {
        $table.default::<$type>(stringify!($key), $default, $mistakes)
    };
    (read $table:ident, $mistakes:ident, required, $key:ident, $type:ty, $example:expr) => {
        $table.required::<$type>(stringify!($key), $example, $mistakes)
    };
    (read $table:ident, $mistakes:ident, optional, $key:ident, $type:ty) => {
        $table.optional::<$type>(stringify!($key), $mistakes)
    };
    (schema $schema:ident, $doc:expr, one_of, $key:ident, $type:ty) => {
        $schema.choice::<$type>()
    };
    (schema $schema:ident, $doc:expr, default, $key:ident, $type:ty, $default:expr) => {
        $schema.key::<$type>(stringify!($key), $doc, false, Some(&$default))
    };
    (schema $schema:ident, $doc:expr, required, $key:ident, $type:ty, $example:expr) => {
        $schema.key::<$type>(stringify!($key), $doc, true, None)
    };
    (schema $schema:ident, $doc:expr, optional, $key:ident, $type:ty) => {
        $schema.key::<$type>(stringify!($key), $doc, false, None)
    };
}

/// An enum of tables or other values, each under its own key: exactly one stands in an entry.
macro_rules! choice {
    ($(#[$doc:meta])+ $name:ident, $what:literal, $plural:literal {
        $($(#[doc = $key_doc:literal])* $key:ident => $variant:ident($table:ty),)+
    }) => {
        $(#[$doc])+
        #[derive(Debug, Clone)]
        pub(crate) enum $name {
            $($(#[doc = $key_doc])* $variant($table),)+
        }

        impl $crate::document::read::Choice for $name {
            const WHAT: (&'static str, &'static str) = ($what, $plural);
            const KEYS: &'static [&'static str] = &[$(stringify!($key)),+];

            fn read_one(
                table: &$crate::document::read::Table<'_>,
                mistakes: &mut $crate::diagnostic::Mistakes,
            ) -> $crate::document::read::Field<Self> {
                let key = table.chosen::<Self>(mistakes)?;
                $(if key == stringify!($key) {
                    let found: $crate::document::read::Field<$table> = table.optional(key, mistakes);
                    return found.map(|found| $crate::document::read::At { value: Self::$variant(found.value), span: found.span });
                })+
                None
            }

            fn properties() -> ::serde_json::Map<String, ::serde_json::Value> {
                let describe = |mut schema: ::serde_json::Value, doc: &str| {
                    // A table describes itself.
                    if !doc.is_empty() {
                        schema["description"] = doc.trim().into();
                    }
                    schema
                };
                [$((
                    stringify!($key).to_owned(),
                    describe(<$table as $crate::document::read::Value>::schema(), concat!("" $(, $key_doc, "\n")*)),
                )),+].into_iter().collect()
            }
        }
    };
}

pub(crate) use {choice, field, table};
