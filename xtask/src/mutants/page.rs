//! The table of pieces in `docs/mutants.md`, written from the pieces themselves.

use std::path::{Path, PathBuf};

use super::piece::{PIECES, Piece, Round};
use crate::Failure;

/// What is between these lines of the page is written here, and nothing else.
const BEGIN: &str = "<!-- written by `cargo xtask mutants`: begin -->\n";
const END: &str = "<!-- written by `cargo xtask mutants`: end -->";

pub fn write() -> Result<(), Failure> {
    let text = std::fs::read_to_string(path())?;
    Ok(std::fs::write(path(), replaced(&text).ok_or("docs/mutants.md has no marks for the table")?)?)
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/mutants.md")
}

fn replaced(text: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    let rows: String = PIECES.iter().map(row).collect();
    Some(format!("{before}{BEGIN}\n| piece | files | tests |\n|---|---|---|\n{rows}\n{END}{after}"))
}

fn row(piece: &Piece) -> String {
    let rounds: Vec<String> = piece.rounds.iter().map(said).collect();
    format!("| {} | {} | {} |\n", piece.name, listed(piece.files), rounds.join("; then "))
}

/// A round, in words.
fn said(round: &Round) -> String {
    let suites: Vec<&str> = round.suites.iter().chain(round.beyond).copied().collect();
    let mut said = format!("of {}: unit tests", round.packages.replace(',', ", "));
    for (word, names) in [(", ", suites.as_slice()), ("; only ", round.only), ("; not ", round.skipped)] {
        if !names.is_empty() {
            said.push_str(&format!("{word}{}", listed(names)));
        }
    }
    said
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_tells_the_pieces_as_they_are() {
        let text = std::fs::read_to_string(path()).expect("docs/mutants.md");
        let written = replaced(&text).expect("marks");
        assert_eq!(text, written, "`cargo xtask mutants` writes the table");
    }
}
