//! Models of the inbox of pogu's port: every interleaving with a bounded number of preemptions (three for two threads, two
//! for three) is tried, with every value that the memory model allows a load to see.
//!
//! What is modelled is the code itself: `post.rs` of pogu-port is compiled here as it stands. Only [`sync`] is another
//! one: atomics and fences of the model, and a small queue that the model sees through. It can also leave a step out: a
//! model that does not notice a missing fence proves nothing, so each has to fail without it.

#[allow(dead_code)]
#[path = "../../crates/pogu-port/src/error.rs"]
mod error;
#[allow(dead_code)]
#[path = "../../crates/pogu-port/src/identity.rs"]
mod identity;
#[cfg(test)]
mod models;
#[allow(dead_code)]
#[path = "../../crates/pogu-port/src/post.rs"]
mod post;
mod queue;
mod sync;
