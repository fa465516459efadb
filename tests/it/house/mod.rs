//! The plan of the house, checked on the source: who may use whom, and what has no place here.

mod circles;
mod examples;
mod names;

use std::fs;
use std::path::{Path, PathBuf};

/// Floors from the ground up. A file may name its own room and those of floors below, nothing beside it or above.
const FLOORS: [&[&str]; 12] = [
    GROUND,
    &["config"],
    &["tls", "route", "files", "openpgp"],
    &["transport"],
    &["credential", "upstream"],
    &["snapshot"],
    &["reload"],
    &["proxy"],
    &["admin"],
    &["server"],
    &["demo"],
    &["cli"],
];

/// The ground floor is one room.
const GROUND: &[&str] = &[
    "aside",
    "secret",
    "name",
    "code",
    "clock",
    "bearer",
    "deadline",
    "digest",
    "blocking",
    "coalesced_writes",
    "guard",
    "hex",
    "incoming",
    "legible",
    "locked",
    "raw_query",
    "spelling",
    "telemetry",
    "heap",
];

/// The map of the house, the other crate, and the door for benches and fuzz targets.
const OUTSIDE: [&str; 5] = ["lib.rs", "main.rs", "bench/mod.rs", "bench/fuzz.rs", "bench/tests.rs"];

const DRAWERS: [&str; 7] = ["util", "utils", "helper", "helpers", "common", "shared", "misc"];

/// Where bytes become values and values bytes; `/` at the end: the whole folder.
const SERDE: &[&str] = &[
    "config/",
    "credential/oauth2/",
    "proxy/problem.rs",
    "admin/",
    "demo/",
    "cli/check.rs",
    "cli/healthcheck.rs",
    "cli/token.rs",
    "files/listing.rs",
];

/// What goes wrong there goes wrong for a request, so that nothing may be read out of bounds without a reason.
const ON_A_REQUESTS_PATH: [&str; 5] = ["transport", "upstream", "proxy", "admin", "server"];

const LONGEST_FILE: usize = 450;

#[test]
fn a_file_uses_only_its_own_room_and_the_floors_below() {
    let mut paths = 0;

    for file in sources() {
        let Some(room) = room(&file.name) else { continue };
        for path in file.paths() {
            paths += 1;
            if let Err(why) = allowed(room, &path) {
                panic!("src/{}:{}: {why}", file.name, path.line);
            }
        }
    }

    assert!(paths > 20, "found only {paths} paths: the reader of sources is broken");
}

#[test]
fn every_file_stands_in_a_room_of_the_plan() {
    for file in sources() {
        let known = OUTSIDE.contains(&&*file.name) || room(&file.name).is_some_and(|room| floor(room).is_some());
        assert!(known, "src/{} is in no room of the plan", file.name);
    }
}

#[test]
fn there_are_no_drawers() {
    for file in sources() {
        let drawer = file.name.split(['/', '.']).find(|part| DRAWERS.contains(part));
        assert_eq!(drawer, None, "src/{}: what is in it has a better place", file.name);
    }
}

#[test]
fn no_file_is_too_long_to_read() {
    let lengths = sources().into_iter().map(|file| (file.text.lines().count(), file.name));
    let too_long: Vec<_> = lengths.filter(|(lines, _)| *lines > LONGEST_FILE).collect();
    assert!(too_long.is_empty(), "{too_long:?}");
}

#[test]
fn what_can_not_fail_says_why() {
    let calls = [".unwrap()", ".expect(", "unreachable!", "panic!"];
    let mut seen = 0;
    for file in sources().iter().filter(|file| !OUTSIDE.contains(&&*file.name)) {
        for at in calls.iter().flat_map(|call| file.places(call)).filter(|at| !file.is_test(*at)) {
            seen += 1;
            assert!(file.has_invariant_above(at), "src/{}:{}: no `// Invariant:` above", file.name, file.line(at));
        }
    }
    assert!(seen > 10, "found only {seen} of them: the reader of sources is broken");
}

#[test]
fn nothing_is_left_to_be_done() {
    for file in sources() {
        let left = ["todo!", "unimplemented!"].iter().flat_map(|call| file.places(call)).next();
        assert_eq!(left.map(|at| file.line(at)), None, "src/{}", file.name);
    }
}

