//! What is asked of the servers: the workloads and their cases.
//!
//! Each case says what the load is told, which settings of pogu are measured, and which of its figures is the result. What a
//! peer does not offer is refused here, with the reason that the table tells.

use super::super::contender::{Contender, Peer, Place, Setting};
use super::super::figures::Kind;
use super::super::load::{Job, ROOMS, Shape};
use crate::sim::report::grouped;

/// A kind of work, and the cases in which it is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Workload {
    /// Closed loop: each session has some messages in flight
    Echo,
    /// Open loop: each session says something at a steady rate
    Rate,
    /// Rooms whose members talk
    Room,
    /// Sessions that say nothing
    Idle,
    /// Connections that come and go
    Churn,
    /// Frames of 60,000 bytes
    Large,
    /// Everybody comes at once
    Login,
    /// pogu on two workers beside pogu on one
    Workers,
}

/// How long runs last.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub seconds: f64,
    pub warm_up: f64,
}

/// Of the runs whose system calls are counted.
const PACE_OF_CALLS: Pace = Pace { seconds: 2.0, warm_up: 0.5 };

const BODY_BYTES: f64 = 64.0;

/// Of a frame of 60,000 bytes.
const LARGE_BODY_BYTES: f64 = 59_996.0;

/// Two frames of 60,000 bytes in flight stay under all bounds on what is unsent.
const LARGE_DEPTH: f64 = 2.0;

/// Connections of the churn for each second that other runs last: what a server of one thread can do on slow machines.
const CHURN_PER_SECOND: f64 = 4_000.0;

/// Where a case stands in the plots of cost against load.
#[derive(Clone, Debug)]
pub struct Spot {
    /// Cases of the same name are in one plot.
    pub plot: String,
    pub x_name: &'static str,
    pub x: f64,
}

#[derive(Clone, Debug)]
pub struct Case {
    pub workload: Workload,
    pub name: String,
    pub job: Job,
    /// Of the run whose system calls are counted, if they are.
    pub job_of_calls: Option<Job>,
    pub place: Place,
    /// Settings of pogu that each peer is compared with: one or two.
    pub settings: Vec<Contender>,
    /// Settings of pogu that are compared with the first one, as a peer is.
    pub also: Vec<Contender>,
    /// Of rooms.
    pub shape: Option<Shape>,
    pub spot: Option<Spot>,
}

const ECHO: Kind = Kind {
    cost: "/server/cpu_ns_per_message",
    cost_name: "CPU ns per message",
    unit: "messages",
    per_second: Some("/messages_per_second"),
    is_open_loop: false,
};

const RATE: Kind = Kind { is_open_loop: true, ..ECHO };

const IDLE: Kind = Kind {
    cost: "/server/user_bytes_per_session",
    cost_name: "user bytes per session",
    unit: "sessions",
    per_second: None,
    is_open_loop: false,
};

const CHURN: Kind = Kind {
    cost: "/server/cpu_ns_per_connection",
    cost_name: "CPU ns per connection",
    unit: "connections",
    per_second: Some("/connections_per_second"),
    is_open_loop: false,
};

const LOGIN: Kind = Kind {
    cost: "/all_answered_ms",
    cost_name: "ms until all are answered",
    unit: "sessions",
    per_second: None,
    is_open_loop: false,
};

