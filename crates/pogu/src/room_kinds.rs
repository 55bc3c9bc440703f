//! Which rooms have a state, and who makes it.
//!
//! ```text
//!   home 0   [ 1 to 1,000 ] [ 5,004 ]              a range is in the list of every home, a room of its own in that of its home:
//!   home 1   [ 1 to 1,000 ] [ 5,001 ] [ 5,009 ]    each looks at its own list, and waits for nobody but who opens and closes
//! ```
//!
//! A list is looked at when a room that has no entry at its home gets a member or is spoken to. It is in order, so finding a room,
//! and finding that a range overlaps another, takes as many steps as the logarithm of its length.
//!
//! A home is told under the lock of its list, so that it is told in the order in which the list changes. Nothing of a user's is
//! dropped under such a lock: it might open or close a room in its turn. The models (`loom/`) compile this file as it stands.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError};

use pogu_wire::FrameFormat;

use crate::error::{Error, Result};
use crate::identity::Room;
use crate::message::Message;
use crate::room::RoomState;
use crate::sync::{AtomicUsize, Mutex, MutexGuard, Ordering};
use crate::worker::drop_quietly;

/// Rooms whose state one factory makes.
pub(crate) struct RoomKind {
    rooms: RangeInclusive<u64>,
    /// What their broadcasts are encoded in; members of services with another format get them encoded once more.
    pub(crate) format: FrameFormat,
    /// The state stays when the last member leaves.
    pub(crate) stays: bool,
    make: Factory,
}

/// Whoever drops it last, a panic of what it holds harms nobody.
struct Factory(Option<Box<Make>>);

impl Drop for Factory {
    fn drop(&mut self) {
        drop_quietly(self.0.take());
    }
}

type Make = dyn Fn(Room) -> Box<dyn RoomState> + Send + Sync;

impl RoomKind {
    pub(crate) fn new(rooms: RangeInclusive<u64>, format: FrameFormat, stays: bool, make: Box<Make>) -> RoomKind {
        RoomKind { rooms, format, stays, make: Factory(Some(make)) }
    }

    /// The state of a room; `None` only while it is dropped.
    pub(crate) fn make(&self, room: Room) -> Option<Box<dyn RoomState>> {
        self.make.0.as_ref().map(|make| make(room))
    }
}

impl fmt::Debug for RoomKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomKind").field("rooms", &self.rooms).finish_non_exhaustive()
    }
}

/// Rooms and ranges of rooms that are open in a core at one time. Bounds what a server keeps that opens one for each match and
/// forgets to close it: some 20 MiB beside the states. One more is an error of [`Core::open_room`](crate::Core::open_room) and
/// [`Core::open_rooms`](crate::Core::open_rooms); a range counts as one, however long it is.
pub const OPEN_ROOMS_MAX: usize = 65_536;

/// By the first number of each; none overlap.
type Opened = BTreeMap<u64, Arc<RoomKind>>;

/// All kinds of a core. See the [module](self).
pub(crate) struct RoomKinds {
    by_home: Vec<Mutex<Opened>>,
    count: AtomicUsize,
    count_max: usize,
}

fn locked(opened: &Mutex<Opened>) -> MutexGuard<'_, Opened> {
    opened.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kind_of(opened: &Opened, room: Room) -> Option<&Arc<RoomKind>> {
    let (_, kind) = opened.range(..=room.0).next_back()?;
    Some(kind).filter(|kind| kind.rooms.contains(&room.0))
}

impl RoomKinds {
    pub(crate) fn new(workers: usize) -> RoomKinds {
        RoomKinds::with_room_for(OPEN_ROOMS_MAX, workers)
    }

    pub(crate) fn with_room_for(count_max: usize, workers: usize) -> RoomKinds {
        let by_home = (0..workers).map(|_| Mutex::default()).collect();
        RoomKinds { by_home, count: AtomicUsize::new(0), count_max }
    }

    pub(crate) fn of(&self, room: Room) -> Option<Arc<RoomKind>> {
        let opened = self.by_home.get(room.home(self.by_home.len()))?;
        kind_of(&locked(opened), room).map(Arc::clone)
    }

