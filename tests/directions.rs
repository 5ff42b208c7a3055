//! Promise: the folders of src/ know each other in one direction, and so do the parts of a shard. Reads every path of
//! every file (`crate::…`, `super::…`, and `ringway::…` in the binary), and holds docs/ARCHITECTURE.md to the same
//! order.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What stands in src/, from above: a file or folder may use what stands in a lower line, and nothing of its own line.
const SRC: &[&[&str]] = &[
    &["main"],
    &["command"],
    &["cli", "gateway"],
    &["admin"],
    &["authorize"],
    &["ingress", "issuer", "service", "upkeep"],
    &["broker", "control"],
    &["host", "logging"],
    &["config"],
    &["shard"],
    &["lane", "notification"],
    &["metrics"],
    &["auth", "route"],
    &["channel", "clock", "geo", "http2", "proc", "proto", "protocol", "ws"],
];

/// The same for src/shard/.
const SHARD: &[&[&str]] = &[
    &["tests"],
    &["run"],
    &["lobby"],
    &["floor"],
    &["session"],
    &["state"],
    &["calls", "pending"],
    &["connection"],
    &["rules"],
    &["id", "nearby", "paused", "profiles", "quotas", "seats", "verification"],
    &["io"],
];

/// The same for src/shard/floor/, of which `mod` is what all of them work on. Here a file may not call a method of the
/// floor either that stands in a file of its own line or above.
const FLOOR: &[&[&str]] = &[
    &["turn"],
    &["arrival", "commands", "verified"],
    &["authorizing"],
    &["reading", "sending"],
    &["answering", "attention", "delivery", "echo", "inspect"],
    &["closing"],
    &["fan_out", "sweeps", "wire"],
    &["audience", "cork", "pace"],
];

#[test]
fn the_folders_know_each_other_in_one_direction() {
    assert_one_direction(&[], SRC);
}

#[test]
fn the_parts_of_a_shard_know_each_other_in_one_direction() {
    assert_one_direction(&["shard"], SHARD);
}

#[test]
fn the_files_of_the_floor_know_each_other_in_one_direction() {
    assert_one_direction(&["shard", "floor"], FLOOR);
}

#[test]
fn the_files_of_the_floor_call_each_other_in_one_direction() {
    let level_of = |part: &str| FLOOR.iter().position(|level| level.contains(&part));
    let sources: Vec<(String, String)> = files(&root().join("src/shard/floor"))
        .into_iter()
        .filter_map(|file| Some((module_of(&file).get(2)?.clone(), methods_of_the_floor(&file))))
        .collect();
    let mut calls = 0;
    for (callee, text) in &sources {
        for name in text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next()) {
            let call = format!("self.{name}(");
            let callers = sources.iter().filter(|(caller, text)| caller != callee && text.contains(&call));
            for (caller, _) in callers {
                calls += 1;
                assert!(level_of(caller) < level_of(callee), "{caller} calls `{name}` of {callee}: {FLOOR:?}");
            }
        }
    }
    assert!(calls > 10, "only {calls} calls were found");
}

/// The steps by which a connection ends are taken in one place, whoever began it.
#[test]
fn only_closing_ends_a_connection() {
    let takes_a_step = |file: &Path| code_of(&fs::read_to_string(file).expect("a source file")).contains(".ending()");
    let modules = files(&root().join("src")).into_iter().filter(|file| takes_a_step(file)).map(|file| module_of(&file));
    let who: Vec<String> =
        modules.map(|module| module.join("::")).filter(|who| !who.starts_with("shard::tests")).collect();
    assert_eq!(who, ["shard::floor::closing"]);
}

/// What a file adds to the floor, without comments.
fn methods_of_the_floor(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("a source file");
    let parts = text.split("impl<I: Io> Floor<I> {\n").skip(1).filter_map(|rest| rest.split("\n}\n").next());
    parts.map(code_of).collect()
}

#[test]
fn the_picture_in_the_document_is_the_order_that_is_kept() {
    let document = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("the document");
    for levels in [SRC, SHARD, FLOOR] {
        // The tests are no part of the house.
        let levels = levels.iter().filter(|level| **level != ["tests"]);
        let lines: Vec<String> = levels.map(|level| level.join("  ")).collect();
        assert!(document.contains(&format!("```\n{}\n```", lines.join("\n"))), "no such picture: {lines:#?}");
    }
}

