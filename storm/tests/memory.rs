//! What a storm leaves in memory: nothing. A test by itself, for the allocator counts for the whole process.

use std::alloc::System;

use cap::Cap;
use pogu_storm::Size;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

#[test]
fn when_all_is_over_no_memory_is_left() {
    // What is allocated once in a process is allocated by the first.
    (0..5).for_each(|seed| assert!(pogu_storm::run(seed, Size::Small).is_ok(), "{seed}"));
    for seed in 0..50 {
        let before = ALLOCATOR.allocated();
        assert!(pogu_storm::run(seed, Size::Small).is_ok(), "{seed}");
        assert_eq!(ALLOCATOR.allocated(), before, "bytes after seed {seed}, and before");
    }
}
