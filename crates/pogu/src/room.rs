//! Rooms with a state: what a user of the engine writes for them, and how a room is reached.
//!
//! ```text
//!   session --join, leave, post-->  home worker: the room's state, one call at a time  --broadcast, send_to--> members
//! ```
//!
//! A room needs no state: any number is one, as long as it has members. A room of a range that [`Core::open_room`] or
//! [`Core::open_rooms`] was told about has a value of the user's at its home, the worker that puts its joins, leaves and
//! broadcasts in order. The value is called there with `&mut self`, between two of them, so what it decides has a place in
//! the same order: no lock, and no message that a member sees too early.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::sync::{Arc, Weak};

use pogu_port::PostError;
use pogu_wire::FrameFormat;

use crate::core::{Core, Shared};
use crate::error::{Error, Result};
use crate::identity::{Room, SessionId};
use crate::message::Message;
use crate::post::{Errand, PostOutcome};
use crate::room_context::RoomContext;
use crate::room_kinds::RoomKind;
use crate::session::sealed::AsAny;

/// The user's state of a room. It lives at the room's home and is called there only, one call at a time, with `&mut self`.
///
/// A handler must not block: it would hold up every session of that worker. A panic drops the state and its timer; the members stay,
/// and broadcasts go on. One that [stays](Core::open_room) is made anew when the room is posted to or joined next, and told of that
/// ([`RoomState::on_restart`]); one of a [range](Core::open_rooms) when its last member has left and another one comes.
///
/// When the core stops, every worker stays until the last session of the core has ended: so each member is seen to leave here, and
/// what sessions say last comes, be it in `on_disconnected`, and be they members or not. Nobody is waited for longer than 200 ms
/// beyond the end of the drain. What rooms then say to each other may come too late. A state is told once, before all that, when
/// its home begins to stop ([`RoomState::on_stopping`]); one that stays is dropped with its worker, without a further call. Members
/// whose worker goes alone, because its thread does, leave with it. A home that goes alone takes its rooms with it: their states are
/// dropped without having been told, and only those of their members that lived there are seen to leave.
///
/// # A room that is not for everybody
///
/// A join cannot be refused: [`Context::move_to`](crate::Context::move_to) is both or neither because nobody can come in between.
/// So who may come in is asked first, of the state, which keeps a place for a while and lets the session join. A session that ends
/// on its way, or may not join because it is in too many rooms, never comes: its place is free when its time is over. Whoever comes
/// later than that, or without asking, is put out:
///
/// ```
/// use std::collections::BTreeMap;
/// use std::time::Duration;
///
/// use pogu::{Context, RoomContext, RoomRef, RoomState, Session, SessionId, SessionRef, Time};
///
/// const FULL: u16 = 7;
///
/// /// From the answer to a join: a few turns.
/// const KEPT: Duration = Duration::from_secs(10);
///
/// #[derive(Default)]
/// struct Arena {
///     /// Until when a place is kept for who has not come.
///     places: BTreeMap<SessionId, Option<Time>>,
/// }
///
/// impl Arena {
///     fn ask<S: Session>(&mut self, cx: &mut RoomContext<'_>, fighter: SessionRef<S>) {
///         let (room, now) = (cx.room(), cx.now());
///         self.places.retain(|_, kept_until| kept_until.is_none_or(|kept_until| now < kept_until));
///         if self.places.len() >= 10 {
///             cx.send_to(fighter, FULL, b"");
///             return;
///         }
///         let joins = move |_: &mut S, cx: &mut Context<'_>| _ = cx.join(room);
///         if cx.post(fighter, joins).is_posted() {
///             self.places.entry(fighter.id()).or_insert(Some(now + KEPT));
///         }
///     }
/// }
///
/// impl RoomState for Arena {
///     fn on_join(&mut self, cx: &mut RoomContext<'_>, member: SessionId) {
///         match self.places.get_mut(&member) {
///             Some(kept_until) => *kept_until = None,
///             None => _ = cx.kick(member, "it has no place in the arena"),
///         }
///     }
///
///     fn on_leave(&mut self, _cx: &mut RoomContext<'_>, member: SessionId) {
///         self.places.remove(&member);
///     }
/// }
///
/// // In a handler of a session, which gives its place back by leaving the room:
/// fn enter<S: Session>(session: &S, cx: &mut Context<'_>, arena: &RoomRef<Arena>) {
///     let fighter = cx.reference(session);
///     let _ = cx.post_to_room(arena, move |arena, cx| arena.ask(cx, fighter));
/// }
/// ```
///
/// The room has to be one of [`Core::open_room`]: those of [`Core::open_rooms`] have no state before somebody has joined.
pub trait RoomState: AsAny {
    /// A session joins: every broadcast from now on reaches it. What is sent to it here arrives after its own `on_joined`.
    fn on_join(&mut self, cx: &mut RoomContext<'_>, member: SessionId) {
        let _ = (cx, member);
    }

