//! A bounded queue with the shape of the real one: any number of producers and consumers, a place taken by a compare and
//! exchange on an index, and its value published by a stamp. Whether it is empty is read from the indices alone, so that
//! nothing but the fences of the code under test orders that look behind what came before it. (A push that finds it full
//! has a fence of its own, as in the real one.)

use crate::sync::{AtomicUsize, Mutex, Ordering, fence, yield_now};

pub(crate) struct ArrayQueue<T> {
    head: AtomicUsize,
    tail: AtomicUsize,
    slots: Vec<Slot<T>>,
}

struct Slot<T> {
    /// The position of the value that is there plus one, or else of the one that it waits for.
    stamp: AtomicUsize,
    value: Mutex<Option<T>>,
}

/// Positions of one round and the next differ even in a queue of one.
const STRIDE: usize = 1 << 16;

impl<T> ArrayQueue<T> {
    pub(crate) fn new(capacity: usize) -> ArrayQueue<T> {
        let slot = |index| Slot { stamp: AtomicUsize::new(index), value: Mutex::new(None) };
        ArrayQueue { head: AtomicUsize::new(0), tail: AtomicUsize::new(0), slots: (0..capacity).map(slot).collect() }
    }

    fn slot(&self, position: usize) -> &Slot<T> {
        &self.slots[position % STRIDE]
    }

    fn next(&self, position: usize) -> usize {
        match position % STRIDE + 1 < self.slots.len() {
            true => position + 1,
            false => (position / STRIDE + 1) * STRIDE,
        }
    }

    pub(crate) fn push(&self, value: T) -> Result<(), T> {
        let mut tail = self.tail.load(Ordering::Relaxed);
        loop {
            let slot = self.slot(tail);
            let stamp = slot.stamp.load(Ordering::Acquire);
            if stamp == tail {
                match self.tail.compare_exchange(tail, self.next(tail), Ordering::SeqCst, Ordering::Relaxed) {
                    Ok(_) => {
                        *slot.value.lock().expect("no panic holds it") = Some(value);
                        slot.stamp.store(tail + 1, Ordering::Release);
                        return Ok(());
                    }
                    Err(now) => tail = now,
                }
            } else {
                // The real one has this fence too, before it says that it is full.
                fence(Ordering::SeqCst);
                let head = self.head.load(Ordering::SeqCst);
                if head + STRIDE == tail {
                    return Err(value);
                }
                yield_now();
                tail = self.tail.load(Ordering::SeqCst);
            }
        }
    }

    pub(crate) fn pop(&self) -> Option<T> {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            let slot = self.slot(head);
            let stamp = slot.stamp.load(Ordering::Acquire);
            if stamp == head + 1 {
                match self.head.compare_exchange(head, self.next(head), Ordering::SeqCst, Ordering::Relaxed) {
                    Ok(_) => {
                        let value = slot.value.lock().expect("no panic holds it").take();
                        slot.stamp.store(head + STRIDE, Ordering::Release);
                        return value;
                    }
                    Err(now) => head = now,
                }
            } else {
                if self.tail.load(Ordering::SeqCst) == head {
                    return None;
                }
                yield_now();
                head = self.head.load(Ordering::SeqCst);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        let count = |position: usize| position / STRIDE * self.slots.len() + position % STRIDE;
        let tail = self.tail.load(Ordering::SeqCst);
        count(tail).saturating_sub(count(self.head.load(Ordering::SeqCst)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tail.load(Ordering::SeqCst) == self.head.load(Ordering::SeqCst)
    }
}
