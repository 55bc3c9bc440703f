//! Rooms of one thread, for the runtimes that have one: who is in a room, and what waits for each connection.
//!
//! What waits is collected in a [`Queue`] and leaves as a whole when the connection's writer asks for it, so what was said
//! while it wrote leaves together. The writer gives an empty queue for a full one: the two change places, and their memory
//! is used again. A queue of bytes costs a copy per delivery and one plain write, a queue of shared frames neither copy nor
//! plain write. A client that lets too much wait does not read, and its session ends.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::frame::{self, ECHO, JOIN, SAY, Violation};

/// Sessions that were ended because they did not read.
static CUT_OFF: AtomicU64 = AtomicU64::new(0);

/// Frames that may wait for one client, where they are shared; one more ends its session.
pub const WAITING_FRAMES_MAX: usize = 4096;

/// Bytes that may wait for one client, where they are copied; one more ends its session.
pub const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// See the contract of the peers: the last line.
pub fn print_cut_off() {
    println!("{} sessions did not read and were ended", CUT_OFF.load(Ordering::Relaxed));
}

/// What waits for a connection.
pub trait Queue: Default {
    /// What a frame comes as.
    type Frame: AsRef<[u8]> + ?Sized;

    fn add(&mut self, frame: &Self::Frame);
    fn is_idle(&self) -> bool;
    /// Whether a client that lets so much wait does not read.
    fn is_too_long(&self) -> bool;
}

impl Queue for Vec<u8> {
    type Frame = [u8];

    fn add(&mut self, frame: &[u8]) {
        self.extend_from_slice(frame);
    }

    fn is_idle(&self) -> bool {
        self.is_empty()
    }

    fn is_too_long(&self) -> bool {
        self.len() > WAITING_BYTES_MAX
    }
}

impl Queue for Vec<Bytes> {
    type Frame = Bytes;

    fn add(&mut self, frame: &Bytes) {
        self.push(frame.clone());
    }

    fn is_idle(&self) -> bool {
        self.is_empty()
    }

    fn is_too_long(&self) -> bool {
        self.len() > WAITING_FRAMES_MAX
    }
}

#[derive(Default, PartialEq, Eq, Clone, Copy)]
enum Phase {
    #[default]
    Open,
    /// Nothing is added any more; what waits leaves.
    Closed,
    /// The client did not read.
    CutOff,
}

#[derive(Default)]
struct State<Q> {
    waiting: Q,
    phase: Phase,
    /// Waits for something to write.
    writer: Option<Waker>,
    /// Waits for the end.
    session: Option<Waker>,
}

/// The way to one connection.
#[derive(Default)]
pub struct Outbox<Q>(RefCell<State<Q>>);

impl<Q: Queue> Outbox<Q> {
    /// Adds a frame to what waits. A client for which too much waits does not read: its session ends.
    pub fn push(&self, frame: &Q::Frame) {
        let mut state = self.0.borrow_mut();
        if state.phase != Phase::Open {
            return;
        }
        state.waiting.add(frame);
        let waker = if state.waiting.is_too_long() {
            CUT_OFF.fetch_add(1, Ordering::Relaxed);
            state.waiting = Q::default();
            state.phase = Phase::CutOff;
            state.session.take()
        } else {
            state.writer.take()
        };
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Takes all that waits, and leaves `batch`, which is empty, in its place. Waits until there is something; `false` when
    /// nothing will come any more.
    pub async fn take(&self, batch: &mut Q) -> bool {
        poll_fn(|context| self.poll_take(batch, context)).await
    }

    fn poll_take(&self, batch: &mut Q, context: &Context<'_>) -> Poll<bool> {
        let mut state = self.0.borrow_mut();
        if !state.waiting.is_idle() {
            std::mem::swap(&mut state.waiting, batch);
            return Poll::Ready(true);
        }
        if state.phase != Phase::Open {
            return Poll::Ready(false);
        }
        state.writer = Some(context.waker().clone());
        Poll::Pending
    }

    /// Waits until the session is to be ended because its client does not read.
    pub async fn cut_off(&self) {
        poll_fn(|context| self.poll_cut_off(context)).await;
    }

    fn poll_cut_off(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.0.borrow_mut();
        if state.phase == Phase::CutOff {
            return Poll::Ready(());
        }
        if !state.session.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            state.session = Some(context.waker().clone());
        }
        Poll::Pending
    }

