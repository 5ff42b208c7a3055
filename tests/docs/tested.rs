//! What the documents say to be tested is tested: every test that they name is there.

use std::fs;
use std::path::{Path, PathBuf};

use super::{ROOT, code_spans, find_documents, find_files};

/// In tables whose last column is `test`. `area::name` is a test of the gateway, `area` or `area::` all of a file or a
/// folder, what is neither a test of the library.
#[test]
fn every_test_that_a_table_names_exists() {
    let (tests, mut documents, mut found) = (Tests::read(), Vec::new(), 0);
    find_documents(&Path::new(ROOT).join("docs"), &mut documents);
    for path in documents {
        let (text, mut is_of_tests) = (fs::read_to_string(&path).expect("text"), false);
        for line in text.lines() {
            let cell = line.strip_suffix('|').and_then(|row| row.rsplit('|').next()).map(str::trim);
            is_of_tests = cell.is_some_and(|cell| is_of_tests || cell == "test");
            for name in cell.filter(|_| is_of_tests).map(code_spans).unwrap_or_default() {
                assert!(tests.have(&name), "{} names {name}, which is no test", path.display());
                found += 1;
            }
        }
    }
    assert!(found > 150, "only {found} tests were found");
}

/// The sources in which tests stand.
struct Tests {
    library: Vec<String>,
    /// By the name of its module: `area`, or `area::part`.
    gateway: Vec<(String, String)>,
}

impl Tests {
    fn read() -> Self {
        let sources = |folder: &str| {
            let (folder, mut files) = (Path::new(ROOT).join(folder), Vec::new());
            find_files(&folder, &|path| path.extension().is_some_and(|e| e == "rs"), &mut files);
            let of = |file: &PathBuf| {
                let module = file.strip_prefix(&folder).expect("in its folder").with_extension("");
                let module = module.to_string_lossy().replace('/', "::");
                (module.trim_end_matches("::mod").to_owned(), fs::read_to_string(file).expect("text"))
            };
            files.iter().map(of).collect::<Vec<_>>()
        };
        let library = sources("src").into_iter().map(|(_, source)| source).collect();
        Self { library, gateway: sources("tests/gateway") }
    }

    fn have(&self, name: &str) -> bool {
        let (area, test) = name.rsplit_once("::").unwrap_or(("", name));
        let has = |source: &String| !test.is_empty() && source.contains(&format!("fn {test}("));
        self.gateway.iter().any(|(module, source)| {
            let is_part = module.strip_prefix(area).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
            *module == name || is_part && (test.is_empty() || has(source))
        }) || area.is_empty() && self.library.iter().any(has)
    }
}