    /// A session has left, or has ended: no broadcast from now on reaches it.
    fn on_leave(&mut self, cx: &mut RoomContext<'_>, member: SessionId) {
        let _ = (cx, member);
    }

    /// The time of [`RoomContext::set_timer`] has come.
    fn on_timer(&mut self, cx: &mut RoomContext<'_>) {
        let _ = cx;
    }

    /// The core stops: the time for last words, and to save. Called once, when the home of the room begins to stop, as
    /// [`Session::on_stopping`](crate::Session::on_stopping) is of sessions: members are still there, hear what is broadcast or sent
    /// to them here before their connections end, and leave after it ([`RoomState::on_leave`]). What they say as they are told, and
    /// when they end, comes later. Not called when a room merely empties or is closed, nor of a state that is made after
    /// that moment.
    fn on_stopping(&mut self, cx: &mut RoomContext<'_>) {
        let _ = cx;
    }

    /// The state before this one has panicked. Who has stayed in the room, [`RoomContext::list_members`] tells; what they asked the
    /// other one for, and were not told, they wait for in vain.
    fn on_restart(&mut self, cx: &mut RoomContext<'_>) {
        let _ = cx;
    }
}

impl Core {
    /// Gives a room a state, which `make` makes at the room's home now, and which stays until it is
    /// [closed](RoomRef::close) or the core ends. A room that has members already, who came to one without a state, gets its state when
    /// they have left and it is joined or posted to again.
    ///
    /// Broadcasts of the room's own are encoded in the course's frame format.
    ///
    /// # Errors
    /// The room is open already, [`OPEN_ROOMS_MAX`](crate::OPEN_ROOMS_MAX) are, or the inbox of its home is full or closed.
    pub fn open_room<R, F>(&self, room: Room, make: F) -> Result<RoomRef<R>>
    where
        R: RoomState,
        F: Fn(Room) -> R + Send + Sync + 'static,
    {
        self.open_room_with(room, FrameFormat::course(), make)
    }

    /// As [`Core::open_room`]; `format` is what broadcasts of the room's own are encoded in. That of the service whose sessions
    /// join it is the best: for members of services with another format each worker encodes them once more.
    ///
    /// # Errors
    /// As [`Core::open_room`], or the format contradicts itself.
    pub fn open_room_with<R, F>(&self, room: Room, format: FrameFormat, make: F) -> Result<RoomRef<R>>
    where
        R: RoomState,
        F: Fn(Room) -> R + Send + Sync + 'static,
    {
        let opened = RoomRef::new(room, Arc::clone(self.shared()));
        let mut outcome = PostOutcome::Gone;
        self.open(room.0..=room.0, format, true, make, |kind, left| {
            outcome = opened.tell_home(|| Message::OpenRoom { room, kind: Arc::clone(kind) }, left);
            outcome.is_posted()
        })?;
        match outcome {
            PostOutcome::Posted => Ok(opened),
            PostOutcome::Overloaded => Err(Error::Workers("an inbox is full")),
            PostOutcome::Gone => Err(Error::Workers("the core has stopped")),
        }
    }

