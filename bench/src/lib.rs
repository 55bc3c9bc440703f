//! Benchmarks of pogu: `cargo bench` in this folder. They measure; tests of behaviour are beside the code.
