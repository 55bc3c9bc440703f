//! One value that an operation in flight points to: a box, or guarded pages.

use std::mem::{align_of, needs_drop, size_of};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::pages::page_bytes;
use super::quarantine::{Block, Memory};

/// Owns a value that does not move. Only values without drop glue are held: there is nothing to run on shut pages.
pub(crate) enum Held<T> {
    Plain(Plain<T>),
    Guarded(Box<Guarded<T>>),
}

/// A value on the heap, by its address: what a system was told of it is not disturbed by who else names it meanwhile.
pub(crate) struct Plain<T>(NonNull<T>);

impl<T> Plain<T> {
    fn new(value: T) -> Plain<T> {
        Plain(NonNull::from(Box::leak(Box::new(value))))
    }
}

impl<T> Drop for Plain<T> {
    fn drop(&mut self) {
        // SAFETY: it was made of a box, of which nobody else knows, and is taken back once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// A value at the start of a block.
pub(crate) struct Guarded<T> {
    value: NonNull<T>,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "kept for its drop"))]
    block: Block,
}

impl<T> Held<T> {
    pub(crate) fn new(value: T, memory: &Memory) -> Held<T> {
        const { assert!(!needs_drop::<T>(), "nothing runs on pages that are shut") };
        let Memory::Guarded(quarantine) = memory else { return Held::Plain(Plain::new(value)) };
        assert!(align_of::<T>() <= page_bytes(), "a page is aligned for every value");
        let block = Block::map(size_of::<T>(), quarantine);
        let place = block.start().cast::<T>();
        // SAFETY: the block is as large as the value, aligned to a page, and nobody else knows it.
        unsafe { place.write(value) };
        Held::Guarded(Box::new(Guarded { value: place, block }))
    }

    /// Holds another value: guarded, at another place, the old one being released.
    pub(crate) fn renew(&mut self, value: T, memory: &Memory) {
        match self {
            Held::Plain(_) => **self = value,
            Held::Guarded(_) => *self = Held::new(value, memory),
        }
    }

    /// Where it is. A system that was told of it may write there while this is asked: nothing is looked at.
    #[cfg(windows)]
    pub(crate) fn address(&self) -> *mut T {
        match self {
            Held::Plain(plain) => plain.0.as_ptr(),
            Held::Guarded(guarded) => guarded.value.as_ptr(),
        }
    }

    /// True if the memory may be kept for the next operation.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Held::Plain(_))
    }

    /// For tests of the guard, on the drivers that plant that: releases guarded memory though an operation is in flight. Plain memory is left alone: what
    /// would happen to it is what guarded memory is there to show. The value may not be looked at any more.
    #[cfg(target_os = "linux")]
    pub(crate) fn release_early(&mut self) {
        if let Held::Guarded(guarded) = self {
            guarded.block.shut_early();
        }
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            // SAFETY: the box that it was made of is whole until it is dropped.
            Held::Plain(plain) => unsafe { plain.0.as_ref() },
            // SAFETY: written by `new`, and accessible until the block is dropped.
            Held::Guarded(guarded) => unsafe { guarded.value.as_ref() },
        }
    }
}

impl<T> DerefMut for Held<T> {
    fn deref_mut(&mut self) -> &mut T {
        match self {
            // SAFETY: as above, and it is borrowed uniquely through `self`.
            Held::Plain(plain) => unsafe { plain.0.as_mut() },
            // SAFETY: written by `new`, accessible until the block is dropped, and borrowed uniquely through `self`.
            Held::Guarded(guarded) => unsafe { guarded.value.as_mut() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_renewed_where_it_is_and_guarded_elsewhere() {
        for is_guarded in [false, true] {
            let memory = Memory::new(is_guarded);
            let mut held = Held::new(7_u64, &memory);
            assert_eq!((*held, held.is_plain(), memory.is_guarded()), (7, !is_guarded, is_guarded));
            let before = NonNull::from(&*held);
            held.renew(8, &memory);
            assert_eq!((*held, NonNull::from(&*held) == before), (8, !is_guarded));
            *held += 1;
            assert_eq!(*held, 9);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_released_early_is_out_of_reach_if_it_is_guarded() {
        for is_guarded in [false, true] {
            let mut held = Held::new(7_u64, &Memory::new(is_guarded));
            let place = NonNull::from(&*held).cast();
            held.release_early();
            assert_eq!(crate::memory::kernel_reads(place), !is_guarded);
        }
    }
}
