//! One hot path, as often as it is told to: what `cargo xtask instructions` counts, under callgrind.
//!
//! ```text
//!   instructions PATH OPERATIONS [--planted]
//! ```
//!
//! Only the difference between two numbers of operations means anything: what is done once is in both. `decode` and `receive`
//! do so many operations. The others always make [`TURNS`] turns, each of which receives a frame. `send` and `broadcast` answer or
//! broadcast the first OPERATIONS of these frames: so the receives are in both, too. `answer` answers all of them, and OPERATIONS
//! more, of which each of the first turns receives [`MORE_IN_A_TURN`].
//!
//! The engine runs on the simulated driver, one worker, one thread, one turn for each frame that comes: no kernel, no clock and
//! no other thread has a say in what is counted. Sends complete in the turn after, as they do on a server that is busy. What
//! is counted begins where the functions of pogu are called by way of a pointer that the compiler does not see through, so that
//! nothing of them becomes a part of this program. A run in which anything was missing or too much ends with an error.
//!
//! `--planted` does everything twice where it counts once, to show that it is seen.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::io::Write;
use std::time::Duration;

use pogu::sim::{Peer, Simulation};
use pogu::{
    BroadcastOutcome, Context, Core, Counters, FrameFormat, JoinOutcome, Packet, Room, Service, Session, Worker,
    WorkerStatus,
};
use pogu_wire::Decoded;

type Failure = Box<dyn std::error::Error>;

const FRAME_BYTES: usize = 64;
const HEADER_BYTES: usize = 4;

/// Of the buffer that is decoded again and again.
const FRAMES_OF_BUFFER: usize = 1_000;

/// What is done before anything is counted, so that memory has grown to what it will be.
const WARM_UP: u64 = 200;

/// Turns of `send` and `broadcast`, and with that the most of their operations.
const TURNS: u64 = 4_000;

/// Frames that come in one turn of `answer` with the one that comes in each.
const MORE_IN_A_TURN: u64 = 16;

/// Between two turns. No deadline of a session is due within a run.
const TURN_EVERY: Duration = Duration::from_micros(100);

const SERVER: &str = "10.0.0.1:7777";
const ROOM: Room = Room(1);

/// Packets, by what their handler does.
const HEAR: u16 = 1;
const ANSWER: u16 = 2;
const SAY: u16 = 3;
const JOIN: u16 = 4;

/// See the [module](self).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    Decode,
    Receive,
    Send,
    Answer,
    Broadcast,
}

impl Path {
    fn named(name: &str) -> Result<Path, Failure> {
        match name {
            "decode" => Ok(Path::Decode),
            "receive" => Ok(Path::Receive),
            "send" => Ok(Path::Send),
            "answer" => Ok(Path::Answer),
            "broadcast" => Ok(Path::Broadcast),
            _ => Err(format!("there is no path {name}; there are decode, receive, send, answer and broadcast").into()),
        }
    }

    /// Sessions that are connected.
    fn members(self) -> usize {
        if self == Path::Broadcast { 50 } else { 1 }
    }

    /// The packet that is an operation.
    fn packet(self) -> u16 {
        match self {
            Path::Decode | Path::Receive => HEAR,
            Path::Send | Path::Answer => ANSWER,
            Path::Broadcast => SAY,
        }
    }
}

fn main() -> Result<(), Failure> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let times = 1 + u64::from(arguments.pop_if(|last| last == "--planted").is_some());
    let [path, operations] = arguments.as_slice() else {
        return Err("usage: instructions decode|receive|send|answer|broadcast OPERATIONS [--planted]".into());
    };
    let (path, operations) = (Path::named(path)?, operations.parse()?);
    match path {
        Path::Decode => decode(WARM_UP + operations, times),
        _ => Stage::new(path, times)?.run(operations),
    }
}

/// Each frame of a buffer in turn, so many times.
fn decode(operations: u64, times: u64) -> Result<(), Failure> {
    let decode: for<'a> fn(&FrameFormat, &'a [u8]) -> Decoded<'a> = black_box(FrameFormat::decode);
    let format = FrameFormat::course();
    let buffer = frame(HEAR)?.repeat(FRAMES_OF_BUFFER);
    let mut rest = buffer.as_slice();
    for _ in 0..operations {
        let mut consumed = 0;
        for _ in 0..times {
            let Decoded::Frame(found) = decode(&format, rest) else { return Err("a frame was not found".into()) };
            consumed = black_box(found).whole.len();
        }
        rest = rest.get(consumed..).filter(|rest| !rest.is_empty()).unwrap_or(&buffer);
    }
    let expected = buffer.len() - operations as usize % FRAMES_OF_BUFFER * FRAME_BYTES;
    if rest.len() != expected {
        return Err(format!("{} bytes are left, expected were {expected}", rest.len()).into());
    }
    Ok(())
}

fn frame(id: u16) -> Result<Vec<u8>, Failure> {
    let mut frame = Vec::new();
    FrameFormat::course().encode(id, &[7; FRAME_BYTES - HEADER_BYTES], &mut frame)?;
    Ok(frame)
}