    /// Gives every room of a range a state while it has members: `make` makes it at the room's home when the first one joins, and
    /// it is dropped when the last one has left. A room that is empty costs nothing. `format` is what broadcasts of the
    /// rooms' own are encoded in.
    ///
    /// # Errors
    /// A room of the range is open already, or [`OPEN_ROOMS_MAX`](crate::OPEN_ROOMS_MAX) are.
    pub fn open_rooms<R, F>(&self, rooms: RangeInclusive<u64>, format: FrameFormat, make: F) -> Result<RoomRefs<R>>
    where
        R: RoomState,
        F: Fn(Room) -> R + Send + Sync + 'static,
    {
        self.open(rooms, format, false, make, |_, _| true)
    }

    fn open<R, F>(
        &self,
        rooms: RangeInclusive<u64>,
        format: FrameFormat,
        stays: bool,
        make: F,
        is_told: impl FnOnce(&Arc<RoomKind>, &mut Vec<Message>) -> bool,
    ) -> Result<RoomRefs<R>>
    where
        R: RoomState,
        F: Fn(Room) -> R + Send + Sync + 'static,
    {
        format.validate()?;
        let make = Box::new(move |room| Box::new(make(room)) as Box<dyn RoomState>);
        let core = Arc::clone(self.shared());
        let kind = core.room_kinds().add(RoomKind::new(rooms.clone(), format, stays, make), is_told)?;
        Ok(RoomRefs { rooms, core, kind: Arc::downgrade(&kind), state: PhantomData })
    }
}

/// A range of rooms whose state is an `R`. Clones are the same ones; `Send` and `Sync`: keep them anywhere.
pub struct RoomRefs<R> {
    rooms: RangeInclusive<u64>,
    core: Arc<Shared>,
    /// What was opened: gone once it is closed. What makes its states may hold this very range.
    kind: Weak<RoomKind>,
    state: PhantomData<fn(R)>,
}

impl<R: RoomState> RoomRefs<R> {
    /// One of them; `None` for a room that is not of the range.
    pub fn room(&self, room: Room) -> Option<RoomRef<R>> {
        self.rooms.contains(&room.0).then(|| RoomRef::new(room, Arc::clone(&self.core)))
    }

    /// Closes the range: who joins a room of it that is empty finds one without a state, and the range can be opened again. A
    /// room that has a state keeps it until its last member has left, or until it is [closed](RoomRef::close) itself. What was opened
    /// in its place since is not closed.
    pub fn close(&self) {
        if let Some(kind) = self.kind.upgrade() {
            self.core.room_kinds().forget_kind(&kind);
        }
    }
}

/// A room whose state is an `R`. Clones are the same one; `Send` and `Sync`: keep it anywhere.
pub struct RoomRef<R> {
    room: Room,
    core: Arc<Shared>,
    state: PhantomData<fn(R)>,
}

impl<R: RoomState> RoomRef<R> {
    fn new(room: Room, core: Arc<Shared>) -> RoomRef<R> {
        RoomRef { room, core, state: PhantomData }
    }

    /// Its name: what sessions join.
    pub fn room(&self) -> Room {
        self.room
    }

