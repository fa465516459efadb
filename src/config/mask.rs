//! Which parts of the config's text are never drawn.
//!
//! Where the text parses, secrets are found by the keys of the tree, at any depth, behind aliases and in the places
//! that nobody reads (`x-…`). Where it does not parse, a rule over the bare text hides rather too much than too
//! little. The user part, the query and the fragment of a URL are hidden everywhere.

use std::ops::Range;

use super::node::{MappingEntry, Node, Value, is_reference};
use super::pasted;
use super::suggest::distance;
use super::value::Span;

/// Masks the secrets of a tree.
pub(super) fn of_tree(tree: &Node, mask: &mut impl FnMut(Span)) {
    for section in tree.entries().unwrap_or_default() {
        let entries = section.value.entries().unwrap_or_default();
        match section.key.text.as_str() {
            "services" => entries.iter().for_each(|service| service_entries(&service.value, mask)),
            "certificates" => entries.iter().for_each(|entry| certificate(&entry.value, mask)),
            // Its `headers` is a number.
            "limits" => {}
            _ => of_entry(section, mask),
        }
    }
}

/// Masks what is a key or a token by its look, and what stands for the name of a variable and can't be one, wherever it is.
pub(super) fn of_pasted(node: &Node, mask: &mut impl FnMut(Span)) {
    match &node.value {
        Value::Null => {}
        Value::Scalar(scalar) if pasted::is_credential(&scalar.text) => mask(node.defined),
        Value::Scalar(_) => {}
        Value::Sequence(items) => items.iter().for_each(|item| of_pasted(item, mask)),
        Value::Mapping(entries) => entries.iter().for_each(|entry| {
            if pasted::is_credential(&entry.key.text) {
                mask(entry.key.defined);
            }
            match entry.value.scalar() {
                Some(name) if entry.key.text == "env" && !pasted::is_variable_name(&name.text) => {
                    mask(entry.value.defined);
                }
                _ => of_pasted(&entry.value, mask),
            }
        }),
    }
}

/// PEM in a text of any kind: up to the end of the line that ends it, or all that follows where none does.
pub(super) fn of_pem(text: &str) -> Vec<Range<usize>> {
    let begins = text.match_indices(pasted::PEM).map(|(begin, _)| begin);
    let end = |begin: usize| {
        let last = text[begin..].find("-----END").map(|at| begin + at)?;
        Some(last + text[last..].find('\n')?)
    };
    begins.map(|begin| begin..end(begin).unwrap_or(text.len())).collect()
}

/// Masks every scalar of a node and the keys of its mappings, but for the words of a reference.
pub(super) fn all(node: &Node, mask: &mut impl FnMut(Span)) {
    match &node.value {
        Value::Null => {}
        Value::Scalar(_) => mask(node.defined),
        Value::Sequence(items) => items.iter().for_each(|item| all(item, mask)),
        Value::Mapping(entries) if is_reference(entries) => {
            entries.iter().filter(|entry| entry.key.text == "default").for_each(|entry| all(&entry.value, mask));
        }
        Value::Mapping(entries) if names_a_field(entries) => {}
        Value::Mapping(entries) => entries.iter().for_each(|entry| {
            mask(entry.key.defined);
            all(&entry.value, mask);
        }),
    }
}

/// A service's `headers` hold `set` and `remove`; elsewhere `headers` holds the values themselves.
fn service_entries(service: &Node, mask: &mut impl FnMut(Span)) {
    for key in service.entries().unwrap_or_default() {
        match key.key.text.as_str() {
            "headers" | "response_headers" => {
                key.value.entries().unwrap_or_default().iter().for_each(|inner| of_entry(inner, mask));
            }
            _ => of_entry(key, mask),
        }
    }
}

/// A JWT that is described is no secret; one that is written out is.
fn assertion(node: &Node, mask: &mut impl FnMut(Span)) {
    match node.entries() {
        Some(_) => certificate(node, mask),
        None => all(node, mask),
    }
}

/// The `key` of a certificate, and of an assertion, is a path.
fn certificate(node: &Node, mask: &mut impl FnMut(Span)) {
    node.entries()
        .unwrap_or_default()
        .iter()
        .filter(|inner| inner.key.text != "key")
        .for_each(|inner| of_entry(inner, mask));
}

