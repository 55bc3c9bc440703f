//! The cores, services and peers of one storm, and the rounds that drive them.

use std::sync::Arc;
use std::time::Duration;

use pogu::sim::Simulation;
use pogu::{Core, Counters, Incoming, Lockstep, Refusal, ServiceHandle, Time};

use crate::client::Guest;
use crate::draw::Draw;
use crate::ledger::{Book, Ledger};
use crate::owner::Owner;
use crate::plan::Plan;
use crate::server::Host;
use crate::violation::Violation;
use crate::wild::Wild;

/// Parts of a storm that draw for themselves.
const DRAWS_WILD: u64 = 1 << 32;
const DRAWS_HOST: u64 = 2 << 32;
const DRAWS_GUEST: u64 = 3 << 32;
const DRAWS_REFUSAL: u64 = 4 << 32;
const DRAWS_OWNER: u64 = 6 << 32;

/// Rounds of one storm: many times what the longest have taken.
const ROUNDS_MAX: u64 = 20_000_000;

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) simulation: Simulation,
    pub(crate) lockstep: Lockstep,
    /// Those of servers first.
    pub(crate) cores: Vec<Core>,
    pub(crate) servers: Vec<ServiceHandle>,
    pub(crate) clients: Vec<ServiceHandle>,
    pub(crate) book: Book,
    pub(crate) wild: Vec<Wild>,
    /// As long as the storm lasts.
    pub(crate) owner: Option<Owner>,
    pub(crate) rounds: u64,
    seed: u64,
}

/// What ends a run of rounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// What was waited for has come.
    Came,
    TimeUp,
}

impl World {
    /// Opens everything. The servers listen and the clients have begun to connect.
    pub(crate) fn open(seed: u64, plan: Plan, simulation: &Simulation, book: &Book) -> Result<World, Violation> {
        let mut world = World {
            simulation: simulation.clone(),
            lockstep: Lockstep::new(simulation),
            cores: Vec::new(),
            servers: Vec::new(),
            clients: Vec::new(),
            book: book.clone(),
            wild: Vec::new(),
            owner: Some(Owner::new(Draw::new(seed, DRAWS_OWNER))),
            rounds: 0,
            seed,
            plan,
        };
        world.start().map_err(|error| Violation::Engine(error.to_string()))?;
        for index in 0..world.plan.peers {
            let mut draw = Draw::new(seed, DRAWS_WILD + index as u64);
            let server = draw.count(0, world.servers.len() - 1);
            world.wild.push(Wild::new(server, world.plan.servers[server].format, draw));
        }
        Ok(world)
    }

    fn start(&mut self) -> pogu::Result<()> {
        for (node, core) in self.plan.cores.iter().enumerate() {
            let builder = Core::builder().workers(core.workers).port(core.port.clone()).node(node as u16);
            self.cores.push(self.lockstep.start(builder)?);
        }
        let talk = Arc::new(self.plan.talk.clone());
        for (index, server) in self.plan.servers.iter().enumerate() {
            let (book, talk, seed, core) = (self.book.clone(), Arc::clone(&talk), self.seed, server.core);
            let (refuses, clock) = (server.refuses, self.simulation.clone());
            let factory = move |incoming: Incoming| {
                let mut ledger = book.open(clock.now());
                let drawn = DRAWS_REFUSAL + ledger.sessions() + ledger.refused();
                if Draw::new(seed, drawn).percent(refuses) && ledger.may_refuse(index) {
                    return Err(Refusal::new("drawn"));
                }
                let host = ledger.make_host(index, incoming.session, incoming.peer_address);
                let draw = Draw::new(seed, DRAWS_HOST + host as u64);
                Ok(Host::new(book.clone(), Arc::clone(&talk), host, core, draw))
            };
            self.servers.push(self.cores[core].serve(server.service.clone(), factory)?);
        }
        self.book.open(Time::ZERO).handles = self.servers.clone();
        let numbers = self.plan.clients.iter().map(|client| client.sessions as u32).sum();
        for (index, client) in self.plan.clients.iter().enumerate() {
            let (book, talk, seed, clock) = (self.book.clone(), Arc::clone(&talk), self.seed, self.simulation.clone());
            let idle = client.limits.idle_timeout.min(self.plan.servers[client.server].limits.idle_timeout);
            let factory = move |_incoming: Incoming| {
                let guest = book.open(clock.now()).make_guest(index);
                let draw = Draw::new(seed, DRAWS_GUEST + guest as u64);
                Guest::new(book.clone(), Arc::clone(&talk), guest, numbers, idle / 3, draw)
            };
            self.clients.push(self.cores[client.core].connect(client.service.clone(), factory)?);
        }
        Ok(())
    }

    /// Rounds until `came`, or until everything that is due by then is done and it is `limit`. The books are looked at
    /// before every round.
    pub(crate) fn run(
        &mut self,
        limit: Time,
        mut came: impl FnMut(&Ledger, &[Core]) -> bool,
    ) -> Result<Ended, Violation> {
        loop {
            for wild in &mut self.wild {
                wild.act(&self.simulation, &self.book);
            }
            if let Some(owner) = &mut self.owner {
                owner.act(self.simulation.now(), &self.book, &self.servers, &self.plan);
            }
            let owner = self.owner.as_ref().map(Owner::due);
            let due = self.wild.iter().filter_map(Wild::due).chain(owner).min();
            let until = due.map_or(limit, |due| due.min(limit));
            let (simulation, book, cores, rounds) = (&self.simulation, &self.book, &self.cores, &mut self.rounds);
            let (mut broken, mut has_come) = (None, false);
            let looked = self.lockstep.run_until(until, || {
                *rounds += 1;
                let ledger = book.reopen();
                broken = broken_now(&ledger, simulation, *rounds);
                has_come = came(&ledger, cores);
                broken.is_some() || has_come
            });
            looked.map_err(|error| Violation::Engine(error.to_string()))?;
            match (broken, has_come) {
                (Some(violation), _) => return Err(violation),
                (None, true) => return Ok(Ended::Came),
                (None, false) if self.lockstep.now() >= limit => return Ok(Ended::TimeUp),
                // Nothing will ever happen by itself: the time has to be moved.
                (None, false) => self.simulation.advance_to(until),
            }
        }
    }

    pub(crate) fn run_for(
        &mut self,
        time: Duration,
        came: impl FnMut(&Ledger, &[Core]) -> bool,
    ) -> Result<Ended, Violation> {
        self.run(self.lockstep.now() + time, came)
    }

    /// The totals of server services, client services and cores.
    pub(crate) fn counters(&self) -> [Vec<Counters>; 3] {
        let of = |handles: &[ServiceHandle]| handles.iter().map(ServiceHandle::counters).collect();
        [of(&self.servers), of(&self.clients), self.cores.iter().map(Core::counters).collect()]
    }
}

/// What is wrong before a round.
fn broken_now(ledger: &Ledger, simulation: &Simulation, rounds: u64) -> Option<Violation> {
    if let Some((_, violation)) = ledger.violation() {
        return Some(violation);
    }
    if rounds > ROUNDS_MAX {
        return Some(Violation::Stuck("too many rounds of turns".to_owned()));
    }
    simulation.audit().err().map(|imbalance| Violation::Imbalance(imbalance.to_string()))
}
