//! What the config says of the files of a service.

/// `files:` of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileOptions {
    pub(crate) upload: UploadMode,
    pub(crate) temp_suffix: String,
    pub(crate) overwrite: bool,
    pub(crate) links: Links,
    /// As many names at the front of a path are those of the service's URL: whether they are links is not asked.
    pub(crate) names_of_config: usize,
    pub(crate) list_limit: usize,
    /// What files have at the end of their names at the partner, and not for apps.
    pub(crate) name_suffix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UploadMode {
    /// Under a temporary name first.
    Atomic,
    Direct,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    Follow,
    Refuse,
}