    fn close(&self) {
        let mut state = self.0.borrow_mut();
        if state.phase == Phase::Open {
            state.phase = Phase::Closed;
        }
        let waker = state.writer.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

type Room<Q> = RefCell<Vec<Rc<Outbox<Q>>>>;

/// All rooms by number. An empty one stays: a benchmark has few.
#[derive(Default)]
pub struct Rooms<Q>(RefCell<HashMap<u32, Rc<Room<Q>>>>);

/// The half of a session that reads. When it goes, it leaves its room and closes its outbox.
pub struct Member<Q: Queue> {
    rooms: Rc<Rooms<Q>>,
    outbox: Rc<Outbox<Q>>,
    room: Option<Rc<Room<Q>>>,
}

impl<Q: Queue> Member<Q> {
    pub fn new(rooms: Rc<Rooms<Q>>) -> Member<Q> {
        Member { rooms, outbox: Rc::default(), room: None }
    }

    /// What the other half writes.
    pub fn outbox(&self) -> Rc<Outbox<Q>> {
        Rc::clone(&self.outbox)
    }

    /// Does what a frame asks for.
    pub fn take(&mut self, id: u16, whole: &Q::Frame) -> Result<(), Violation> {
        match (id, &self.room) {
            (JOIN, _) => self.join(whole)?,
            // One thread: the order of these loops is the order for all members.
            (SAY, Some(room)) => room.borrow().iter().for_each(|member| member.push(whole)),
            (SAY, None) => return Err(Violation("a SAY before any JOIN")),
            (ECHO, _) => self.outbox.push(whole),
            _ => return Err(Violation("an unknown id")),
        }
        Ok(())
    }

    fn join(&mut self, whole: &Q::Frame) -> Result<(), Violation> {
        let number = frame::body(whole.as_ref()).try_into().map_err(|_| Violation("a room is four bytes"))?;
        self.leave();
        let room = Rc::clone(self.rooms.0.borrow_mut().entry(u32::from_le_bytes(number)).or_default());
        room.borrow_mut().push(Rc::clone(&self.outbox));
        self.room = Some(room);
        self.outbox.push(whole);
        Ok(())
    }

    fn leave(&mut self) {
        if let Some(room) = self.room.take() {
            room.borrow_mut().retain(|member| !Rc::ptr_eq(member, &self.outbox));
        }
    }
}

impl<Q: Queue> Drop for Member<Q> {
    fn drop(&mut self) {
        self.leave();
        self.outbox.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOIN_7: &[u8] = &[8, 0, 1, 0, 7, 0, 0, 0];
    const JOIN_8: &[u8] = &[8, 0, 1, 0, 8, 0, 0, 0];
    const SAY_1: &[u8] = &[5, 0, 2, 0, 1];

    fn taken(outbox: &Outbox<Vec<u8>>) -> (Poll<bool>, Vec<u8>) {
        let mut batch = Vec::new();
        let polled = outbox.poll_take(&mut batch, &Context::from_waker(Waker::noop()));
        (polled, batch)
    }

    fn member(rooms: &Rc<Rooms<Vec<u8>>>, frames: &[(u16, &[u8])]) -> Member<Vec<u8>> {
        let mut member = Member::new(Rc::clone(rooms));
        frames.iter().for_each(|(id, whole)| member.take(*id, whole).expect("honest"));
        member
    }

    #[test]
    fn what_is_said_reaches_the_room_and_nobody_else() {
        let rooms = Rc::default();
        let mut speaker = member(&rooms, &[(JOIN, JOIN_7)]);
        let (listener, stranger) = (member(&rooms, &[(JOIN, JOIN_7)]), member(&rooms, &[(JOIN, JOIN_8)]));
        let moved = member(&rooms, &[(JOIN, JOIN_7), (JOIN, JOIN_8)]);
        speaker.take(SAY, SAY_1).expect("honest");
        assert_eq!(taken(&speaker.outbox), (Poll::Ready(true), [JOIN_7, SAY_1].concat()));
        assert_eq!(taken(&listener.outbox), (Poll::Ready(true), [JOIN_7, SAY_1].concat()));
        assert_eq!(taken(&stranger.outbox), (Poll::Ready(true), JOIN_8.to_vec()));
        assert_eq!(taken(&moved.outbox), (Poll::Ready(true), [JOIN_7, JOIN_8].concat()));
        assert_eq!(taken(&moved.outbox), (Poll::Pending, vec![]));
    }

    #[test]
    fn violations_are_told() {
        let rooms = Rc::default();
        assert!(member(&rooms, &[]).take(SAY, SAY_1).is_err());
        assert!(member(&rooms, &[]).take(9, SAY_1).is_err());
        assert!(member(&rooms, &[]).take(JOIN, SAY_1).is_err());
    }

    #[test]
    fn what_waits_when_a_member_goes_still_leaves() {
        let outbox = member(&Rc::default(), &[(ECHO, SAY_1)]).outbox();
        assert_eq!(taken(&outbox), (Poll::Ready(true), SAY_1.to_vec()));
        assert_eq!(taken(&outbox), (Poll::Ready(false), vec![]));
    }

    #[test]
    fn a_client_that_lets_too_much_wait_is_cut_off_and_the_others_are_not() {
        let rooms = Rc::default();
        let (mut speaker, silent) = (member(&rooms, &[(JOIN, JOIN_7)]), member(&rooms, &[(JOIN, JOIN_7)]));
        let context = Context::from_waker(Waker::noop());
        let largest = vec![0; usize::from(u16::MAX)];
        for _ in 0..WAITING_BYTES_MAX / largest.len() {
            speaker.take(SAY, &largest).expect("honest");
            assert_eq!(taken(&speaker.outbox).0, Poll::Ready(true));
            assert_eq!(silent.outbox.poll_cut_off(&context), Poll::Pending);
        }
        speaker.take(SAY, &largest).expect("honest");
        assert_eq!(silent.outbox.poll_cut_off(&context), Poll::Ready(()));
        assert_eq!(taken(&silent.outbox), (Poll::Ready(false), vec![]));
        assert_eq!(speaker.outbox.poll_cut_off(&context), Poll::Pending);
        assert_eq!(taken(&speaker.outbox), (Poll::Ready(true), largest));
    }

    #[test]
    fn shared_frames_are_bounded_by_their_number() {
        let outbox = Outbox::<Vec<Bytes>>::default();
        let context = Context::from_waker(Waker::noop());
        (0..WAITING_FRAMES_MAX).for_each(|_| outbox.push(&Bytes::from_static(SAY_1)));
        assert_eq!(outbox.poll_cut_off(&context), Poll::Pending);
        outbox.push(&Bytes::from_static(SAY_1));
        assert_eq!(outbox.poll_cut_off(&context), Poll::Ready(()));
    }
}
