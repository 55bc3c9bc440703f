//! Fifteen thousand connections that say nothing, or a frame byte by byte, beside a thousand that play.
//!
//! A run of thirty seconds has three parts: the crowd comes (five seconds), all of it is there (thirteen), it is put out (seven).
//! The percentile is of the whole run, against the same run without the crowd.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use super::Bench;
use crate::Failure;

const ATTACKERS: usize = 15_000;
const SESSIONS: usize = 1_000;

/// How fast the attackers come: a storm would be measured instead of what they cost once they are there.
const PER_SECOND: usize = 3_000;

/// When the silent and the trickling are to be put out, and how much later is still on time: the answer to the end is theirs.
const FIRST_FRAME: Duration = Duration::from_secs(20);
const FRAME: Duration = Duration::from_secs(16);
const LATE_MAX: Duration = Duration::from_secs(1);

/// The time between two bytes of a frame. Who wants to hold a connection sends as rarely as it can: these are 3,750 packets a
/// second beside the 20,000 of the sessions.
const BYTE_EVERY: Duration = Duration::from_secs(2);

/// How much before its time an end may seem to come. Whatever a worker does in a turn has the time at which the turn began: if
/// its processor stands still in between, as that of a virtual machine may for a tenth of a second, what has come meanwhile
/// counts from before it was sent. Of the shorter time this is less than a hundredth.
const EARLY_MAX: Duration = Duration::from_millis(150);

/// How long all of them have to be there at the same time, or the run says nothing.
const ALL_THERE_MIN: Duration = Duration::from_secs(10);

/// So many runs that say nothing, one after the other, are an error. What they say of the server is judged all the same.
const VOID_MAX: usize = 3;

const SECONDS: u64 = 30;

const SERVICE: &str = "\
sessions_max = 17000
first_frame_timeout = \"20s\"
frame_timeout = \"16s\"
";

pub fn run(bench: &Bench) -> Result<(), Failure> {
    println!("{}: {SESSIONS} sessions beside {ATTACKERS} silent or trickling connections", bench.driver);
    let mut pairs = Vec::new();
    for _ in 0..bench.pairs {
        let alone = swarm_beside(bench, false)?;
        pairs.push((alone, swarm_beside(bench, true)?));
    }
    bench.judge("sessions beside them", &pairs)
}

/// The swarm's 99th percentile in microseconds, of the first run that says something.
fn swarm_beside(bench: &Bench, attacked: bool) -> Result<f64, Failure> {
    for _ in 0..VOID_MAX {
        if let Some(p99) = swarm_once(bench, attacked)? {
            return Ok(p99);
        }
    }
    Err(format!("void: in none of {VOID_MAX} runs all attackers were there for {ALL_THERE_MIN:?}").into())
}

/// The swarm's 99th percentile in microseconds; `None` if the run is void because not all attackers were there for long enough.
/// It fails if a session or an answer was lost.
fn swarm_once(bench: &Bench, attacked: bool) -> Result<Option<f64>, Failure> {
    let server = bench.serve_ahead(SERVICE)?;
    let report = std::env::temp_dir().join(format!("pogu-bounds-{}.json", std::process::id()));
    let mut swarm = bench.client_ahead();
    swarm
        .args(["swarm", "--mode", "echo", "--rate", "20", "--seconds", &SECONDS.to_string()])
        .args(["--target", &server.address.to_string(), "--sessions", &SESSIONS.to_string()])
        .arg("--json")
        .arg(&report)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut swarm = swarm.spawn()?;
    let mut is_void = false;
    if attacked {
        let Attack { all_there, latest } = attack(server.address).inspect_err(|_| end(&mut swarm))?;
        let (seconds, late) = (all_there.as_secs_f64(), latest.as_secs_f64() * 1000.0);
        is_void = all_there < ALL_THERE_MIN;
        let void = if is_void { ": void" } else { "" };
        println!("  all there for {seconds:.1} s, put out at most {late:.0} ms late{void}");
    }
    let output = swarm.wait_with_output()?;
    if !output.status.success() {
        return Err(
            format!("void: the swarm found something wrong\n{}", String::from_utf8_lossy(&output.stdout)).into()
        );
    }
    server.stop()?;
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&report)?)?;
    let p99 = report.get("p99_us").and_then(Value::as_f64).ok_or("no p99_us in the report")?;
    Ok((!is_void).then_some(p99))
}