/// Masks the secrets of a key and its value.
pub(super) fn of_entry(entry: &MappingEntry, mask: &mut impl FnMut(Span)) {
    let key = entry.key.text.as_str();
    if ASSERTIONS.contains(&key) {
        assertion(&entry.value, mask);
    } else if VALUES.contains(&key) {
        values(&entry.value, mask);
    } else if is_secret(key) {
        all(&entry.value, mask);
    } else if key == "auth" || key.starts_with("x-") {
        // A method is a mapping: a bare text here is a credential in the wrong place. One that is put aside may be
        // the credential of many.
        bare(&entry.value, mask);
        methods(&entry.value).iter().filter(|method| !has_type(method)).for_each(|method| beside_type(method, mask));
    } else {
        inner(&entry.value, mask);
    }
}

fn methods(node: &Node) -> &[Node] {
    match &node.value {
        Value::Sequence(methods) => methods.as_slice(),
        _ => std::slice::from_ref(node),
    }
}

fn has_type(method: &Node) -> bool {
    method.entry("type").is_some_and(|entry| matches!(entry.value.value, Value::Scalar(_) | Value::Mapping(_)))
}

/// Masks the values of a method that is not known: nobody can tell which of them are secret.
pub(super) fn beside_type(method: &Node, mask: &mut impl FnMut(Span)) {
    for entry in method.entries().unwrap_or_default().iter().filter(|entry| entry.key.text != "type") {
        // A key without a value may be a value without its key.
        if matches!(entry.value.value, Value::Null) {
            mask(entry.key.defined);
        }
        all(&entry.value, mask);
    }
}

fn inner(node: &Node, mask: &mut impl FnMut(Span)) {
    match &node.value {
        Value::Mapping(entries) => entries.iter().for_each(|inner| of_entry(inner, mask)),
        Value::Sequence(items) => items.iter().for_each(|item| inner(item, mask)),
        Value::Null | Value::Scalar(_) => {}
    }
}

fn bare(node: &Node, mask: &mut impl FnMut(Span)) {
    match &node.value {
        Value::Scalar(_) => mask(node.defined),
        Value::Sequence(items) => items.iter().for_each(|item| bare(item, mask)),
        Value::Null | Value::Mapping(_) => inner(node, mask),
    }
}

/// The names of fields may be shown, their values may not.
fn values(node: &Node, mask: &mut impl FnMut(Span)) {
    match node.entries() {
        Some(entries) => entries.iter().for_each(|inner| all(&inner.value, mask)),
        None => all(node, mask),
    }
}

/// Whether a secret is said to come with each request.
fn names_a_field(entries: &[MappingEntry]) -> bool {
    matches!(entries, [entry] if entry.key.text == "from_header")
}

/// Whether what stands at this key, or below it, may be secret.
pub(super) fn may_hold_a_secret(key: &str) -> bool {
    VALUES.contains(&key) || key == "auth" || is_secret(key)
}

/// Whether a key holds a secret, misspelt ones included.
fn is_secret(key: &str) -> bool {
    let word = plain(key);
    if NO_SECRET.contains(&word.as_str()) {
        return false;
    }
    // Most keys are told apart by their lengths alone.
    let misspelt = |secret: &&str| {
        word.len() > 4 && word.len().abs_diff(secret.len()) <= SLIPS && distance(&word, secret) <= SLIPS
    };
    PARTS.iter().any(|part| word.contains(part)) || word.ends_with("key") || PARTS.iter().any(misspelt)
}