    /// The lists that a range concerns, in their order: two that open or close at a time wait for each other.
    fn lists_of(&self, rooms: &RangeInclusive<u64>) -> impl Iterator<Item = MutexGuard<'_, Opened>> {
        let home = (rooms.start() == rooms.end()).then(|| Room(*rooms.start()).home(self.by_home.len()));
        let concerned = move |(worker, _): &(usize, _)| home.is_none_or(|home| home == *worker);
        self.by_home.iter().enumerate().filter(concerned).map(|(_, opened)| locked(opened))
    }

    /// Opens a kind, if `is_told` says that the home of its room has been told: asked while no home can look, so what is not
    /// opened was never there. What it puts into its list is dropped when homes can look again. Gives the kind back in either case.
    pub(crate) fn add(
        &self,
        kind: RoomKind,
        is_told: impl FnOnce(&Arc<RoomKind>, &mut Vec<Message>) -> bool,
    ) -> Result<Arc<RoomKind>> {
        let (first, last) = (*kind.rooms.start(), *kind.rooms.end());
        let wrong = |allowed| {
            let value = format!("{first} to {last}");
            Err(Error::Configuration { field: "the range of rooms", value, allowed })
        };
        if kind.rooms.is_empty() {
            return wrong("a range that is not empty");
        }
        let mut left = Vec::new();
        let mut lists: Vec<_> = self.lists_of(&kind.rooms).collect();
        let overlaps = |opened: &MutexGuard<'_, Opened>| {
            kind_of(opened, Room(first)).is_some() || opened.range(first..=last).next().is_some()
        };
        if lists.iter().any(overlaps) {
            return wrong("a range of rooms that are not open");
        }
        let one_more = |count| (count < self.count_max).then_some(count + 1);
        if self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return wrong("one of at most 65,536 rooms and ranges that are open");
        }
        let kind = Arc::new(kind);
        match is_told(&kind, &mut left) {
            true => lists.iter_mut().for_each(|opened| _ = opened.insert(first, Arc::clone(&kind))),
            false => _ = self.count.fetch_sub(1, Ordering::Relaxed),
        }
        Ok(kind)
    }

    /// Takes back that this was opened: nothing, if it has been closed, and perhaps opened again, meanwhile.
    pub(crate) fn forget_kind(&self, kind: &Arc<RoomKind>) {
        self.forget_if(&kind.rooms, |other| Arc::ptr_eq(other, kind), |_, _| true);
    }

    /// Takes back that a room of its own was opened, if `is_told` says that its home will hear of it: asked while no home can
    /// look, and told what was opened, if it was. Its list is that of [`RoomKinds::add`].
    pub(crate) fn close(&self, room: Room, is_told: impl FnOnce(Option<Arc<RoomKind>>, &mut Vec<Message>) -> bool) {
        self.forget_if(&(room.0..=room.0), |kind| kind.stays, is_told);
    }

    fn forget_if(
        &self,
        rooms: &RangeInclusive<u64>,
        is_it: impl Fn(&Arc<RoomKind>) -> bool,
        is_told: impl FnOnce(Option<Arc<RoomKind>>, &mut Vec<Message>) -> bool,
    ) {
        let mut left = Vec::new();
        let mut lists: Vec<_> = self.lists_of(rooms).collect();
        let first = rooms.start();
        let opened = lists.first().and_then(|opened| opened.get(first)).filter(|kind| is_it(kind)).map(Arc::clone);
        if !is_told(opened.clone(), &mut left) || opened.is_none() {
            return;
        }
        lists.iter_mut().for_each(|list| _ = list.remove(first));
        self.count.fetch_sub(1, Ordering::Relaxed);
        drop(lists);
    }

    /// The core ends: what factories hold on to, a name of the core, say, is let go of.
    pub(crate) fn clear(&self) {
        for opened in &self.by_home {
            let forgotten = std::mem::take(&mut *locked(opened));
            drop(forgotten);
        }
    }

    /// How many are open, by their count.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}
