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

    /// Wakes a port that has been started.
    pub(super) fn wake(&mut self, port: Name) {
        if let Some(sleeper) = self.0.get_mut(port).filter(|sleeper| sleeper.asleep != Sleep::Unborn) {
            sleeper.asleep = Sleep::Awake;
        }
    }

    pub(super) fn tell(&mut self, watch: &mut Watch) {
        let Some(sleeper) = self.0.get_mut(watch.port) else { return };
        if !watch.told {
            watch.told = true;
            sleeper.look_at.push_back(watch.thing);
            sleeper.asleep = Sleep::Awake;
        }
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
        self.0.names().filter_map(|name| self.0.get(name)).map(|sleeper| sleeper.asleep)
    }

    /// True if some port has something to do now.
    pub(super) fn is_busy(&self, now: Time) -> bool {
        self.sleeps().any(|sleep| match sleep {
            Sleep::Unborn => false,
            Sleep::Awake => true,
            Sleep::Until(until) => until.is_some_and(|until| until <= now),
        })
    }

    /// When the first of those asleep wakes by itself.
    pub(super) fn next(&self) -> Option<Time> {
        let until = |sleep| if let Sleep::Until(until) = sleep { until } else { None };
        self.sleeps().filter_map(until).min()
    }
}