impl Workload {
    pub fn name(self) -> &'static str {
        match self {
            Workload::Echo => "echo",
            Workload::Rate => "rate",
            Workload::Room => "room",
            Workload::Idle => "idle",
            Workload::Churn => "churn",
            Workload::Large => "large",
            Workload::Login => "login",
            Workload::Workers => "workers",
        }
    }

    pub fn kind(self) -> &'static Kind {
        match self {
            Workload::Echo | Workload::Large | Workload::Workers => &ECHO,
            Workload::Rate => &RATE,
            Workload::Room => &ROOMS,
            Workload::Idle => &IDLE,
            Workload::Churn => &CHURN,
            Workload::Login => &LOGIN,
        }
    }

    /// What is done, for whoever reads the figures.
    pub fn told(self) -> &'static str {
        match self {
            Workload::Echo => {
                "Frames of 68 bytes are answered as they are. Depth is how many each session keeps in flight: the next \
                leaves when an answer comes, so that a server with time left is one that waits for its load."
            }
            Workload::Rate => {
                "Each session says something at a steady rate, evenly spread, whatever is answered. Latency is from when a \
                message was due. With a latency budget pogu waits so long for more before it handles what has come."
            }
            Workload::Room => {
                "Four rooms of 50 whose members talk at a steady rate; every message goes to all members of its room. With \
                a delivery window pogu gathers what goes to a session within it."
            }
            Workload::Idle => {
                "Every session has echoed once and says nothing more. Memory is the difference between many sessions and \
                a few, for each; that of the kernel is of both ends of a connection over the loopback."
            }
            Workload::Churn => "A connection, one echo, an orderly end, the next.",
            Workload::Large => "Eight sessions echo frames of 60,000 bytes, two of them in flight for each.",
            Workload::Login => {
                "All connections are begun at once, and each says something as soon as it is there. Retried handshakes met \
                a full backlog and came a second later."
            }
            Workload::Workers => {
                "The echo of 1,000 sessions at a depth of 16. Servers with two threads share the load's processor: what \
                is compared is the processor time of all threads for a message, not how many messages there are."
            }
        }
    }

    /// Why a peer cannot be asked for this, if it cannot.
    pub fn refuses(self, peer: Peer) -> Option<&'static str> {
        match (self, peer) {
            (Workload::Room, Peer::Limit) => Some("it has no rooms"),
            (Workload::Workers, peer) if peer.workers() == 1 => Some("it is measured with one thread"),
            _ => None,
        }
    }

    pub fn cases(self, pace: Pace) -> Vec<Case> {
        match self {
            Workload::Echo => {
                let of = |sessions| [1.0, 16.0, 64.0].map(|depth| echo(sessions, depth, pace));
                [100.0, 1_000.0].into_iter().flat_map(of).collect()
            }
            Workload::Rate => {
                [(1_000.0, 20.0), (10_000.0, 4.0)].map(|(sessions, rate)| at_rate(sessions, rate, pace)).into()
            }
            Workload::Room => [20.0, 100.0].map(|rate| room(rate, pace)).into(),
            Workload::Idle => vec![self.case("10,000 sessions", &[("--sessions", 10_000.0)])],
            Workload::Churn => {
                let connections = (CHURN_PER_SECOND * pace.seconds).max(1.0).round();
                let name = format!("{} connections, 64 at a time", grouped(connections as u64));
                let arguments = [("--connections", connections), ("--concurrency", 64.0), ("--body", BODY_BYTES)];
                vec![self.case(&name, &arguments)]
            }
            Workload::Large => {
                let shape = [("--sessions", 8.0), ("--depth", LARGE_DEPTH), ("--body", LARGE_BODY_BYTES)];
                vec![self.case("8 sessions, frames of 60,000 bytes", &pace.with(&shape))]
            }
            Workload::Login => {
                vec![self.case("5,000 sessions", &[("--sessions", 5_000.0), ("--body", BODY_BYTES)])]
            }
            Workload::Workers => vec![workers(pace)],
        }
    }

    /// What the load calls it.
    fn subcommand(self) -> &'static str {
        match self {
            Workload::Large | Workload::Workers => "echo",
            Workload::Room => "rooms",
            other => other.name(),
        }
    }

    fn job(self, arguments: &[(&str, f64)]) -> Job {
        Job::new(self.kind(), self.subcommand(), arguments)
    }

    fn case(self, name: &str, arguments: &[(&str, f64)]) -> Case {
        Case {
            workload: self,
            name: name.to_owned(),
            job: self.job(arguments),
            job_of_calls: None,
            place: Place::Alone,
            settings: vec![Contender::Pogu(Setting::default())],
            also: Vec::new(),
            shape: None,
            spot: None,
        }
    }
}

impl Pace {
    fn with<'a>(self, arguments: &[(&'a str, f64)]) -> Vec<(&'a str, f64)> {
        [arguments, &[("--seconds", self.seconds), ("--warm-up", self.warm_up)]].concat()
    }
}

impl Case {
    /// All of whom it is asked, in the order of the table.
    pub fn contenders(&self, peers: &[Peer]) -> Vec<Contender> {
        [self.settings.clone(), self.others(peers)].concat()
    }

    /// Those that pogu is compared with.
    pub fn others(&self, peers: &[Peer]) -> Vec<Contender> {
        let peers = peers.iter().filter(|peer| self.workload.refuses(**peer).is_none());
        self.also.iter().copied().chain(peers.map(|peer| Contender::Peer(*peer))).collect()
    }
}

fn echo(sessions: f64, depth: f64, pace: Pace) -> Case {
    let shape = [("--sessions", sessions), ("--depth", depth), ("--body", BODY_BYTES)];
    let of_sessions = format!("{} sessions", grouped(sessions as u64));
    Case {
        job_of_calls: Some(Workload::Echo.job(&PACE_OF_CALLS.with(&shape))),
        spot: Some(Spot { plot: format!("echo, {of_sessions}"), x_name: "messages in flight per session", x: depth }),
        ..Workload::Echo.case(&format!("{of_sessions}, depth {depth}"), &pace.with(&shape))
    }
}

