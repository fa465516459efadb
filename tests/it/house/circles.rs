//! Circles of files that import from each other: whoever reads one of them has to read all.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, identifier, sources};

/// Two or three that belong together may name each other; more of them are one file in disguise.
const LARGEST_CIRCLE: usize = 3;

/// Circles that are still to be taken apart, by one of their files.
const KNOWN: &[&str] = &[];

#[test]
fn no_circle_of_imports_has_more_than_three_files() {
    let house = House::new(sources());
    let graph = house.graph();
    assert!(graph.values().map(BTreeSet::len).sum::<usize>() > 500, "the reader of imports is broken");

    let large: Vec<_> = circles(&graph).into_iter().filter(|circle| circle.len() > LARGEST_CIRCLE).collect();

    let known = |circle: &Vec<&str>| KNOWN.iter().any(|known| circle.contains(known));
    let (known, new): (Vec<_>, Vec<_>) = large.iter().partition(|circle| known(circle));
    assert!(new.is_empty(), "these files import from each other:\n{}", drawn(&new, &graph));
    assert_eq!(known.len(), KNOWN.len(), "a circle that is known is none any more");
}

#[test]
fn the_reader_of_imports_sees_what_it_should() {
    let file = |name: &str, text: &str| Source::new(name.to_owned(), text.to_owned());
    let house = House::new(vec![
        file("lib.rs", "mod a; mod b;"),
        file("a/mod.rs", "mod one; mod two; pub(crate) use one::{One, Other as Another}; use two::Two; struct Own;"),
        file("a/one.rs", "use super::two::{self, Two}; use super::Own; fn f() { two::g() }"),
        file("a/two.rs", "use crate::b; fn g(it: b::Leaf) { crate::a::Another; b::deep::h() }"),
        file("b/mod.rs", "mod deep; pub use deep::*; pub(crate) struct Leaf;"),
        file("b/deep.rs", "use crate::a::One; #[cfg(test)] mod tests { use crate::a::Own; }"),
    ]);

    let graph = house.graph();

    let edges = |file: &str| graph[file].iter().copied().collect::<Vec<_>>();
    assert_eq!(edges("a/one.rs"), ["a/two.rs"]);
    assert_eq!(edges("a/two.rs"), ["a/one.rs", "b/deep.rs", "b/mod.rs"]);
    assert_eq!(edges("b/deep.rs"), ["a/one.rs"]);
    let circles = circles(&graph);
    assert_eq!(circles, [vec!["a/one.rs", "a/two.rs", "b/deep.rs"]]);
}

/// Which files a file imports from.
type Graph<'h> = BTreeMap<&'h str, BTreeSet<&'h str>>;

/// All files, by the path of their module.
struct House {
    files: BTreeMap<Vec<String>, Module>,
}

struct Module {
    source: Source,
    imports: Vec<Import>,
}

/// One name that a `use` brings in.
struct Import {
    at: usize,
    is_public: bool,
    /// From the crate on.
    path: Vec<String>,
    /// What it is called here; `*`: all that is there.
    name: String,
}

impl House {
    fn new(sources: Vec<Source>) -> Self {
        let paths: Vec<_> = sources.iter().map(module_path).collect();
        let module = |source: Source| {
            let imports = imports(&source, &paths);
            (module_path(&source), Module { source, imports })
        };
        Self { files: sources.into_iter().map(module).collect() }
    }

