//! What a sanitizer must find: nothing is wrong here unless `cargo xtask sanitize` asks for it, which runs each test once so,
//! and fails if it passes.

use std::cell::UnsafeCell;
use std::hint::black_box;

fn is_asked_for() -> bool {
    std::env::var_os("POGU_SANITIZER_PLANT").is_some()
}

#[test]
fn a_planted_leak() {
    if is_asked_for() {
        black_box(Box::leak(Box::new([7_u8; 4_321])));
    }
}

#[test]
fn a_planted_overflow() {
    if is_asked_for() {
        let buffer = black_box(vec![7_u8; 16].into_boxed_slice());
        let behind = buffer.as_ptr().wrapping_add(buffer.len());
        // SAFETY: none: this is the mistake that the sanitizer has to end the process for, before anything comes of it.
        black_box(unsafe { behind.read_volatile() });
    }
}

#[test]
fn a_planted_race() {
    struct Shared(UnsafeCell<u64>);

    // SAFETY: none: this is the mistake that the sanitizer has to report, whichever thread comes first.
    unsafe impl Sync for Shared {}

    if is_asked_for() {
        let shared = &Shared(UnsafeCell::new(0));
        std::thread::scope(|scope| {
            for number in 1..=2 {
                scope.spawn(move || {
                    let place = black_box(shared.0.get());
                    // SAFETY: none: the other thread writes as well, and nothing says which of them is first.
                    unsafe { place.write(number) };
                });
            }
        });
    }
}