/// Ends a program whose run is void.
fn end(program: &mut Child) {
    // It may have ended by itself.
    let _ = program.kill();
    let _ = program.wait();
}

struct Attacker {
    stream: TcpStream,
    kind: Kind,
    /// Since when it is waited for: the connection, or the first byte of its frame.
    since: Option<Instant>,
    ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Silent,
    Trickling,
}

impl Attacker {
    fn allowed(&self) -> Duration {
        match self.kind {
            Kind::Silent => FIRST_FRAME,
            Kind::Trickling => FRAME,
        }
    }

    /// One more byte of a frame that promises 16,448.
    fn trickle(&mut self) {
        if self.kind == Kind::Trickling && !self.ended {
            self.since.get_or_insert_with(Instant::now);
            // What cannot be sent any more will be seen as an end.
            let _ = self.stream.write(&[0x40]);
        }
    }
}

/// How an attack went.
struct Attack {
    /// How long all attackers were there at the same time.
    all_there: Duration,
    /// How much later than it should have been one was put out.
    latest: Duration,
}

/// How many attackers are to have come after this time.
fn due_to_come(elapsed: Duration) -> usize {
    ATTACKERS.min((elapsed.as_secs_f64() * PER_SECOND as f64) as usize)
}

/// How many turns there are to have been after this time: in each of them the next attacker may send a byte. The turns of all
/// take [`BYTE_EVERY`], and so long they wait for the first: a frame that began at once would be put out first, long before all
/// others. Who has come has a turn within this time, and is put out for its frame before it could be for its silence.
fn due_to_trickle(elapsed: Duration) -> usize {
    (elapsed.saturating_sub(BYTE_EVERY).as_secs_f64() / BYTE_EVERY.as_secs_f64() * ATTACKERS as f64) as usize
}

/// Connects, trickles, waits until all were put out. An error if one was early or later than allowed.
fn attack(server: SocketAddr) -> Result<Attack, Failure> {
    let attackers = Vec::with_capacity(ATTACKERS);
    let mut crowd =
        Crowd { poll: Poll::new()?, attackers, left: 0, latest: Duration::ZERO, complete: None, first_end: None };
    let mut events = Events::with_capacity(1024);
    let began = Instant::now();
    let mut trickled = 0;
    while crowd.attackers.len() < ATTACKERS || crowd.left > 0 {
        let wanted = due_to_come(began.elapsed());
        while crowd.attackers.len() < wanted {
            crowd.connect(server)?;
        }
        // Each has its turn, spread over the time as strangers are.
        let due = due_to_trickle(began.elapsed());
        for turn in trickled..due {
            crowd.attackers.get_mut(turn % ATTACKERS).into_iter().for_each(Attacker::trickle);
        }
        trickled = due;
        // Short, so that they come one by one as strangers do, and not in volleys.
        crowd.poll.poll(&mut events, Some(Duration::from_millis(1)))?;
        events.iter().try_for_each(|event| crowd.heard(event.token().0))?;
        if began.elapsed() > 3 * FIRST_FRAME {
            return Err(format!("{} were not put out at all", crowd.left).into());
        }
    }
    let all_there = crowd.complete.zip(crowd.first_end).map(|(complete, end)| end.saturating_duration_since(complete));
    Ok(Attack { all_there: all_there.unwrap_or_default(), latest: crowd.latest })
}

struct Crowd {
    poll: Poll,
    attackers: Vec<Attacker>,
    left: usize,
    latest: Duration,
    /// When the last one had come, and when the first one was put out.
    complete: Option<Instant>,
    first_end: Option<Instant>,
}

