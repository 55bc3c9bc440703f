//! The `pogu` command.
fn main() {}