    /// Tests may import what they like.
    fn graph(&self) -> Graph<'_> {
        let edges = |module: &Module| {
            let own = &*module.source.name;
            let mut files: BTreeSet<&str> = BTreeSet::new();
            // What a module hands on is imported by whoever takes it from there.
            let imports = module.imports.iter().filter(|import| !import.is_public && !module.source.is_test(import.at));
            for import in imports {
                if self.files.contains_key(&import.path) && import.name != "*" {
                    // A module by its name: what counts is what is taken from it.
                    let uses = qualified(&module.source, &import.name);
                    let paths = uses.map(|rest| [&import.path[..], &rest].concat());
                    files.extend(paths.filter_map(|path| self.file_of(&path)));
                } else {
                    files.extend(self.file_of(&import.path));
                }
            }
            files.extend(inline(&module.source).filter_map(|path| self.file_of(&path)));
            files.retain(|file| !is_front_of(file, own) && !is_front_of(own, file));
            files.remove(own);
            files
        };
        let all = self.files.values().filter(|module| !module.source.is_test && module.source.name != "bench.rs");
        all.map(|module| (&*module.source.name, edges(module))).collect()
    }

    /// The file that has what this path names; one that only hands it on is not it.
    fn file_of(&self, path: &[String]) -> Option<&str> {
        self.follow(path, 0)
    }

    fn follow(&self, path: &[String], steps: usize) -> Option<&str> {
        let length = (1..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length]))?;
        let module = &self.files[&path[..length]];
        let Some(name) = path.get(length).filter(|_| steps < 8) else { return Some(&module.source.name) };
        let handed_on = module.imports.iter().find(|import| import.is_public && import.name == *name);
        let by_star = || {
            let stars = module.imports.iter().filter(|import| import.is_public && import.name == "*");
            let mut named = stars.filter_map(|import| Some((import, self.files.get(&import.path)?)));
            named.find(|(_, from)| from.source.declares(name)).map(|(import, _)| import)
        };
        match handed_on {
            Some(import) => self.follow(&[&import.path[..], &path[length + 1..]].concat(), steps + 1),
            None if module.source.declares(name) => Some(&module.source.name),
            None => match by_star() {
                Some(import) => self.follow(&[&import.path[..], &path[length..]].concat(), steps + 1),
                None => Some(&module.source.name),
            },
        }
    }
}

impl Source {
    /// Whether an item of this name stands in it.
    fn declares(&self, name: &str) -> bool {
        let items = ["struct ", "enum ", "trait ", "type ", "fn ", "const ", "static ", "macro_rules! ", "union "];
        items.iter().any(|item| {
            self.places(&format!("{item}{name}")).into_iter().any(|at| {
                let end = at + item.len() + name.len();
                !self.code[end..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
            })
        })
    }
}

/// Whether `front` is the `mod.rs` of a folder that `file` is in: it names its files and they what is in it, and that is
/// what a folder is.
fn is_front_of(front: &str, file: &str) -> bool {
    front.strip_suffix("mod.rs").is_some_and(|folder| front != file && file.starts_with(folder))
}

/// `a/b.rs` and `a/b/mod.rs` are both `[a, b]`.
fn module_path(source: &Source) -> Vec<String> {
    let name = source.name.trim_end_matches(".rs");
    let name = name.strip_suffix("/mod").unwrap_or(if name == "lib" { "" } else { name });
    name.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn imports(source: &Source, modules: &[Vec<String>]) -> Vec<Import> {
    let own = module_path(source);
    let starts = source.places("use ").into_iter().filter(|at| {
        let before = source.code[..*at].trim_end_matches([' ', '\n']);
        before.is_empty() || before.ends_with([';', '}', '{', ')', ']']) || before.ends_with("pub")
    });
    let mut all = Vec::new();
    for at in starts {
        let Some(end) = source.code[at..].find(';') else { continue };
        let before = source.code[..at].trim_end();
        let line = before.rfind(['\n', ';', '}', '{']).map_or("", |from| &before[from + 1..]).trim();
        let is_public = line.starts_with("pub");
        let inside = source.modules.iter().filter(|module| module.has(at)).count();
        for (path, name) in leaves(source.code[at + 4..at + end].trim()) {
            if let Some(path) = absolute(&path, &own, inside, modules) {
                all.push(Import { at, is_public, path, name });
            }
        }
    }
    all
}

/// From the crate on; `None`: another crate's. `inside`: so many modules of the file itself are around it.
fn absolute(path: &[String], own: &[String], inside: usize, modules: &[Vec<String>]) -> Option<Vec<String>> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    let rest = &path[ups..];
    match path.first().map(String::as_str) {
        Some("crate") => Some(path[1..].to_vec()),
        Some("self") => Some([own, &path[1..]].concat()),
        // Inside a module of its own a file goes up to itself first.
        Some("super") => Some([&own[..own.len().saturating_sub(ups.saturating_sub(inside))], rest].concat()),
        Some(first) => {
            let child = [own, &[first.to_owned()]].concat();
            modules.contains(&child).then(|| [own, path].concat())
        }
        None => None,
    }
}

/// Each name of a tree of imports: its path, and what it is called.
fn leaves(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    if let Some((before, group)) = tree.split_once('{') {
        let prefix: Vec<String> =
            before.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let group = group.rsplit_once('}').map_or(group, |(group, _)| group);
        let mut depth = 0;
        let parts = group.split(|letter| {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            letter == ',' && depth == 0
        });
        let parts = parts.filter(|part| !part.trim().is_empty());
        return parts
            .flat_map(leaves)
            .map(|(path, name)| {
                let itself = path == ["self"];
                let name = if itself && name == "self" { prefix.last().cloned().unwrap_or_default() } else { name };
                (if itself { prefix.clone() } else { [&prefix[..], &path].concat() }, name)
            })
            .collect();
    }
    let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
    let mut path: Vec<String> =
        path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect();
    let last = path.last().cloned().unwrap_or_default();
    if last == "*" {
        path.pop();
    }
    vec![(path, if name.is_empty() { last } else { name.trim().to_owned() })]
}

/// What follows `name::` wherever that is said, outside tests.
fn qualified<'s>(source: &'s Source, name: &str) -> impl Iterator<Item = Vec<String>> + 's {
    let wanted = format!("{name}::");
    let places = source.places(&wanted).into_iter().filter(|at| {
        let before = &source.code[..*at];
        !source.is_test(*at)
            && !before.ends_with("::")
            && !before.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_')
    });
    places.map(move |at| segments(&source.code[at + wanted.len()..])).collect::<Vec<_>>().into_iter()
}