fn at_rate(sessions: f64, rate: f64, pace: Pace) -> Case {
    let shape = [("--sessions", sessions), ("--rate", rate), ("--body", BODY_BYTES)];
    let name = format!("{} sessions, {rate} messages/s each", grouped(sessions as u64));
    let budget = |milliseconds| Setting { budget_milliseconds: Some(milliseconds), ..Setting::default() };
    Case {
        job_of_calls: Some(Workload::Rate.job(&PACE_OF_CALLS.with(&shape))),
        settings: [0, 2].map(|milliseconds| Contender::Pogu(budget(milliseconds))).into(),
        spot: Some(Spot { plot: "steady rates".to_owned(), x_name: "messages per second", x: sessions * rate }),
        ..Workload::Rate.case(&name, &pace.with(&shape))
    }
}

fn room(rate: f64, pace: Pace) -> Case {
    let at = |pace: Pace| Shape {
        rooms: 4,
        members: 50,
        rate,
        body: BODY_BYTES as usize,
        seconds: pace.seconds,
        warm_up: pace.warm_up,
        look_every: 0.0,
    };
    let shape = at(pace);
    let deliveries = shape.deliveries_per_second();
    let name = format!("4 rooms of 50, {rate} messages/s each: {} deliveries/s", grouped(deliveries as u64));
    Case {
        job: shape.job(),
        job_of_calls: Some(at(PACE_OF_CALLS).job()),
        settings: [0, 10].map(Contender::window).into(),
        spot: Some(Spot { plot: "rooms".to_owned(), x_name: "deliveries per second", x: deliveries }),
        shape: Some(shape),
        ..Workload::Room.case(&name, &[])
    }
}

fn workers(pace: Pace) -> Case {
    let shape = [("--sessions", 1_000.0), ("--depth", 16.0), ("--body", BODY_BYTES)];
    let on = |workers| Contender::Pogu(Setting { workers: Some(workers), ..Setting::default() });
    Case {
        place: Place::BesideTheLoad,
        settings: vec![on(1)],
        also: vec![on(2)],
        ..Workload::Workers.case("1,000 sessions, depth 16", &pace.with(&shape))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use clap::ValueEnum;

    use super::*;

    pub(in super::super) const PACE: Pace = Pace { seconds: 4.0, warm_up: 1.0 };

    fn all() -> Vec<Case> {
        Workload::value_variants().iter().flat_map(|workload| workload.cases(PACE)).collect()
    }

    #[test]
    fn the_cases_are_those_that_were_agreed_upon() {
        let names: Vec<String> = all().iter().map(|case| format!("{}: {}", case.workload.name(), case.name)).collect();
        assert_eq!(
            names,
            [
                "echo: 100 sessions, depth 1",
                "echo: 100 sessions, depth 16",
                "echo: 100 sessions, depth 64",
                "echo: 1,000 sessions, depth 1",
                "echo: 1,000 sessions, depth 16",
                "echo: 1,000 sessions, depth 64",
                "rate: 1,000 sessions, 20 messages/s each",
                "rate: 10,000 sessions, 4 messages/s each",
                "room: 4 rooms of 50, 20 messages/s each: 200,000 deliveries/s",
                "room: 4 rooms of 50, 100 messages/s each: 1,000,000 deliveries/s",
                "idle: 10,000 sessions",
                "churn: 16,000 connections, 64 at a time",
                "large: 8 sessions, frames of 60,000 bytes",
                "login: 5,000 sessions",
                "workers: 1,000 sessions, depth 16",
            ]
        );
        assert!(all().iter().all(|case| [1, 2].contains(&case.settings.len())));
    }

    #[test]
    fn the_load_is_told_what_the_name_says() {
        let large = Workload::Large.cases(PACE).remove(0).job.arguments.join(" ");
        assert_eq!(large, "echo --sessions 8 --depth 2 --body 59996 --seconds 4 --warm-up 1");
        let login = Workload::Login.cases(PACE).remove(0).job.arguments.join(" ");
        assert_eq!(login, "login --sessions 5000 --body 64");
        let counted: Vec<Workload> =
            all().iter().filter(|case| case.job_of_calls.is_some()).map(|case| case.workload).collect();
        assert!(
            counted.len() == 10
                && counted
                    .iter()
                    .all(|workload| { [Workload::Echo, Workload::Rate, Workload::Room].contains(workload) })
        );
    }

    #[test]
    fn only_the_first_rooms_are_those_of_whom_something_is_wanted() {
        let standard =
            Workload::Room.cases(PACE).into_iter().map(|case| case.shape.is_some_and(|shape| shape.is_standard()));
        assert_eq!(standard.collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn who_cannot_do_something_is_not_asked_for_it() {
        let peers = Peer::value_variants();
        let of = |workload: Workload| workload.cases(PACE).remove(0).others(peers);
        assert!(!of(Workload::Room).contains(&Contender::Peer(Peer::Limit)));
        assert_eq!(of(Workload::Room).len(), peers.len() - 1);
        let names: Vec<String> = of(Workload::Workers).into_iter().map(Contender::name).collect();
        assert_eq!(names, ["pogu, 2 workers", "tokio-mt"]);
    }
}
