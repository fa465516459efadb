//! `files` of a service: what becomes of requests for files.

use schemars::{Schema, json_schema};

use crate::config::read::{FromText, Wrong};
use crate::config::section::{read_section, section, words};
use crate::config::value::InRange;

section! {
    with defaults
    /// `files`: what becomes of requests for files.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct FilesConfig {
        /// How a file is written: under another name until it is whole, or under its own from the first byte.
        pub upload: UploadWay = UploadWay::Atomic,
        /// What the other name ends in.
        pub temp_suffix: String as TemporarySuffix = ".part".to_owned(),
        /// Whether a file may take the place of one that is there.
        pub overwrite: bool = true,
        /// Whether links are followed.
        pub links: LinkPolicy = LinkPolicy::Follow,
        /// The most entries of a listing; a longer one is broken off.
        pub list_limit: usize as InRange<1, 100_000_000> = 100_000,
    }
}

read_section!(FilesConfig);

words! {
    /// `files.upload`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum UploadWay ("a way to write a file") {
        /// Under a temporary name, which it has until it is whole.
        "atomic" => Atomic,
        /// Under its own name, for servers that let nobody rename.
        "direct" => Direct,
    }
}

words! {
    /// `files.links`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum LinkPolicy ("a way with links") {
        /// They stand for what they lead to.
        "follow" => Follow,
        /// A request for one is answered with 403.
        "refuse" => Refuse,
    }
}

/// `files.temp_suffix`.
struct TemporarySuffix(String);

impl From<TemporarySuffix> for String {
    fn from(suffix: TemporarySuffix) -> Self {
        suffix.0
    }
}

impl FromText for TemporarySuffix {
    const WHAT: &'static str = "the end of a file's name";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() || text.contains(|character: char| character == '/' || character.is_control()) {
            return Err(Wrong::new("no name of a file ends in this").help("write `.part`, say"));
        }
        if text.len() > LONGEST_SUFFIX {
            return Err(Wrong::new(format!("this is longer than {LONGEST_SUFFIX} bytes")).help("write `.part`, say"));
        }
        Ok(Self(text.to_owned()))
    }

    fn placeholder() -> Self {
        Self(".part".to_owned())
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": LONGEST_SUFFIX })
    }
}

/// A name has 255 bytes, and more of it than this should be the file's own.
const LONGEST_SUFFIX: usize = 64;