#[test]
fn on_a_requests_path_nothing_is_indexed_without_a_reason() {
    let mut seen = 0;
    for file in sources().iter().filter(|file| room(&file.name).is_some_and(|room| ON_A_REQUESTS_PATH.contains(&room)))
    {
        for at in file.indexing().into_iter().filter(|at| !file.is_test(*at)) {
            seen += 1;
            assert!(file.has_invariant_above(at), "src/{}:{}: no `// Invariant:` above", file.name, file.line(at));
        }
    }
    assert!(seen > 10, "found only {seen} of them: the reader of sources is broken");
}

#[test]
fn every_entry_of_the_lists_is_in_use() {
    let files = sources();
    let stands = |place: &str| files.iter().any(|file| is_at(&file.name, place));
    for room in FLOORS.iter().copied().flatten().chain(&ON_A_REQUESTS_PATH) {
        assert!(stands(&format!("{room}/")) || stands(&format!("{room}.rs")), "there is no room `{room}`");
    }
    for place in OUTSIDE.iter().chain(SERDE) {
        assert!(stands(place), "there is no src/{place}");
    }
    for place in SERDE {
        let uses = |file: &&Source| file.places("serde").into_iter().any(|at| !file.is_test(at));
        let used = files.iter().filter(|file| is_at(&file.name, place)).any(|file| uses(&file));
        assert!(used, "nothing in src/{place} is read or written");
    }
}

#[test]
fn values_are_read_and_written_in_few_places() {
    for file in sources() {
        if !SERDE.iter().any(|place| is_at(&file.name, place)) {
            let found = file.places("serde").into_iter().find(|at| !file.is_test(*at));
            assert_eq!(found.map(|at| file.line(at)), None, "serde in src/{}", file.name);
        }
    }
}

#[test]
fn transport_starts_no_task() {
    for file in sources().iter().filter(|file| file.name.starts_with("transport/")) {
        let found = file.places("spawn").into_iter().find(|at| !file.is_test(*at));
        assert_eq!(found.map(|at| file.line(at)), None, "spawn in src/{}", file.name);
    }
}

/// A task whose end nobody hears of may be one that the process can't do without.
#[test]
fn the_server_starts_its_tasks_and_threads_in_one_place() {
    let mut starts = 0;
    for file in sources().iter().filter(|file| file.name.starts_with("server/") && file.name != "server/trial.rs") {
        let calls = ["spawn_local(", "spawn(", "thread::Builder"].iter().flat_map(|call| file.places(call));
        for at in calls.filter(|at| !file.is_test(*at)) {
            assert_eq!(file.name, "server/vital.rs", "src/{}:{} starts what may die unheard", file.name, file.line(at));
            starts += 1;
        }
    }
    assert!(starts > 2, "found only {starts}: the reader of sources is broken");
}

#[test]
fn the_right_to_publish_is_given_by_the_life_of_the_process_alone() {
    let given: Vec<_> = sources()
        .iter()
        .flat_map(|file| file.places("RightToPublish for").into_iter().map(|_| file.name.clone()).collect::<Vec<_>>())
        .collect();

    assert_eq!(given, ["server/lifecycle.rs", "snapshot/mod.rs"], "the second is for tests and benchmarks");
}

#[test]
fn the_reader_of_sources_sees_what_it_should() {
    let text = r#"
        use crate::{config, route::{self, Table}};
        // crate::comment "
        const TEXT: &str = "crate::string";
        fn f<'a>(c: char) -> crate::tls::Leaf { if c == '"' { super::super::name::parse(); super::sibling() } }
        #[cfg(test)]
        mod tests { use super::super::super::demo; use crate::demo::idp; }
    "#;
    let file = Source::new("proxy/view.rs".to_owned(), text.to_owned());

    let seen: Vec<_> = file.paths().into_iter().map(|path| (path.room, path.in_test)).collect();

    let outside = ["config", "route", "tls", "name"].map(|room| (room.to_owned(), false));
    let tests = ["demo", "demo"].map(|room| (room.to_owned(), true));
    assert_eq!(seen, [&outside[..], &tests].concat());
}

fn allowed(room: &str, path: &CratePath) -> Result<(), String> {
    // `crate::Type` and `crate::macro!` are the crate's own face, in `lib.rs`: nothing is there to be used.
    let used = floor(&path.room).ok_or_else(|| format!("crate::{} is no room", path.room))?;
    let here = floor(room).ok_or_else(|| format!("{room} is no room"))?;
    let own = room == path.room || (used, here) == (0, 0);
    if own || used < here || path.in_test && path.room == "demo" {
        return Ok(());
    }
    Err(format!("{room} (floor {here}) may not use {} (floor {used})", path.room))
}

