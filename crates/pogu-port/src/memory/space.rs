//! The receive buffer of a driver that is given memory only for the length of a system call.

use std::io;

use super::arena::Arena;

/// One buffer: plain, or at a new guarded place after every loan.
#[derive(Debug)]
pub(crate) enum Space {
    Plain(Box<[u8]>),
    Guarded { arena: Arena, place: usize, bytes: usize },
}

impl Space {
    pub(crate) fn new(bytes: usize, guarded: bool) -> io::Result<Space> {
        if !guarded {
            return Ok(Space::Plain(vec![0; bytes].into_boxed_slice()));
        }
        let mut arena = Arena::new(1, bytes)?;
        let place = arena.take().ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        Ok(Space::Guarded { arena, place, bytes })
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        match self {
            Space::Plain(bytes) => bytes,
            Space::Guarded { arena, place, bytes } => {
                let start = arena.start(*place);
                // SAFETY: a place in use is accessible, holds so many bytes, zeroed at first, and is borrowed through `self`.
                unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), *bytes) }
            }
        }
    }

    /// For tests of the guard: what is received next meets inaccessible memory. Nobody of us may look at it before the next
    /// [`renew`](Space::renew).
    pub(crate) fn release_early(&mut self) {
        if let Space::Guarded { arena, place, .. } = self {
            arena.shut(*place);
        }
    }

    /// The loan is over: a slice of it that somebody has kept is of no use any more.
    pub(crate) fn renew(&mut self) {
        if let Space::Guarded { arena, place, .. } = self {
            *place = arena.exchange(*place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;

    use super::*;

    #[test]
    fn a_buffer_is_as_large_as_asked_for_and_guarded_new_after_each_loan() {
        for guarded in [false, true] {
            let mut space = Space::new(100, guarded).expect("maps");
            space.bytes().fill(7);
            let before = NonNull::from(space.bytes()).cast::<u8>();
            space.renew();
            assert_eq!(space.bytes().len(), 100);
            assert_eq!(NonNull::from(space.bytes()).cast::<u8>() == before, !guarded);
            assert!(space.bytes().iter().all(|byte| *byte == if guarded { 0 } else { 7 }));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_guarded_buffer_is_out_of_reach_when_its_loan_is_over_or_it_is_released_early() {
        use crate::memory::kernel_reads;

        let mut space = Space::new(100, true).expect("maps");
        let first = NonNull::from(space.bytes()).cast();
        assert!(kernel_reads(first));
        space.renew();
        assert!(!kernel_reads(first));
        let second = NonNull::from(space.bytes()).cast();
        assert!(kernel_reads(second));
        space.release_early();
        assert!(!kernel_reads(second));
        space.renew();
        assert!(kernel_reads(NonNull::from(space.bytes()).cast()), "the next one can be used");
    }
}
