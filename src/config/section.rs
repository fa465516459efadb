//! The declarations from which parser and JSON Schema are made, so that the two can't drift apart.

/// Declares a section of the file: a struct whose fields are its keys.
///
/// `field("key"): Type as Via = default` reads `key` (the field's own name unless one is given) as `Via` (`Type`
/// itself unless one is given), converts it, and takes the default if it is absent; without a default it is required.
/// The doc comments are the descriptions in the schema. After `with defaults`, the struct's `Default` is what an absent
/// section means.
macro_rules! section {
    (with defaults $($section:tt)*) => {
        section! { $($section)* }
        section! { @default $($section)* }
    };
    (
        @default
        $(#[doc = $about:literal])*
        $(#[derive($($derive:ident),*)])?
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])*
                $field_vis:vis $field:ident $(($key:literal))? : $type:ty $(as $via:ty)? = $default:expr
            ),* $(,)?
        }
    ) => {
        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),* }
            }
        }
    };
    (
        $(#[doc = $about:literal])*
        $(#[derive($($derive:ident),*)])?
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])*
                $field_vis:vis $field:ident $(($key:literal))? : $type:ty $(as $via:ty)? $(= $default:expr)?
            ),* $(,)?
        }
    ) => {
        $(#[doc = $about])*
        $(#[derive($($derive),*)])?
        $vis struct $name {
            $($(#[doc = $doc])* $field_vis $field: $type,)*
        }

        impl $name {
            /// Reads the fields; the caller closes the section.
            pub(in crate::config) fn from_fields(
                fields: &mut $crate::config::read::SectionFields<'_>,
                reader: &mut $crate::config::read::SectionReader<'_>,
            ) -> Result<Self, $crate::config::diagnostic::Reported> {
                // All fields are read before the first that is missing counts.
                $(let $field = section!(@read fields, reader, section!(@key $field $($key)?),
                    section!(@via $type $(, $via)?) $(, $default)?);)*
                Ok(Self { $($field: section!(@take $field, $type $(, $default)?)),* })
            }

            /// The keys, for the JSON Schema.
            pub(in crate::config) fn properties(
                generator: &mut schemars::SchemaGenerator,
            ) -> Vec<$crate::config::json_schema::Property> {
                vec![$($crate::config::json_schema::Property {
                    key: section!(@key $field $($key)?),
                    about: concat!($($doc, "\n"),*),
                    schema: <section!(@via $type $(, $via)?) as $crate::config::read::FromNode>::schema(generator),
                    required: section!(@required $($default)?),
                }),*]
            }
        }
    };
    (@key $field:ident $key:literal) => { $key };
    (@key $field:ident) => { stringify!($field) };
    (@via $type:ty, $via:ty) => { $via };
    (@via $type:ty) => { $type };
    (@required $default:expr) => { false };
    (@required) => { true };
    (@read $fields:ident, $reader:ident, $key:expr, $via:ty, $default:expr) => {
        $fields.optional::<$via>($key, $reader)
    };
    (@read $fields:ident, $reader:ident, $key:expr, $via:ty) => { $fields.required::<$via>($key, $reader) };
    (@take $field:ident, $type:ty, $default:expr) => { $field.map_or_else(|| $default, <$type>::from) };
    (@take $field:ident, $type:ty) => { <$type>::from($field?) };
}

/// Makes declared sections readable as they are: no check beyond that of each field.
macro_rules! read_section {
    ($($name:ident),*) => {$(
        impl $crate::config::read::FromNode for $name {
            fn from_node(
                node: &$crate::config::node::Node,
                reader: &mut $crate::config::read::SectionReader<'_>,
            ) -> Result<Self, $crate::config::diagnostic::Reported> {
                let mut fields = $crate::config::read::SectionFields::open(node, reader.report)?;
                let section = Self::from_fields(&mut fields, reader);
                fields.close(reader.report);
                section
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $crate::config::json_schema::object(Self::properties(generator))
            }
        }
    )*};
}

/// Declares a choice among words.
macro_rules! words {
    (
        $(#[doc = $about:literal])*
        $(#[derive($($derive:ident),*)])?
        $vis:vis enum $name:ident ($what:literal) {
            $( $(#[doc = $doc:literal])* $word:literal => $variant:ident ),* $(,)?
        }
    ) => {
        $(#[doc = $about])*
        $(#[derive($($derive),*)])?
        $vis enum $name {
            $($(#[doc = $doc])* $variant,)*
        }

        impl $name {
            const WORDS: &'static [&'static str] = &[$($word),*];
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let word = <Self as $crate::config::read::FromText>::from_text(text);
                word.map_err($crate::config::read::Wrong::in_one_line)
            }
        }

        impl $crate::config::read::FromText for $name {
            const WHAT: &'static str = $what;

            fn from_text(text: &str) -> Result<Self, $crate::config::read::Wrong> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    other => Err($crate::config::section::not_among(other, $what, Self::WORDS)),
                }
            }

            fn placeholder() -> Self {
                [$(Self::$variant),*][0]
            }

            fn schema() -> schemars::Schema {
                $crate::config::section::one_of(Self::WORDS)
            }
        }
    };
}

pub(super) use {read_section, section, words};

use schemars::{Schema, json_schema};

use super::read::Wrong;
use super::suggest::nearest;

/// Says that a text is none of the words, and which one is near.
pub(super) fn not_among(text: &str, what: &str, words: &[&str]) -> Wrong {
    // A number near another is no slip of the pen.
    let slip = nearest(text, words.iter().copied()).filter(|_| text.contains(char::is_alphabetic));
    let message = match slip {
        Some(meant) => format!("this is not {what}, did you mean \"{meant}\"?"),
        None => format!("this is not {what}"),
    };
    Wrong::new(message).help(format!("one of: {}", words.join(", ")))
}

/// The words as a schema. A version may be written as a number.
pub(super) fn one_of(words: &[&str]) -> Schema {
    let numbers: Vec<serde_json::Value> =
        words.iter().filter_map(|word| serde_json::from_str(word).ok()).filter(serde_json::Value::is_number).collect();
    let words = words.iter().map(|&word| word.into());
    json_schema!({ "enum": words.chain(numbers).collect::<Vec<serde_json::Value>>() })
}