/// `/` at the end of a place: the whole folder.
fn is_at(file: &str, place: &str) -> bool {
    file == place || place.ends_with('/') && file.starts_with(place)
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn room(file: &str) -> Option<&str> {
    let first = file.split('/').next()?;
    (!OUTSIDE.contains(&file)).then(|| first.trim_end_matches(".rs"))
}

/// All files of `src`.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let name = |path: &PathBuf| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    let read = |path: &PathBuf| Source::new(name(path), fs::read_to_string(path).unwrap());
    let mut sources: Vec<_> = files.iter().map(read).collect();
    assert!(sources.len() > 10, "found only {} files in {}", sources.len(), root.display());
    let tests: Vec<_> = sources.iter().flat_map(Source::test_files).collect();
    for source in &mut sources {
        source.is_test = tests.iter().any(|test| source.name.starts_with(test));
    }
    sources
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            _ if path.is_dir() => collect(&path, files),
            Some(extension) if extension == "rs" => files.push(path),
            _ => {}
        }
    }
}

/// A path that starts at the crate: its first segment, and where it is.
struct CratePath {
    room: String,
    line: usize,
    in_test: bool,
}

struct Source {
    /// Relative to `src`.
    name: String,
    text: String,
    /// The text with comments and literals blanked out, byte for byte as long.
    code: String,
    modules: Vec<Module>,
    /// Whether all of it is compiled for tests only.
    is_test: bool,
}

/// A module inside a file: the bytes from its brace to the closing one.
struct Module {
    start: usize,
    end: usize,
    is_test: bool,
}

impl Source {
    fn new(name: String, text: String) -> Self {
        let code = without_literals(&text);
        let modules = inner_modules(&code);
        Self { name, text, code, modules, is_test: false }
    }

    /// Beginnings of the names of files that this one declares as `#[cfg(test)] mod name;`.
    fn test_files(&self) -> Vec<String> {
        let (folder, file) = self.name.rsplit_once('/').unwrap_or(("", &self.name));
        let stem = file.trim_end_matches(".rs");
        let inside =
            if ["mod", "lib", "main"].contains(&stem) { folder.to_owned() } else { format!("{folder}/{stem}") };
        let declared = self.places("mod ").into_iter().filter_map(|at| {
            let name = identifier(&self.code[at + 4..]);
            // What the fuzz targets play beside the tests is no part of the program either; the demo is.
            let only_for = ["#[cfg(test)]", "#[cfg(any(test, feature = \"bench\"))]"];
            let attributes = &self.text[at - attributes(&self.code, at).len()..at];
            let is_test = only_for.iter().any(|only| attributes.contains(only));
            (is_test && self.code[at + 4 + name.len()..].starts_with(';')).then_some(name)
        });
        let path = |name: String| format!("{inside}/{name}").trim_start_matches('/').to_owned();
        declared.flat_map(|name| [path(format!("{name}.rs")), path(format!("{name}/"))]).collect()
    }

    /// Every path into another part of the crate: `crate::…`, grouped or not, and `super::…` that leaves the room.
    fn paths(&self) -> Vec<CratePath> {
        let from_crate = self.places("crate::").into_iter().map(|at| (at, at + "crate::".len()));
        let from_super = self.places("super::").into_iter().filter_map(|at| Some((at, self.leaving(at)?)));
        let mut starts: Vec<_> = from_crate.chain(from_super).collect();
        starts.sort_unstable();
        starts.into_iter().flat_map(|(at, rest)| self.first_segments(at, &self.code[rest..])).collect()
    }

    fn first_segments(&self, at: usize, rest: &str) -> Vec<CratePath> {
        let path = |room: String| CratePath { room, line: self.line(at), in_test: self.is_test(at) };
        let names = if rest.starts_with('{') { group(rest) } else { vec![identifier(rest)] };
        names.into_iter().filter(|name| name != "self").map(path).collect()
    }

    /// Where a run of `super::` ends, if it goes up to the crate itself.
    fn leaving(&self, at: usize) -> Option<usize> {
        if self.code[..at].ends_with("super::") {
            return None; // in the middle of a run
        }
        let run = self.code[at..].split("super::").take_while(|part| part.is_empty()).count();
        let file = self.name.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count();
        let depth = file + self.modules.iter().filter(|module| module.has(at)).count();
        (run >= depth).then(|| at + run * "super::".len())
    }

