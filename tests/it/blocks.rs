//! Tables of texts and what is said of them, in files under `fixtures`: `== name`, then `-- part` and its text, the last part `expect`.

use std::fs;
use std::path::Path;

pub(crate) struct Block {
    pub(crate) name: String,
    pub(crate) parts: Vec<(String, String)>,
}

impl Block {
    /// The text of a part, empty where there is none.
    pub(crate) fn part(&self, name: &str) -> &str {
        let part = self.parts.iter().find(|(known, _)| known == name);
        part.map_or("", |(_, text)| text)
    }
}

pub(crate) fn read(file: &str) -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/fixtures")
        .join(file);
    let text = fs::read_to_string(path).expect("a fixture");
    let mut blocks: Vec<Block> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("== ") {
            let (name, parts) = (name.to_owned(), Vec::new());
            blocks.push(Block { name, parts });
        } else if let Some(block) = blocks.last_mut() {
            match (line.strip_prefix("-- "), block.parts.last_mut()) {
                (Some(part), _) => block.parts.push((part.to_owned(), String::new())),
                (None, Some((_, text))) => text.push_str(&format!("{line}\n")),
                // What stands before the first part is a comment.
                (None, None) => {}
            }
        }
    }
    for (_, text) in blocks.iter_mut().flat_map(|block| &mut block.parts) {
        text.truncate(text.trim_end_matches('\n').len());
        text.push('\n');
    }
    blocks
}

/// Compares what `found` says of each block with its part `expect`, and shows all that differ.
pub(crate) fn check(file: &str, found: impl Fn(&Block) -> String) {
    let mut differing = String::new();
    for block in read(file) {
        let found = found(&block);
        if found.trim_end() != block.part("expect").trim_end() {
            let expected = block.part("expect");
            differing.push_str(&format!(
                "== {}\nexpected:\n{expected}found:\n{found}\n\n",
                block.name
            ));
        }
    }
    assert!(differing.is_empty(), "{differing}");
}
