//! A world with those who act in it.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;

use pogu_port::{BoundListener, Clock, Drains, Faults, OsError, PortConfig};

use super::peer::{Activity, Actor, Peer};
use super::station::Station;
use super::world::{Capability, Silence, World};

/// What a scenario is played on. Clones share the world and the peers in it.
#[derive(Clone)]
pub struct Stage {
    world: Rc<dyn World>,
    actors: Rc<RefCell<Vec<Rc<RefCell<Actor>>>>>,
    stations: Rc<RefCell<usize>>,
    /// Those of every port, which say how it ended.
    plans: Rc<RefCell<Vec<Faults>>>,
}

impl Stage {
    pub fn new(world: Rc<dyn World>) -> Stage {
        Stage { world, actors: Rc::default(), stations: Rc::default(), plans: Rc::default() }
    }

    /// The same peers, and ports of another world.
    pub fn in_world(&self, world: Rc<dyn World>) -> Stage {
        Stage { world, ..self.clone() }
    }

    pub fn world(&self) -> &dyn World {
        &*self.world
    }

    pub fn has(&self, capability: Capability) -> bool {
        self.world.lacks(capability).is_none()
    }

    pub fn clock(&self) -> Clock {
        self.world.clock()
    }

    /// A port with a memory.
    pub fn station(&self) -> Station {
        self.station_with(|_| {})
    }

    pub fn station_with(&self, change: impl FnOnce(&mut PortConfig)) -> Station {
        *self.stations.borrow_mut() += 1;
        let seed = self.world.open(&self.config(change)).expect("a port opens");
        Station::start(self, seed)
    }

    pub fn config(&self, change: impl FnOnce(&mut PortConfig)) -> PortConfig {
        let mut config = PortConfig::default();
        config.clock = self.clock();
        config.faults = self.world.faults();
        change(&mut config);
        self.plans.borrow_mut().push(config.faults.clone());
        config
    }

    /// How many ports were opened.
    pub fn stations(&self) -> usize {
        *self.stations.borrow()
    }

    /// When all ports have gone: none had anything in flight, met memory that the kernel could not touch, or lost a buffer.
    pub fn assert_ended_well(&self) {
        for plan in &*self.plans.borrow() {
            let ends = plan.drains();
            assert_eq!(ends, Drains { clean: ends.clean, ..Drains::default() });
        }
    }

    pub fn bind(&self, address: SocketAddr) -> Result<BoundListener, OsError> {
        self.world.bind(address)
    }

    pub fn connect(&self, address: SocketAddr) -> Peer {
        self.try_connect(address).expect("somebody listens")
    }

    pub fn try_connect(&self, address: SocketAddr) -> Result<Peer, ErrorKind> {
        let line = self.world.connect(address).map_err(|error| error.kind())?;
        let actor = Rc::new(RefCell::new(Actor::new(line)));
        self.actors.borrow_mut().push(Rc::clone(&actor));
        Ok(Peer::new(self.clone(), actor))
    }

    pub fn nobody(&self) -> SocketAddr {
        self.world.nobody()
    }

    pub fn silence(&self) -> Silence {
        self.world.silence()
    }

    /// Lets every peer do what it can do now.
    pub fn act(&self) -> Activity {
        let mut actors = self.actors.borrow_mut();
        let activity = actors.iter().map(|actor| actor.borrow_mut().act()).max();
        actors.retain(|actor| !actor.borrow().has_left());
        activity.unwrap_or(Activity::Idle)
    }
}