/// What all sessions are.
struct Player {
    times: u64,
}

impl Session for Player {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match packet.id() {
            HEAR => {}
            ANSWER => (0..self.times).for_each(|_| assert!(cx.send(ANSWER, packet.body()).is_accepted())),
            SAY => (0..self.times)
                .for_each(|_| assert_eq!(cx.broadcast(ROOM, SAY, packet.body()), BroadcastOutcome::Posted)),
            JOIN => assert_eq!(cx.join(ROOM), JoinOutcome::Asked),
            id => cx.violation(id, "no such packet"),
        }
    }
}

/// A core of one worker, and its clients. The first of them speaks, all hear.
struct Stage {
    path: Path,
    times: u64,
    simulation: Simulation,
    core: Core,
    worker: Worker,
    peers: Vec<Peer>,
    /// What each of them has received.
    received: Vec<Vec<u8>>,
}

impl Stage {
    fn new(path: Path, times: u64) -> Result<Stage, Failure> {
        let simulation = Simulation::new();
        let (core, seeds) = Core::builder().workers(1).simulated(&simulation).hand_out()?;
        let seed = seeds.into_iter().next().ok_or("a core without workers")?;
        let service = core.serve(Service::server(SERVER), move |_incoming| Player { times })?;
        let (worker, address) = (seed.start()?, service.address());
        let mut stage = Stage {
            path,
            times,
            simulation,
            core,
            worker,
            peers: Vec::new(),
            received: vec![Vec::new(); path.members()],
        };
        for _ in 0..path.members() {
            stage.peers.push(stage.simulation.connect(address)?);
            stage.settle()?;
        }
        let join = frame(JOIN)?;
        stage.peers.iter_mut().try_for_each(|peer| peer.write_all(&join))?;
        stage.settle()?;
        Ok(stage)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        while !self.simulation.is_idle() {
            running(self.worker.dispatch(None)?)?;
        }
        Ok(())
    }

    fn run(mut self, operations: u64) -> Result<(), Failure> {
        let per_turn = if self.path == Path::Answer { MORE_IN_A_TURN } else { 1 };
        let (busy, odd) = (operations / per_turn, operations % per_turn);
        let turns = if self.path == Path::Receive { busy } else { TURNS };
        if busy > turns || odd != 0 {
            return Err(format!("at most {} operations, and a multiple of {per_turn}", turns * per_turn).into());
        }
        // A planted receive finds each frame twice.
        let (packet, frames, rest) = match self.path {
            Path::Receive => (HEAR, self.times, HEAR),
            Path::Answer => (ANSWER, 1 + MORE_IN_A_TURN, ANSWER),
            path => (path.packet(), 1, HEAR),
        };
        let before = self.core.counters();
        self.turns(packet, frames, WARM_UP + busy)?;
        self.turns(rest, 1, turns - busy)?;
        self.settle()?;
        let heard = (WARM_UP + busy) * frames + turns - busy;
        let answered = match self.path {
            Path::Receive => 0,
            Path::Answer => heard,
            _ => WARM_UP + busy,
        };
        let turns_with_sends = if self.path == Path::Answer { WARM_UP + turns } else { answered };
        self.check(&before, heard, turns_with_sends, answered)
    }

    /// So many turns, each of which finds so many frames.
    fn turns(&mut self, packet: u16, frames: u64, count: u64) -> Result<(), Failure> {
        let dispatch: fn(&mut Worker, Option<Duration>) -> pogu::Result<WorkerStatus> = black_box(Worker::dispatch);
        let bytes = frame(packet)?.repeat(frames as usize);
        for _ in 0..count {
            let speaker = self.peers.first_mut().ok_or("nobody speaks")?;
            speaker.write_all(&bytes)?;
            running(dispatch(&mut self.worker, None)?)?;
            for (peer, received) in self.peers.iter().zip(&mut self.received) {
                peer.read_available(received)?;
            }
            self.simulation.advance_to(self.simulation.now() + TURN_EVERY);
        }
        Ok(())
    }

    /// Whether everything has come: so many frames to the server, and to each client as many as were answered, by one send in
    /// each turn: what is sent twice leaves together.
    fn check(&self, before: &Counters, heard: u64, turns_with_sends: u64, answered: u64) -> Result<(), Failure> {
        let counters = self.core.counters();
        let frames = counters.frames_received - before.frames_received;
        if frames != heard {
            return Err(format!("{frames} frames came, expected were {heard}").into());
        }
        let sends = counters.sends - before.sends;
        let sends_expected = turns_with_sends * self.path.members() as u64;
        if sends != sends_expected {
            return Err(format!("{sends} sends, expected were {sends_expected}").into());
        }
        let expected = frame(self.path.packet())?.repeat((answered * self.times) as usize);
        match self.received.iter().all(|received| *received == expected) {
            true => Ok(()),
            false => Err("a client did not receive what it should have".into()),
        }
    }
}

fn running(status: WorkerStatus) -> Result<(), Failure> {
    match status {
        WorkerStatus::Running => Ok(()),
        WorkerStatus::Stopped => Err("the worker has stopped".into()),
    }
}
