//! Promise: the source stays readable. No line is wider than 120 columns but for a long string, no file longer than 400
//! lines without its tests, no function longer than 70; and every file says at its top what it is.

use std::fs;
use std::path::{Path, PathBuf};

const COLUMNS_MAX: usize = 120;
const LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

const FOLDERS: [&str; 5] = ["src", "tests", "benches", "tools/flood", "tools/peers"];

#[test]
fn lines_fit_in_120_columns() {
    let is_wide = |line: &str| {
        let is_comment = line.trim_start().starts_with("//");
        line.chars().count() > COLUMNS_MAX && (is_comment || !line.contains('"'))
    };
    assert_none("lines are too wide", |text| {
        numbered(text).filter(|(_, line)| is_wide(line)).map(|(n, _)| n).collect()
    });
}

#[test]
fn files_have_at_most_400_lines_without_their_tests() {
    let end = |text: &str| text.find("\n#[cfg(test)]\n").unwrap_or(text.len());
    assert_none("files are too long", |text| {
        let lines = text[..end(text)].lines().count();
        if lines > LINES_MAX { vec![lines] } else { Vec::new() }
    });
}

#[test]
fn functions_have_at_most_70_lines() {
    assert_none("functions are too long", |text| {
        let lines: Vec<&str> = text.lines().collect();
        let begins = lines.iter().enumerate().filter(|(_, line)| begins_function(line)).map(|(at, _)| at);
        begins.filter(|at| function_lines(&lines[*at..]) > FUNCTION_LINES_MAX).map(|at| at + 1).collect()
    });
}

#[test]
fn every_file_says_what_it_is() {
    assert_none("files do not open with `//!`", |text| if text.starts_with("//! ") { Vec::new() } else { vec![1] });
}

#[test]
fn what_is_too_long_is_found() {
    assert!(begins_function("    pub(super) async fn f() {") && begins_function("fn f("));
    assert!(!begins_function("// fn f() {") && !begins_function("    f: fn(u8),"));
    let text = "    fn f(\n        x: u8,\n    ) {\n        if x {\n        }\n    }\n}\n";
    assert_eq!(function_lines(&text.lines().collect::<Vec<_>>()), 6);
    assert_eq!(function_lines(&["    fn of_a_trait(&self);", "}"]), 1);
}

/// Fails with the files and the numbers that `find` has for them.
fn assert_none(what: &str, find: impl Fn(&str) -> Vec<usize>) {
    let mut files = Vec::new();
    FOLDERS.iter().for_each(|folder| find_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut files));
    assert!(files.len() > 100, "only {} files were found", files.len());
    let read = |file: &PathBuf| fs::read_to_string(file).expect("a source file");
    let found = files.iter().map(|file| (file, find(&read(file)))).filter(|(_, found)| !found.is_empty());
    let found: Vec<String> = found.map(|(file, numbers)| format!("{}: {numbers:?}", file.display())).collect();
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines())
}

fn begins_function(line: &str) -> bool {
    // What may stand before it: `pub(in crate::shard) async`, and the like.
    let is_qualifier = |c: char| c.is_ascii_lowercase() || matches!(c, '(' | ')' | ':' | '_' | ' ');
    line.split_once("fn ").is_some_and(|(before, _)| before.chars().all(is_qualifier))
}

/// From its first line to the brace below it; as the source is formatted, that has the same indentation.
fn function_lines(lines: &[&str]) -> usize {
    let indentation = lines[0].len() - lines[0].trim_start().len();
    let is_last = |line: &&str| line.len() - line.trim_start().len() == indentation && line.ends_with(['}', ';']);
    1 + lines.iter().position(is_last).unwrap_or(lines.len())
}

fn find_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
            find_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