fn plain(key: &str) -> String {
    key.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// The user part, the query and the fragment of every URL in a text.
pub(super) fn of_urls(text: &str) -> Vec<Range<usize>> {
    let mut masks = Vec::new();
    for (start, _) in text.match_indices("://") {
        let start = start + 3;
        let length = text[start..].find(|end: char| end.is_whitespace() || "\"'<>".contains(end));
        let url = &text[start..length.map_or(text.len(), |length| start + length)];
        if let Some(at) = url.rfind('@') {
            masks.push(start..start + at);
        }
        if let Some(query) = url.find(['?', '#']) {
            masks.push(start + query + 1..start + url.len());
        }
    }
    masks
}

/// Comments that look as if a secret was put out of use with them.
pub(super) fn of_comments(text: &str) -> Vec<Range<usize>> {
    let mut masks = Vec::new();
    for (start, line) in lines(text) {
        let comment = line.find('#').filter(|&at| line[..at].chars().next_back().is_none_or(char::is_whitespace));
        if let Some(value) = comment.and_then(|at| Some(at + secret_value(&line[at..])?)) {
            masks.push(start + value..start + line.len());
        }
    }
    masks
}

/// What may be secret in a text that is no YAML: after a key that may hold one, the rest of the line and all that may
/// belong to it.
pub(super) fn of_text(text: &str) -> Vec<Range<usize>> {
    let mut masks = Vec::new();
    let mut secret_depth = None;
    for (start, line) in lines(text) {
        let depth = line.len() - line.trim_start().len();
        let belongs = secret_depth.is_some_and(|secret| depth > secret || next_key(line, 0).is_none());
        if belongs {
            masks.push(start..start + line.len());
            continue;
        }
        secret_depth = None;
        if let Some(value) = secret_value(line).or_else(|| credential(line)) {
            masks.push(start + value..start + line.len());
            secret_depth = Some(depth);
            if is_open_quote(&line[value..]) {
                masks.push(start + value..text.len());
                break;
            }
        }
    }
    masks
}

/// Where a word begins that is a key or a token by its look.
fn credential(line: &str) -> Option<usize> {
    let ends = |character: char| character.is_whitespace() || "\"'{}[],".contains(character);
    let mut start = 0;
    line.split_inclusive(ends).find_map(|word| {
        let place = start;
        start += word.len();
        pasted::is_credential(word.trim_end_matches(ends)).then_some(place)
    })
}

/// Where the value of the line's first key that may hold a secret begins.
fn secret_value(line: &str) -> Option<usize> {
    let mut from = 0;
    while let Some((key, value)) = next_key(line, from) {
        let bare = |first: char| first.is_alphanumeric() || matches!(first, '"' | '\'');
        let bare_method = key == "auth" && line[value..].trim_start().starts_with(bare);
        if is_secret(key) || VALUES.contains(&plain(key).as_str()) || bare_method {
            return Some(value);
        }
        from = value;
    }
    None
}

/// The next `key:` of a line, and where its value begins.
fn next_key(line: &str, from: usize) -> Option<(&str, usize)> {
    let colon = from + line[from..].find([':', '='])?;
    let before = line[from..colon].trim_end().trim_end_matches(['"', '\'']);
    let start = before
        .rfind(|letter: char| !(letter.is_alphanumeric() || "_-".contains(letter)))
        .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    Some((&before[start..], colon + 1))
}

fn is_open_quote(value: &str) -> bool {
    let value = value.trim_start();
    let Some(quote) = value.chars().next().filter(|first| matches!(first, '"' | '\'')) else { return false };
    !value[1..].contains(quote)
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    text.split_inclusive('\n').map(move |line| {
        let place = start;
        start += line.len();
        (place, line.trim_end_matches(['\n', '\r']))
    })
}

/// Keys whose value is a mapping of names to secrets.
const VALUES: [&str; 3] = ["set", "headers", "params"];

/// Keys that describe a JWT.
const ASSERTIONS: [&str; 2] = ["assertion", "client_assertion"];

/// As many slips make a word of [`PARTS`] misspelt, and no other word.
const SLIPS: usize = 2;

/// What a key that holds a secret is named, or contains.
const PARTS: [&str; 13] = [
    "secret",
    "token",
    "password",
    "passphrase",
    "passwd",
    "pwd",
    "credential",
    "apikey",
    "authorization",
    "clientsecret",
    "authtoken",
    "refreshtoken",
    "assertion",
];

/// Keys that contain such a word but hold no secret.
const NO_SECRET: [&str; 15] = [
    "clientkey",
    "hostkey",
    "privatekey",
    "subjecttokentype",
    "actortokentype",
    "requestedtokentype",
    "tokenurl",
    "tokenfile",
    "tokenheader",
    "tokenprefix",
    "allowplaintextcredentials",
    "onclientauthorization",
    "clientassertionaudience",
    "tokencache",
    "onunauthorized",
];