#[test]
fn a_path_is_found_however_it_is_written() {
    let text = "
        // crate::comment::x
        use crate::{admin, config::{self, x::Key}, lane::*};
        use super::super::ws;
        use super::sibling::Thing;
        pub(in crate::shard) fn f() -> crate::auth::Keys { ringway::gateway::serve() }
    ";
    let module = ["shard", "floor"].map(str::to_owned);
    let found: BTreeSet<String> = paths(&module, text).iter().map(|path| path.join("::")).collect();
    let expected = [
        "admin",
        "auth::Keys",
        "config::self",
        "config::x::Key",
        "gateway::serve",
        "lane::",
        "shard",
        "shard::sibling::Thing",
        "ws",
    ];
    assert_eq!(found, expected.map(str::to_owned).into());
}

/// Every file below `folder` (by module path) uses only what stands in a lower level than its own.
fn assert_one_direction(folder: &[&str], levels: &[&[&str]]) {
    let level_of = |part: &str| levels.iter().position(|level| level.contains(&part));
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in files(&root().join("src").join(folder.join("/"))) {
        let module = module_of(&file);
        let Some(own) = part(&module, folder) else { continue };
        let level = level_of(own).unwrap_or_else(|| panic!("{own} has no place in the order: {levels:?}"));
        seen.insert(own.to_owned());
        for path in paths(&module, &fs::read_to_string(&file).expect("a source file")) {
            let Some(used) = part(&path, folder).filter(|used| *used != own) else { continue };
            if level_of(used).is_some_and(|used| used <= level) {
                wrong.push(format!("{} uses {}", file.display(), path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "against the order, in which a part uses what stands below it:\n{}", wrong.join("\n"));
    let listed: BTreeSet<_> = levels.iter().flat_map(|level| level.iter().map(|part| (*part).to_owned())).collect();
    assert_eq!(listed, seen, "what is listed is what is there");
}

/// Of a path below `folder`, the part right below it.
fn part<'a>(path: &'a [String], folder: &[&str]) -> Option<&'a str> {
    let rest = path.get(folder.len()..)?;
    path.iter().zip(folder).all(|(a, b)| a == b).then(|| rest.first()).flatten().map(String::as_str)
}

/// A text without its comments.
fn code_of(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or("").to_owned() + "\n").collect()
}

/// What a file names of the crate, each as the first parts of its path from the root.
fn paths(module: &[String], text: &str) -> Vec<Vec<String>> {
    let code = code_of(text);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("::") {
        let before = &code[..at];
        let word = &before[before.rfind(|c: char| !is_of_name(c)).map_or(0, |end| end + 1)..];
        let leads_on = before[..before.len() - word.len()].ends_with("::");
        match word {
            "crate" | "ringway" => follow(&[], &code[at + 2..], &mut found),
            // From the first `super` of a chain.
            "super" if !leads_on => {
                let chain = 1 + code[at + 2..].split("::").take_while(|next| *next == "super").count();
                let parent = &module[..module.len().saturating_sub(chain)];
                follow(parent, &code[at + 2 + (chain - 1) * "super::".len()..], &mut found);
            }
            _ => {}
        }
    }
    found
}

/// Adds the paths that `rest`, behind `parent::`, names: one, or several in braces.
fn follow(parent: &[String], rest: &str, found: &mut Vec<Vec<String>>) {
    if let Some(list) = rest.strip_prefix('{') {
        return of_list(list).iter().for_each(|part| follow(parent, part.trim_start(), found));
    }
    let (word, behind) = rest.split_at(rest.find(|c| !is_of_name(c)).unwrap_or(rest.len()));
    let path: Vec<String> = parent.iter().map(String::as_str).chain([word]).map(str::to_owned).collect();
    match behind.strip_prefix("::") {
        Some(behind) => follow(&path, behind, found),
        None => found.push(path),
    }
}

/// The parts of a list in braces, whose first brace is gone.
fn of_list(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut begin) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                parts.push(&list[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
        if c == '}' && begin == at + 1 {
            break;
        }
    }
    parts
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The path of a file's module from the root of the crate.
fn module_of(file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(root().join("src")).expect("a file of src").with_extension("");
    let mut module: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    module
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| is_rust(path))
        .collect()
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