    /// Runs `closure` at the room's home with its state, from anywhere: a plain thread, a job. In a handler,
    /// [`Context::post_to_room`](crate::Context::post_to_room) keeps the order of what the session does.
    ///
    /// Never blocks. If the room has no state when it arrives (it is of [`Core::open_rooms`] and has no members, or its state has
    /// panicked; it is of [`Core::open_room`] and was opened over members; no state could be made) the closure is dropped and counted
    /// as [`Counters::posts_to_gone`](crate::Counters::posts_to_gone).
    pub fn post(&self, closure: impl FnOnce(&mut R, &mut RoomContext<'_>) + Send + 'static) -> PostOutcome {
        self.tell_home(|| room_visit(self, closure), &mut Vec::new())
    }

    /// Closes the room from anywhere; a state closes its own with [`RoomContext::close`]. Behind what was posted to it before, its
    /// state is dropped where it is, without a further call, and its timer with it. Whoever is in the room stays in it, and
    /// broadcasts go on: it is one without a state. A room of [`Core::open_room`] can then be opened again; one of a range that is
    /// open gets a new state from the first who joins it when everybody has left.
    ///
    /// Never blocks. If the outcome is [`PostOutcome::Overloaded`], nothing has changed: call it again. To close a room twice does
    /// no harm, but if it has been opened again in between, it is closed again.
    pub fn close(&self) -> PostOutcome {
        let mut outcome = PostOutcome::Gone;
        let room = self.room;
        self.core.room_kinds().close(room, |kind, left| {
            outcome = self.tell_home(|| Message::CloseRoom { room, kind }, left);
            outcome != PostOutcome::Overloaded
        });
        outcome
    }

    /// `left`: as in [`Shared::post_under_lock`].
    fn tell_home(&self, message: impl FnOnce() -> Message, left: &mut Vec<Message>) -> PostOutcome {
        let reachable = !self.core.has_stopped();
        let home = self.room.home(self.core.workers());
        match reachable.then(|| self.core.post_under_lock(home, message(), left)) {
            Some(Ok(())) => PostOutcome::Posted,
            Some(Err(PostError::Full(_))) => {
                self.core.outside.count(|outside| &outside.posts_refused);
                PostOutcome::Overloaded
            }
            None | Some(Err(PostError::Closed(_))) => {
                self.core.outside.count(|outside| &outside.posts_to_gone);
                PostOutcome::Gone
            }
        }
    }

    pub(crate) fn is_of(&self, core: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.core, core)
    }
}

impl<R> Clone for RoomRef<R> {
    fn clone(&self) -> RoomRef<R> {
        RoomRef { room: self.room, core: Arc::clone(&self.core), state: PhantomData }
    }
}

impl<R> Clone for RoomRefs<R> {
    fn clone(&self) -> RoomRefs<R> {
        let (core, kind) = (Arc::clone(&self.core), Weak::clone(&self.kind));
        RoomRefs { rooms: self.rooms.clone(), core, kind, state: PhantomData }
    }
}

impl<R> fmt::Debug for RoomRef<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.room, f)
    }
}

impl<R> fmt::Debug for RoomRefs<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rooms {} to {}", self.rooms.start(), self.rooms.end())
    }
}

/// A closure for the state of a room, with its types erased.
pub(crate) trait RoomVisit: Send {
    /// True if the state was of the type that the closure wants.
    fn visit(self: Box<Self>, state: &mut dyn Any, cx: &mut RoomContext<'_>) -> bool;
}

struct Typed<R, F> {
    closure: F,
    state: PhantomData<fn(R)>,
}

impl<R, F> RoomVisit for Typed<R, F>
where
    R: RoomState,
    F: FnOnce(&mut R, &mut RoomContext<'_>) + Send,
{
    fn visit(self: Box<Self>, state: &mut dyn Any, cx: &mut RoomContext<'_>) -> bool {
        let state = state.downcast_mut::<R>();
        state.map(|state| (self.closure)(state, cx)).is_some()
    }
}

/// The message that brings `closure` to the home of `room`.
pub(crate) fn room_visit<R: RoomState>(
    room: &RoomRef<R>,
    closure: impl FnOnce(&mut R, &mut RoomContext<'_>) + Send + 'static,
) -> Message {
    let visit = Errand::new(Box::new(Typed { closure, state: PhantomData }) as Box<dyn RoomVisit>);
    Message::VisitRoom { room: room.room, visit }
}