    fn places(&self, wanted: &str) -> Vec<usize> {
        self.code.match_indices(wanted).map(|(at, _)| at).collect()
    }

    fn is_test(&self, at: usize) -> bool {
        self.is_test || self.modules.iter().any(|module| module.is_test && module.has(at))
    }

    fn has_invariant_above(&self, at: usize) -> bool {
        let line = self.line(at);
        self.text.lines().take(line).skip(line.saturating_sub(8)).any(|line| line.contains("// Invariant:"))
    }

    /// Where an element or a part of something is taken that must be there: a `[` right after a value.
    fn indexing(&self) -> Vec<usize> {
        let places = self.places("[").into_iter().filter(|at| {
            let before = &self.code[..*at];
            let is_value =
                before.ends_with(|last: char| last.is_alphanumeric() || matches!(last, '_' | ')' | ']' | '?'));
            let word = before.rsplit(|letter: char| !letter.is_alphanumeric() && letter != '_').next();
            // All of it is always there.
            is_value && !self.code[*at..].starts_with("[..]") && !matches!(word, Some("mut" | "dyn" | "in"))
        });
        places.collect()
    }

    /// Counts from 1.
    fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }
}

impl Module {
    fn has(&self, at: usize) -> bool {
        (self.start..self.end).contains(&at)
    }
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// The names at the start of each path of a group: `{a, b::{c, d}}` has `a` and `b`.
fn group(text: &str) -> Vec<String> {
    let mut depth = 0;
    let mut names = Vec::new();
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(letter, '{' | ',') {
            names.push(identifier(text[at + 1..].trim_start()));
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// `mod name { … }` with the attributes right before it.
fn inner_modules(code: &str) -> Vec<Module> {
    let starts = code.match_indices("mod ").filter(|(at, _)| !code[..*at].ends_with('_'));
    let module = |(at, _): (usize, &str)| {
        let name = identifier(&code[at + 4..]);
        let start = at + 4 + name.len();
        let body = code[start..].trim_start().strip_prefix('{')?;
        let end = start + closing_brace(&code[start..]);
        let is_test = attributes(code, at).contains("#[cfg(test)]");
        (!name.is_empty() && !body.is_empty()).then_some(Module { start, end, is_test })
    };
    starts.filter_map(module).collect()
}

/// What stands between the item before and `at`.
fn attributes(code: &str, at: usize) -> &str {
    let start = code[..at].rfind([';', '}', '{']).map_or(0, |end| end + 1);
    &code[start..at]
}

fn closing_brace(text: &str) -> usize {
    let mut depth = 0;
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 1 => return at,
            '}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// Blanks out comments, strings and characters, so that what is left is code.
fn without_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let length = literal(rest);
        if length > 0 {
            code.extend(rest[..length].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        } else {
            let letter = rest.chars().next().unwrap();
            let word = if letter.is_alphanumeric() || letter == '_' { identifier(rest).len() } else { 0 };
            // A raw string begins with a letter; any other word is taken whole, so that its end is no beginning.
            let taken = if matches!(&rest[..word], "r" | "br") { 1 } else { word.max(letter.len_utf8()) };
            code.push_str(&rest[..taken]);
            rest = &rest[taken..];
        }
    }
    code
}

/// The length of the comment or literal that `text` starts with; 0 if it starts with code.
fn literal(text: &str) -> usize {
    let to = |end: Option<usize>, delimiter: usize| end.map_or(text.len(), |end| end + delimiter);
    if text.starts_with("//") {
        return to(text.find('\n'), 0);
    }
    if text.starts_with("/*") {
        return to(text.find("*/"), 2);
    }
    if let Some(raw) = text.strip_prefix("r").filter(|raw| raw.starts_with(['"', '#'])) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let end = format!("\"{}", "#".repeat(hashes));
        return if raw[hashes..].starts_with('"') {
            to(text[hashes + 2..].find(&end).map(|at| at + hashes + 2), end.len())
        } else {
            0
        };
    }
    if text.starts_with('"') {
        return quoted(text, '"').unwrap_or(text.len());
    }
    // A lifetime has no closing quote right after it.
    let character = text.strip_prefix('\'').and_then(|rest| {
        let letter = rest.chars().next()?;
        (letter == '\\' || rest[letter.len_utf8()..].starts_with('\'')).then(|| quoted(text, '\''))
    });
    character.flatten().unwrap_or(0)
}

fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            _ if letter == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}
