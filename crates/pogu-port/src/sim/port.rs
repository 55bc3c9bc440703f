//! What the network knows of the ports: what they should look at, and until when they sleep.

use std::collections::VecDeque;

use crate::clock::Time;
use crate::slots::{Name, Slots};

/// Whom an end or a listener tells that something has happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    port: Name,
    /// What the port calls it.
    thing: Name,
    /// True exactly while it stands in the port's list.
    told: bool,
}

impl Watch {
    pub(super) fn new(port: Name, thing: Name) -> Watch {
        Watch { port, thing, told: false }
    }

    pub(super) fn port(&self) -> Name {
        self.port
    }

    /// The port has taken it from its list.
    pub(super) fn heard(&mut self) {
        self.told = false;
    }
}

/// A port, seen from the network.
#[derive(Debug, Default)]
struct Sleeper {
    look_at: VecDeque<Name>,
    asleep: Sleep,
}

impl Sleeper {
    /// Something has happened. A thread that is held up finds it afterwards.
    fn rouse(&mut self, late: Option<Time>) {
        self.asleep = match (self.asleep, late) {
            (Sleep::HeldUp(until), _) | (_, Some(until)) => Sleep::HeldUp(until),
            (_, None) => Sleep::Awake,
        };
    }
}

/// Whether a port would sleep if it could.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Sleep {
    /// It has not been started.
    #[default]
    Unborn,
    /// It has something to do, or nobody has found out that it has not.
    Awake,
    /// Until then, unless something happens (`None`: for ever).
    Until(Option<Time>),
    /// Its thread is held up until then, whatever happens: it was woken late, or it is paused.
    HeldUp(Time),
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Ports(Slots<Sleeper>);

impl Default for Ports {
    fn default() -> Ports {
        Ports(Slots::new(u32::MAX))
    }
}

impl Ports {
    pub(super) fn add(&mut self) -> Name {
        let name = self.0.insert_with(|_| Sleeper::default());
        name.unwrap_or(Name { slot: u32::MAX, generation: 0 })
    }

    pub(super) fn remove(&mut self, port: Name) {
        self.0.remove(port);
    }

    pub(super) fn set(&mut self, port: Name, asleep: Sleep) {
        if let Some(sleeper) = self.0.get_mut(port) {
            sleeper.asleep = asleep;
        }
    }

    /// True if waking it would make a difference.
    pub(super) fn is_asleep(&self, port: Name) -> bool {
        self.0.get(port).is_some_and(|sleeper| matches!(sleeper.asleep, Sleep::Until(_)))
    }

    /// Wakes a port that has been started: at once, or `late`.
    pub(super) fn wake(&mut self, port: Name, late: Option<Time>) {
        if let Some(sleeper) = self.0.get_mut(port).filter(|sleeper| sleeper.asleep != Sleep::Unborn) {
            sleeper.rouse(late);
        }
    }

    pub(super) fn tell(&mut self, watch: &mut Watch, late: Option<Time>) {
        let Some(sleeper) = self.0.get_mut(watch.port) else { return };
        if !watch.told {
            watch.told = true;
            sleeper.look_at.push_back(watch.thing);
            sleeper.rouse(late);
        }
    }

    /// Lets the port look at a thing that no watch has told it of.
    pub(super) fn look(&mut self, port: Name, thing: Name) {
        if let Some(sleeper) = self.0.get_mut(port) {
            sleeper.look_at.push_back(thing);
            sleeper.rouse(None);
        }
    }

    /// The port's thread is awake, and not held up any longer.
    pub(super) fn release(&mut self, port: Name) {
        if let Some(sleeper) = self.0.get_mut(port).filter(|sleeper| sleeper.asleep != Sleep::Unborn) {
            sleeper.asleep = Sleep::Awake;
        }
    }

    /// True if the port's thread is held up beyond `now`.
    pub(super) fn is_held_up(&self, port: Name, now: Time) -> bool {
        self.0.get(port).is_some_and(|sleeper| matches!(sleeper.asleep, Sleep::HeldUp(until) if until > now))
    }

    /// True if the port sleeps beyond `now`, and nothing has woken it.
    pub(super) fn sleeps_on(&self, port: Name, now: Time) -> bool {
        let sleeps_on = |asleep| matches!(asleep, Sleep::Until(until) if until.is_none_or(|until| until > now));
        self.0.get(port).is_some_and(|sleeper| sleeps_on(sleeper.asleep))
    }

    /// True if the port should look at something.
    pub(super) fn has_looks(&self, port: Name) -> bool {
        self.0.get(port).is_some_and(|sleeper| !sleeper.look_at.is_empty())
    }

    /// What the port should look at, oldest first.
    pub(super) fn take(&mut self, port: Name) -> VecDeque<Name> {
        self.0.get_mut(port).map(|sleeper| std::mem::take(&mut sleeper.look_at)).unwrap_or_default()
    }

    /// Lets the port sleep until `until`, unless it is busy or has something to look at. True if it sleeps.
    pub(super) fn sleep(&mut self, port: Name, until: Option<Time>, busy: bool) -> bool {
        let Some(sleeper) = self.0.get_mut(port) else { return false };
        let sleeps = !busy && sleeper.look_at.is_empty();
        sleeper.asleep = if sleeps { Sleep::Until(until) } else { Sleep::Awake };
        sleeps
    }

    fn sleeps(&self) -> impl Iterator<Item = Sleep> {
        self.0.values().map(|sleeper| sleeper.asleep)
    }

    /// True if some port has something to do now.
    pub(super) fn is_busy(&self, now: Time) -> bool {
        self.sleeps().any(|sleep| match sleep {
            Sleep::Unborn => false,
            Sleep::Awake => true,
            Sleep::Until(until) => until.is_some_and(|until| until <= now),
            Sleep::HeldUp(until) => until <= now,
        })
    }

    /// When the first of those asleep wakes by itself.
    pub(super) fn next(&self) -> Option<Time> {
        let until = |sleep| match sleep {
            Sleep::Until(until) => until,
            Sleep::HeldUp(until) => Some(until),
            Sleep::Unborn | Sleep::Awake => None,
        };
        self.sleeps().filter_map(until).min()
    }
}