/// Paths that begin at the crate or above, in code.
fn inline(source: &Source) -> impl Iterator<Item = Vec<String>> + '_ {
    let own = module_path(source);
    ["crate::", "super::", "self::"].into_iter().flat_map(move |start| {
        let own = own.clone();
        let places = source.places(start).into_iter().filter(|at| {
            let statement = source.code[..*at].rfind([';', '}']).map_or(0, |from| from + 1);
            let before = source.code[statement..*at].trim_start();
            let is_use = before.contains("use ") && !before.contains("fn ");
            !source.is_test(*at)
                && !is_use
                && !before.ends_with("super::")
                && !before.ends_with("(in ")
                && !before.ends_with("pub(")
        });
        places.filter_map(move |at| {
            let inside = source.modules.iter().filter(|module| module.has(at)).count();
            absolute(&segments(&source.code[at..]), &own, inside, &[])
        })
    })
}

fn segments(text: &str) -> Vec<String> {
    let mut segments = Vec::new();
    let mut rest = text;
    loop {
        let segment = identifier(rest);
        if segment.is_empty() {
            return segments;
        }
        rest = &rest[segment.len()..];
        segments.push(segment);
        match rest.strip_prefix("::") {
            Some(more) => rest = more,
            None => return segments,
        }
    }
}

/// The strongly connected parts of more than one file (Tarjan).
fn circles<'h>(graph: &Graph<'h>) -> Vec<Vec<&'h str>> {
    let mut search =
        Search { graph, number: BTreeMap::new(), lowest: BTreeMap::new(), stack: Vec::new(), found: Vec::new() };
    for file in graph.keys() {
        if !search.number.contains_key(file) {
            search.visit(file);
        }
    }
    search.found.sort();
    search.found
}

struct Search<'g, 'h> {
    graph: &'g Graph<'h>,
    number: BTreeMap<&'h str, usize>,
    lowest: BTreeMap<&'h str, usize>,
    stack: Vec<&'h str>,
    found: Vec<Vec<&'h str>>,
}

impl<'h> Search<'_, 'h> {
    fn visit(&mut self, file: &'h str) {
        let number = self.number.len();
        self.number.insert(file, number);
        self.lowest.insert(file, number);
        self.stack.push(file);
        for next in self.graph.get(file).into_iter().flatten().copied() {
            let reached = match self.number.get(next) {
                None => {
                    self.visit(next);
                    self.lowest[next]
                }
                Some(known) if self.stack.contains(&next) => *known,
                Some(_) => continue,
            };
            let lowest = self.lowest[file].min(reached);
            self.lowest.insert(file, lowest);
        }
        if self.lowest[file] == number {
            let from = self.stack.iter().position(|one| *one == file).unwrap();
            let mut circle = self.stack.split_off(from);
            circle.sort_unstable();
            if circle.len() > 1 {
                self.found.push(circle);
            }
        }
    }
}

/// Each circle with its edges, for people.
fn drawn(circles: &[&Vec<&str>], graph: &Graph<'_>) -> String {
    let edges = |circle: &Vec<&str>| {
        let lines = circle.iter().map(|file| {
            let inside: Vec<_> = graph[file].iter().filter(|to| circle.contains(to)).copied().collect();
            format!("  {file} -> {}\n", inside.join(", "))
        });
        format!("{} files\n{}", circle.len(), lines.collect::<String>())
    };
    circles.iter().map(|circle| edges(circle)).collect()
}
