//! The fenced blocks of a document, by what their info string says: ```` ```js file=client.mjs ```` is a file of that
//! name, `setup` what has been done before the tests run. Called by the tests of documents whose code is run.

use std::path::Path;

/// A fenced block.
pub struct Block {
    /// All that stands behind the fence, such as `js file=client.mjs`.
    pub info: String,
    pub text: String,
}

impl Block {
    /// The name of the file that the block is.
    pub fn file(&self) -> Option<&str> {
        self.info.split(' ').find_map(|word| word.strip_prefix("file="))
    }
}

/// All blocks of a document of this project, such as `docs/GETTING_STARTED.md`.
#[track_caller]
pub fn blocks(document: &str) -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{document}: {error}"));
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let inside: String =
                lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            found.push(Block { info: info.to_owned(), text: inside });
        }
    }
    found
}

/// Writes the files of a document into a folder.
#[track_caller]
pub fn write_files(document: &str, folder: &Path) {
    for block in blocks(document) {
        if let Some(name) = block.file() {
            std::fs::write(folder.join(name), &block.text).expect("the temp dir is writable");
        }
    }
}
