//! Takes `shared.rs` of the engine as it stands, with the atomics of the models in the place of the standard ones. (What
//! has a `sync` module of its own for them needs no copy.)

use std::path::Path;

const SOURCE: &str = "../crates/pogu/src/core/shared.rs";

const ATOMICS: &str = "use std::sync::atomic::{";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    let text = std::fs::read_to_string(SOURCE).expect("the source of the engine lies beside this folder");
    assert_eq!(text.matches("std::sync::atomic").count(), 1, "{SOURCE} has one line that imports its atomics");
    // An included file has no page of its own to document.
    let text = text.replace(ATOMICS, "use crate::sync::{").replace("\n//!", "\n//");
    assert!(!text.contains("std::sync::atomic"), "{SOURCE} imports its atomics as `{ATOMICS}...`");
    let text = text.strip_prefix("//!").map(|rest| format!("//{rest}")).unwrap_or(text);
    let folder = std::env::var("OUT_DIR").expect("Cargo says where");
    std::fs::write(Path::new(&folder).join("shared.rs"), text).expect("writable");
}