impl Crowd {
    /// Every other one is silent. They come from several addresses: one has ports for 28,000.
    fn connect(&mut self, server: SocketAddr) -> Result<(), Failure> {
        let number = self.attackers.len();
        let host = u8::try_from(2 + number % 8).unwrap_or(2);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0)).into())?;
        // The server may accept it long before this process, which comes last, runs on.
        let began = Instant::now();
        socket.connect(&server.into())?;
        socket.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(socket.into());
        self.poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
        let (kind, since) = match number % 2 {
            0 => (Kind::Silent, Some(began)),
            _ => (Kind::Trickling, None),
        };
        self.attackers.push(Attacker { stream, kind, since, ended: false });
        self.left += 1;
        if self.attackers.len() == ATTACKERS {
            self.complete = Some(Instant::now());
        }
        Ok(())
    }

    fn heard(&mut self, number: usize) -> Result<(), Failure> {
        let Some(attacker) = self.attackers.get_mut(number).filter(|attacker| !attacker.ended) else { return Ok(()) };
        match attacker.stream.read(&mut [0; 64]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Ok(count) if count > 0 => return Err("the server spoke to somebody who said nothing".into()),
            _ => {}
        }
        attacker.ended = true;
        self.first_end.get_or_insert_with(Instant::now);
        self.left -= 1;
        let (lived, allowed) = (attacker.since.map_or(Duration::ZERO, |since| since.elapsed()), attacker.allowed());
        if lived + EARLY_MAX < allowed {
            return Err(format!("put out after {lived:?}, allowed are {allowed:?}: too early").into());
        }
        let late = lived.saturating_sub(allowed);
        if late > LATE_MAX {
            return Err(format!("put out after {lived:?}, allowed are {allowed:?}").into());
        }
        self.latest = self.latest.max(late);
        Ok(())
    }
}

/// The attack as its schedule has it, in which this process looks every millisecond but stands still once.
#[cfg(test)]
fn judge_schedule(still: std::ops::Range<u64>) {
    let stalled = still.end - still.start;
    // When each came, and when those that trickle sent their first byte.
    let (mut came, mut first_byte, mut trickled) = (Vec::new(), vec![None; ATTACKERS], 0);
    for now in (0..10_000).filter(|now| !still.contains(now)).map(Duration::from_millis) {
        came.resize(due_to_come(now), now);
        let due = due_to_trickle(now);
        for turn in trickled..due {
            let number = turn % ATTACKERS;
            if number % 2 == 1 && number < came.len() {
                first_byte[number].get_or_insert(now);
            }
        }
        trickled = due;
    }
    let ends = came.iter().zip(&first_byte).enumerate().map(|(number, (&came, &first_byte))| match first_byte {
        _ if number % 2 == 0 => came + FIRST_FRAME,
        Some(first_byte) => {
            let waited = first_byte - came;
            assert!(waited <= BYTE_EVERY + Duration::from_millis(1 + stalled), "{number} waited for {waited:?}");
            assert!(first_byte + FRAME + LATE_MAX <= came + FIRST_FRAME, "{number} is put out for its silence");
            first_byte + FRAME
        }
        None => panic!("{number} sent nothing"),
    });
    let (first, last) =
        ends.fold((Duration::MAX, Duration::ZERO), |(first, last), end| (first.min(end), last.max(end)));
    let all_there = first - came[ATTACKERS - 1];
    assert!(all_there >= ALL_THERE_MIN + Duration::from_secs(2), "all are there for {all_there:?}");
    assert!(last + LATE_MAX <= Duration::from_secs(SECONDS), "put out at {last:?}");
}

#[test]
fn all_attackers_are_there_together_and_each_is_put_out_for_what_it_does() {
    judge_schedule(0..0);
    for from in (0..6_000).step_by(250) {
        judge_schedule(from..from + 900);
    }
}
