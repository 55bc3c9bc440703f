//! The cores, services and peers of one storm, and the rounds that drive them.

use std::sync::Arc;
use std::time::Duration;

use pogu::sim::Simulation;
use pogu::{Core, Counters, Incoming, JobReport, Jobs, Lockstep, Refusal, Room, ServiceHandle, Time};

use crate::client::Guest;
use crate::draw::Draw;
use crate::hall::Hall;
use crate::jobs::{Errands, Office};
use crate::ledger::{Book, Ledger};
use crate::outside::Outside;
use crate::owner::Owner;
use crate::plan::Plan;
use crate::server::Host;
use crate::talk::TalkPlan;
use crate::violation::Violation;
use crate::wild::Wild;

/// Parts of a storm that draw for themselves.
const DRAWS_WILD: u64 = 1 << 32;
const DRAWS_HOST: u64 = 2 << 32;
const DRAWS_GUEST: u64 = 3 << 32;
const DRAWS_REFUSAL: u64 = 4 << 32;
const DRAWS_OWNER: u64 = 6 << 32;
const DRAWS_MANNER: u64 = 8 << 32;
const DRAWS_HALL: u64 = 9 << 32;
const DRAWS_ERRANDS: u64 = 11 << 32;
const DRAWS_OUTSIDE: u64 = 12 << 32;

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
            owner: None,
            rounds: 0,
            seed,
            plan,
        };
        world.start().map_err(|error| Violation::Engine(error.to_string()))?;
        let outside = Outside::new(&world.office(), Draw::new(seed, DRAWS_OUTSIDE));
        world.owner = Some(Owner::new(Draw::new(seed, DRAWS_OWNER), outside));
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
        self.open_queues();
        for (index, server) in self.plan.servers.iter().enumerate() {
            let (book, talk, seed, core) = (self.book.clone(), Arc::clone(&talk), self.seed, server.core);
            let (refuses, clock, office) = (server.refuses, self.simulation.clone(), self.office());
            let factory = move |incoming: Incoming| {
                let mut ledger = book.open(clock.now());
                let drawn = DRAWS_REFUSAL + ledger.sessions() + ledger.refused();
                if Draw::new(seed, drawn).percent(refuses) && ledger.may_refuse(index) {
                    return Err(Refusal::new("drawn"));
                }
                let host = ledger.make_host(index, incoming.session, incoming.peer_address);
                let drawn = |part| Draw::new(seed, part + host as u64);
                let errands = Errands::new(office.clone(), core, drawn(DRAWS_ERRANDS));
                let draws = [DRAWS_HOST, DRAWS_MANNER].map(drawn);
                Ok(Host::new(book.clone(), Arc::clone(&talk), (host, core), draws, errands))
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
        // Last: it may fill an inbox.
        self.open_halls(&talk)
    }

    /// What all need who push jobs.
    fn office(&self) -> Office {
        Office { book: self.book.clone(), clock: self.simulation.clone(), plan: Arc::new(self.plan.jobs.clone()) }
    }

    fn open_queues(&mut self) {
        for (number, queue) in self.plan.jobs.queues.iter().enumerate() {
            let line = queue.open(&self.cores[queue.core], number, &self.book);
            self.book.open(Time::ZERO).queue_opened(queue, line);
        }
    }

    /// The jobs of the cores of servers: by core, what tells of them.
    pub(crate) fn jobs(&self) -> Vec<(usize, Jobs)> {
        let is_served = |core: &usize| self.plan.servers.iter().any(|server| server.core == *core);
        (0..self.cores.len()).filter(is_served).map(|core| (core, self.cores[core].jobs())).collect()
    }

    /// On each core of servers the same rooms have a state. The first of them keep it when they are empty.
    fn open_halls(&mut self, talk: &Arc<TalkPlan>) -> pogu::Result<()> {
        let halls = u64::from(talk.manners.halls);
        if halls == 0 {
            return Ok(());
        }
        for (core, opened) in self.cores.iter().enumerate() {
            let Some(server) = self.plan.servers.iter().find(|server| server.core == core) else { continue };
            let (book, clock, talk_of_hall, seed) =
                (self.book.clone(), self.simulation.clone(), Arc::clone(talk), self.seed);
            let make = move |room| {
                let draw = |made: u64| Draw::new(seed, DRAWS_HALL + made);
                Hall::new((book.clone(), clock.clone()), Arc::clone(&talk_of_hall), core, room, draw)
            };
            for room in 1..=halls {
                // An inbox of this core may have no room for one more: then the room has its state while it has members.
                let kept =
                    (room <= u64::from(talk.manners.kept_halls)).then(|| opened.open_room(Room(room), make.clone()));
                let (hall, is_kept) = match kept {
                    Some(Ok(kept)) => (Some(kept), true),
                    Some(Err(error)) if !self.plan.cores[core].is_tight() => return Err(error),
                    refused => {
                        if refused.is_some() {
                            self.book.open(Time::ZERO).hall_not_kept(core);
                        }
                        (opened.open_rooms(room..=room, server.format, make.clone())?.room(Room(room)), false)
                    }
                };
                self.book.open(Time::ZERO).hall_opened((core, room as u32), hall, is_kept);
            }
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

    /// What was counted of job queues, by core.
    pub(crate) fn reports(&self) -> Vec<(usize, Vec<JobReport>)> {
        self.jobs().iter().map(|(core, jobs)| (*core, jobs.report())).collect()
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
