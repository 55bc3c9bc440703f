//! Received bytes that were not consumed, and when they are delivered again.
//!
//! ```text
//!   [ consumed | seen by the receiver ......... | fresh: came since ..... ]
//!   ^ memory   ^ from                                                   end ^
//! ```
//!
//! They are *due* (delivered in the next turn) after every delivery that the receiver took something from or that showed it
//! something new. After one that did neither, showing them again would change nothing: they wait until more bytes or the
//! end of the stream have come, or until `receive` is called.

/// See the [module](self). Takes a pointer and no memory while it is empty.
#[derive(Debug, Default)]
pub(crate) struct Kept(Option<Box<Backlog>>);

#[derive(Debug)]
struct Backlog {
    bytes: Vec<u8>,
    /// Bytes at the beginning that have been consumed. Less than all.
    from: usize,
    fresh: bool,
    waits: bool,
}

/// What was taken out for a delivery.
pub(crate) struct Taken {
    backlog: Box<Backlog>,
    count: usize,
}

impl Kept {
    /// Bytes that no receiver has seen.
    pub(crate) fn new(bytes: Vec<u8>) -> Kept {
        let backlog = |bytes| Box::new(Backlog { bytes, from: 0, fresh: true, waits: false });
        Kept((!bytes.is_empty()).then_some(bytes).map(backlog))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |backlog| backlog.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// True exactly when there is something to deliver in the next turn.
    pub(crate) fn is_due(&self) -> bool {
        self.0.as_ref().is_some_and(|backlog| !backlog.waits)
    }

    /// Something has changed for the receiver: what is kept is due once more.
    pub(crate) fn wake(&mut self) {
        if let Some(backlog) = &mut self.0 {
            backlog.waits = false;
        }
    }

    /// Nothing more comes for a while: gives back the memory that is not needed for what there is. Only with io_uring more comes than
    /// was asked for.
    #[cfg(target_os = "linux")]
    pub(crate) fn trim(&mut self) {
        if let Some(backlog) = &mut self.0 {
            backlog.forget_consumed();
            backlog.bytes.shrink_to_fit();
        }
    }

    /// Adds bytes that no receiver has seen.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Some(backlog) if !bytes.is_empty() => {
                backlog.make_room();
                backlog.bytes.extend_from_slice(bytes);
                backlog.fresh = true;
                backlog.waits = false;
            }
            Some(_) => {}
            None => *self = Kept::new(bytes.to_vec()),
        }
    }

    /// Adds bytes that were lent and not consumed. They come before what is kept, which came with them or after them.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match &mut self.0 {
            Some(backlog) => {
                backlog.bytes.splice(..backlog.from, bytes.iter().copied());
                backlog.from = 0;
                backlog.waits = false;
            }
            None => {
                let backlog = Backlog { bytes: bytes.to_vec(), from: 0, fresh: false, waits: false };
                self.0 = Some(Box::new(backlog));
            }
        }
    }

    /// Takes everything out, to lend the first bytes of it, at most `at_most`. `None` if nothing is kept.
    pub(crate) fn take(&mut self, at_most: usize) -> Option<Taken> {
        let backlog = self.0.take()?;
        let count = backlog.len().min(at_most);
        Some(Taken { backlog, count })
    }

    /// Puts back what was taken out, of which `consumed` bytes were. Tells how many of the lent bytes were not.
    pub(crate) fn put_back(&mut self, taken: Taken, consumed: usize) -> usize {
        let Taken { mut backlog, count } = taken;
        let consumed = consumed.min(count);
        backlog.from += consumed;
        backlog.waits = consumed == 0 && !backlog.fresh;
        backlog.fresh = false;
        let came_meanwhile = self.0.take();
        if backlog.len() > 0 {
            self.0 = Some(backlog);
        }
        if let Some(more) = came_meanwhile {
            self.append(more.rest());
        }
        count - consumed
    }

    /// Everything that is kept.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self.0 {
            Some(mut backlog) => {
                backlog.forget_consumed();
                backlog.bytes
            }
            None => Vec::new(),
        }
    }
}

impl Backlog {
    fn len(&self) -> usize {
        self.bytes.len() - self.from
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.from..).unwrap_or_default()
    }

    fn forget_consumed(&mut self) {
        self.bytes.drain(..self.from);
        self.from = 0;
    }

    /// Moves the rest to the beginning as soon as more has been consumed than is left, so that each byte is moved once at
    /// most for each that is consumed.
    fn make_room(&mut self) {
        if self.from >= self.len() {
            self.forget_consumed();
        }
    }
}

impl Taken {
    /// The bytes to lend.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        let Backlog { bytes, from, .. } = &mut *self.backlog;
        bytes.get_mut(*from..*from + self.count).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lend(kept: &mut Kept, at_most: usize, consumed: usize) -> Vec<u8> {
        let mut taken = kept.take(at_most).expect("something is kept");
        let lent = taken.bytes().to_vec();
        assert_eq!(kept.put_back(taken, consumed), lent.len() - consumed.min(lent.len()));
        lent
    }

    #[test]
    fn kept_bytes_stay_in_order() {
        let mut kept = Kept::new(b"abcdef".to_vec());
        assert_eq!(lend(&mut kept, 4, 2), b"abcd");
        kept.append(b"gh");
        assert_eq!(kept.len(), 6);
        assert_eq!(lend(&mut kept, 100, 3), b"cdefgh");
        kept.append(b"ijk");
        assert_eq!(kept.into_bytes(), b"fghijk");
    }

    #[test]
    fn what_was_lent_comes_before_what_came_with_it() {
        let mut kept = Kept::default();
        kept.append(b" budget");
        kept.keep(b"lent");
        assert!(kept.is_due());
        assert_eq!(lend(&mut kept, 100, 0), b"lent budget");
        assert!(kept.is_due(), "a part of it was new");
    }

    #[test]
    fn nothing_kept_takes_no_memory() {
        const { assert!(size_of::<Kept>() == size_of::<usize>()) };
        assert!(Kept::new(Vec::new()).is_empty());
        let mut kept = Kept::default();
        kept.append(b"");
        assert!(kept.is_empty());
        kept.append(b"abc");
        assert!(!kept.is_empty());
        lend(&mut kept, 100, 3);
        assert!(kept.is_empty());
        assert!(kept.take(100).is_none());
    }

    #[test]
    fn what_was_refused_twice_waits_for_something_new() {
        let mut kept = Kept::default();
        kept.keep(b"half");
        assert!(kept.is_due(), "once more, whatever comes");
        lend(&mut kept, 100, 0);
        assert!(!kept.is_due());
        kept.append(b"");
        assert!(!kept.is_due(), "nothing came");
        kept.append(b"rest");
        assert!(kept.is_due());
        lend(&mut kept, 100, 0);
        assert!(kept.is_due(), "it was new");
        lend(&mut kept, 100, 1);
        assert!(kept.is_due(), "something was consumed");
        lend(&mut kept, 100, 0);
        assert!(!kept.is_due());
        kept.wake();
        assert!(kept.is_due());
    }

    #[test]
    fn small_steps_through_much_do_not_move_it_each_time() {
        let mut kept = Kept::new(vec![1; 64 * 1024]);
        for step in 1..1 << 20 {
            lend_one(&mut kept);
            kept.append(&[1]);
            let from = kept.0.as_ref().map(|backlog| backlog.from);
            assert!(step + 1 >= 64 * 1024 || from == Some(step), "it was moved after {step} steps");
        }
        assert_eq!(kept.len(), 64 * 1024);
        let backlog = kept.0.as_ref().expect("it is full");
        assert!(backlog.bytes.len() <= 2 * 64 * 1024, "{} bytes", backlog.bytes.len());
    }

    fn lend_one(kept: &mut Kept) {
        let taken = kept.take(1).expect("something is kept");
        kept.put_back(taken, 1);
    }

    #[test]
    fn what_comes_while_it_is_lent_stands_behind_it() {
        let mut kept = Kept::new(b"abcd".to_vec());
        let taken = kept.take(4).expect("kept");
        kept.append(b"ef");
        kept.put_back(taken, 1);
        assert_eq!(kept.into_bytes(), b"bcdef");
    }
}
