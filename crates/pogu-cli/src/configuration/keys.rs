//! The keys of every table. A field of the engine's that has none is found by a test.

use std::time::Duration;

use pogu::{DriverChoice, Rate, RateExceeded, SendOverflow, WINDOW_MAX};

use super::codec::{Body, Bytes, Codec, Count, Flag, Inline, Or, PowerOfTwo, Text, Time, Words};
use super::key::{Key, Record, keys};
use crate::logging::{self, LogFormat, LogOptions};
use crate::protocol::{FRAME_BYTES_MAX, HEADER_BYTES};
use crate::serve::{CoreOptions, HeartbeatAnswer, HeartbeatOptions, PacketOptions, ServiceOptions};

const U16: Count = Count(0..=u16::MAX as u64);
const U32: Count = Count(1..=u32::MAX as u64);
const ANY_COUNT: Count = Count(0..=u64::MAX);
const SOME: Count = Count(1..=u64::MAX);
const SOME_BYTES: Bytes = Bytes(1..=u64::MAX);
const ANY_TIME: Time = Time(Duration::ZERO..=Duration::MAX);
const SOME_TIME: Time = Time(Duration::from_nanos(1)..=Duration::MAX);
/// What `setsockopt` can be told.
const SOCKET_BUFFER: Or<Bytes> = Or("off", Bytes(1..=i32::MAX as u64));
const RATE: Or<Inline> = Or("off", Inline);
const DRIVERS: Words<DriverChoice> = Words(&[
    ("auto", DriverChoice::Auto),
    ("uring", DriverChoice::Uring),
    ("readiness", DriverChoice::Readiness),
    ("iocp", DriverChoice::Iocp),
]);
const OVERFLOW: Words<SendOverflow> =
    Words(&[("disconnect", SendOverflow::Disconnect), ("drop-newest", SendOverflow::DropNewest)]);
const EXCEEDED: Words<RateExceeded> =
    Words(&[("delay", RateExceeded::Delay), ("disconnect", RateExceeded::Disconnect)]);
const DIRECTIVES: Text = Text { allowed: logging::LEVELS, check: logging::is_level };
const FORMATS: Words<LogFormat> = Words(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);
const ADDRESS: Text = Text { allowed: ADDRESSES, check: is_address };

/// What [`is_address`] accepts.
pub(crate) const ADDRESSES: &str = "an address with its port, such as \"0.0.0.0:7777\"";

/// True if it may be an address to listen on, wherever it is written; whether it is one, the system knows.
pub(crate) fn is_address(text: &str) -> bool {
    text.contains(':')
}

pub(super) const LOG: &[Key<LogOptions>] = keys! { LogOptions, |log| log;
    level: String = DIRECTIVES, "Log lines of this level and worse go to stderr. RUST_LOG wins over it, --log over both.";
    format: LogFormat = FORMATS, "Lines for people, or one JSON object per line. --log-format wins.";
};

const WORKERS: &[Key<CoreOptions>] = keys! { CoreOptions, |core| core;
    workers: Option<usize> = Or("auto", Count(1..=1024)), "Worker threads; auto: one per processor.";
    driver: DriverChoice = DRIVERS, "How to talk to the system; auto: the best that it allows.";
    node: u16 = U16, "The number of this process in its cluster, part of every session's name.";
    stall_limit: Option<Duration> = Or("off", Time(Duration::from_millis(1)..=Duration::from_secs(86_400))),
        "How long a handler may run before the log names it, with its service and packet.";
    stop_timeout: Duration = ANY_TIME,
        "How long a stop waits for sessions to end in good order; then they are reset. More than linger_timeout.";
};

const PORT: &[Key<CoreOptions>] = keys! { CoreOptions, |core| core.port;
    latency_budget: Duration = Time(Duration::ZERO..=Duration::from_secs(1)),
        "How long a worker waits for more before it handles what has come: less processor time, later answers; 0s: not at all.";
    guarded: bool = Flag,
        "Make memory inaccessible as soon as it is released, so that a use after that is an error: slower, for development.";
    connections_max: u32 = Count(1..=u32::MAX as u64 - 1),
        "Connections and listeners per worker; one more is closed and counted.";
    posts_max: usize = Count(1..=1 << 24), "Messages that may wait for a worker; one more is refused to its sender, and a player of the plaza whom it concerned is ended. 5,000 who walk ten times a second there are some 150,000 a second.";
    receive_buffers: u16 = PowerOfTwo(1..=32_768),
        "Receive buffers per worker; when all are in use, connections wait their turn.";
    receive_buffer_bytes: u32 = Bytes(64..=1 << 24), "Bytes of one of them; larger frames arrive in several pieces.";
    receive_bytes_per_turn_max: usize = SOME_BYTES,
        "Bytes that one connection may receive in one turn of its worker; the rest waits for the next.";
    accepts_per_turn_max: usize = Count(1..=64), "Connections that a listener hands out in one turn.";
    accepts_outstanding: usize = Count(1..=64),
        "Connections that a listener can take between two turns, with completion ports of Windows.";
    accept_pause: Duration = Time(Duration::from_millis(1)..=Duration::from_secs(3600)),
        "How long a listener pauses when the system is out of descriptors or memory.";
    submission_entries: u32 = Count(1..=32_768), "Entries of the submission queue of io_uring.";
    completion_entries: u32 = Count(2..=65_536), "Entries of the completion queue of io_uring.";
    drain_timeout: Duration = ANY_TIME,
        "How long a worker waits at its end for the kernel's last operations; then their memory is leaked, never freed.";
};

pub(super) const CORE: &[&[Key<CoreOptions>]] = &[WORKERS, PORT];

const SERVICE_ITSELF: &[Key<ServiceOptions>] = keys! { ServiceOptions, |service| service;
    listen: String = ADDRESS, "Where to listen; port 0 lets the system choose.";
    frame_bytes_max: usize = Bytes(HEADER_BYTES as u64..=FRAME_BYTES_MAX as u64),
        "Bytes of the largest frame, its header included, in both directions. A peer that announces more misbehaves.";
    room_window: Duration = Time(Duration::ZERO..=WINDOW_MAX),
        "How long what is said in a room, or happens on the plaza, may wait for more, so that it leaves together; 0s: not at all.";
    heartbeat: Option<HeartbeatOptions> = Or("off", Inline),
        "A ping for sessions from which nothing has come for `interval`: a packet with the id `ping_id` and `body`. \
         Packets with the id `pong_id` are its answers; with `pong_timeout` they have to come that soon.\n\
         { interval = \"5s\", ping_id = 900, body = \"\", pong_id = 901, pong_timeout = \"30s\" }";
    answer_heartbeats: Option<HeartbeatAnswer> = Or("off", Inline),
        "Answers pings of clients: the body of a packet with the id `ping_id` goes back with the id `pong_id`.";
    refuse_full_with: Option<PacketOptions> = Or("off", Inline),
        "The packet that a connection above sessions_max receives before it is closed.";
};

const LIMITS: &[Key<ServiceOptions>] = keys! { ServiceOptions, |service| service.limits;
    sessions_max: usize = SOME,
        "Sessions at one time, ending ones included. Further connections are refused.";
    send_bytes_max: usize = SOME_BYTES, "Bytes that may wait to be sent to a session; send_overflow decides at the bound.";
    send_overflow: SendOverflow = OVERFLOW, "What happens there: the session ends, or the new frame is dropped.";
    send_age_max: Duration = SOME_TIME, "How long the oldest unsent byte may wait; then the session ends.";
    first_frame_timeout: Option<Duration> = Or("off", SOME_TIME),
        "How long a connection may take until its first whole frame has come. For clients that speak first.";
    frame_timeout: Duration = SOME_TIME, "How long a frame may stay unfinished after its first byte; then the session ends.";
    idle_timeout: Duration = SOME_TIME, "How long a session may be silent in both directions; then it ends.";
    linger_timeout: Duration = ANY_TIME,
        "How long an ending session may take to flush and to wait for the peer's end; then it is reset.";
    connect_timeout: Duration = SOME_TIME, "How long a connection that the service opens may take. This one opens none.";
    lingering_refusals_max: usize = ANY_COUNT,
        "Refused connections per worker that may linger, so that the reason reaches them. Further ones are reset.";
    connects_in_flight_max: usize = SOME,
        "Connections per worker that the service opens at one time. This one opens none.";
    connections_per_address_max: Option<u32> = Or("off", U32),
        "Connections at one time from one address (IPv6: from one /64). One more is reset.";
    connection_rate_per_address: Option<Rate> = RATE,
        "New connections from one address per second, and at once after a pause. One that comes too soon is \
         reset.\n{ per_second = 5, burst = 20 }";
    message_rate: Option<Rate> = RATE, "Frames received from a session; rate_exceeded decides above it.";
    byte_rate: Option<Rate> = RATE, "Bytes of frames received from a session; rate_exceeded decides above it.";
    cost_rate: Option<Rate> = RATE, "What handlers charge to a session; those of this service charge nothing.";
    delay_max: Duration = SOME_TIME, "How long a session may be delayed by these rates without a break; then it ends.";
    rate_exceeded: RateExceeded = EXCEEDED,
        "What happens at these rates: no more is received until the session is within its rate again, or it ends.";
};

const LISTEN: &[Key<ServiceOptions>] = keys! { ServiceOptions, |service| service.listen_options;
    backlog: u32 = U32, "Handshakes that the system keeps waiting; further clients try again after a second.";
    reuse_address: bool = Flag, "Whether the address may be bound while old connections to it are in TIME_WAIT.";
};

const STREAM: &[Key<ServiceOptions>] = keys! { ServiceOptions, |service| service.stream_options;
    nodelay: bool = Flag, "TCP_NODELAY: small segments leave at once. The engine coalesces by itself.";
    reset_on_close: bool = Flag, "Whether closing a connection drops what has not left and resets it.";
    send_buffer_bytes: Option<u32> = SOCKET_BUFFER, "SO_SNDBUF in bytes; off: the system decides.";
    receive_buffer_bytes: Option<u32> = SOCKET_BUFFER, "SO_RCVBUF in bytes; off: the system decides.";
};

pub(super) const SERVICE: &[&[Key<ServiceOptions>]] = &[SERVICE_ITSELF, LIMITS, LISTEN, STREAM];

/// The table that a key stands in elsewhere: for the error about a key in the wrong one.
pub(super) fn table_of(name: &str) -> Option<&'static str> {
    if LOG.iter().any(|key| key.name == name) {
        return Some("log");
    }
    if CORE.iter().copied().flatten().any(|key| key.name == name) {
        return Some("core");
    }
    SERVICE.iter().copied().flatten().any(|key| key.name == name).then_some("service.NAME")
}

impl Record for Rate {
    const KEYS: &'static [Key<Rate>] = keys! { Rate, |rate| rate;
        per_second: u32 = U32, "";
        burst: u32 = U32, "";
    };
    const REQUIRED: &'static [&'static str] = &["per_second"];

    fn blank() -> Rate {
        Rate { per_second: 0, burst: 0 }
    }

    fn finish(&mut self) -> Result<(), &'static str> {
        if self.burst == 0 {
            *self = Rate::per_second(self.per_second);
        }
        Ok(())
    }
}

impl Record for HeartbeatOptions {
    const KEYS: &'static [Key<HeartbeatOptions>] = keys! { HeartbeatOptions, |heartbeat| heartbeat;
        interval: Duration = SOME_TIME, "";
        ping_id: u16 = U16, "";
        body: Vec<u8> = Body, "";
        pong_id: Option<u16> = Or("off", U16), "";
        pong_timeout: Option<Duration> = Or("off", SOME_TIME), "";
    };
    const REQUIRED: &'static [&'static str] = &["interval", "ping_id"];

    fn blank() -> HeartbeatOptions {
        HeartbeatOptions::default()
    }

    fn finish(&mut self) -> Result<(), &'static str> {
        match (self.pong_id, self.pong_timeout) {
            (None, Some(_)) => Err("pong_timeout needs a pong_id: the answer that it waits for"),
            _ => Ok(()),
        }
    }
}

impl Record for HeartbeatAnswer {
    const KEYS: &'static [Key<HeartbeatAnswer>] = keys! { HeartbeatAnswer, |answer| answer;
        ping_id: u16 = U16, "";
        pong_id: u16 = U16, "";
    };
    const REQUIRED: &'static [&'static str] = &["ping_id", "pong_id"];

    fn blank() -> HeartbeatAnswer {
        HeartbeatAnswer::default()
    }
}

impl Record for PacketOptions {
    const KEYS: &'static [Key<PacketOptions>] = keys! { PacketOptions, |packet| packet;
        id: u16 = U16, "";
        body: Vec<u8> = Body, "";
    };
    const REQUIRED: &'static [&'static str] = &["id"];

    fn blank() -> PacketOptions {
        PacketOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Debug;

    use pogu::{Core, Limits, ListenOptions, PortConfig, Service, StreamOptions};

    use super::*;

    fn names<T>(keys: &[Key<T>]) -> BTreeSet<String> {
        keys.iter().map(|key| key.name.to_owned()).collect()
    }

    /// The fields that `Debug` shows: of the engine's types, all.
    fn fields(value: &dyn Debug, without: &[&str]) -> BTreeSet<String> {
        let field = |line: &str| {
            let line = line.strip_prefix("    ").filter(|line| !line.starts_with([' ', '}', ']', ')']))?;
            line.split_once(": ").map(|(name, _)| name.to_owned())
        };
        let fields = format!("{value:#?}").lines().filter_map(field).collect::<BTreeSet<String>>();
        assert!(!fields.is_empty(), "{value:?}");
        fields.into_iter().filter(|name| !without.contains(&name.as_str())).collect()
    }

    #[test]
    fn every_field_has_a_key_and_every_key_a_field() {
        assert_eq!(names(LIMITS), fields(&Limits::default(), &[]));
        assert_eq!(names(LISTEN), fields(&ListenOptions::default(), &[]));
        assert_eq!(names(STREAM), fields(&StreamOptions::default(), &[]));
        assert_eq!(names(PORT), fields(&PortConfig::default(), &["clock", "faults"]));
        let parts = ["name", "limits", "listen_options", "stream_options"];
        assert_eq!(names(SERVICE_ITSELF), fields(&ServiceOptions::default(), &parts));
        assert_eq!(names(WORKERS), fields(&CoreOptions::default(), &["port"]));
        assert_eq!(names(LOG), fields(&LogOptions::default(), &[]));
    }

    /// What the engine can be told beyond its limits: a new option fails here until it has a key, or no meaning for `serve`.
    #[test]
    fn every_option_of_a_service_and_of_a_core_is_known_here() {
        let with_keys = ["address", "format", "limits", "listen", "stream", "full", "heartbeat", "answer"];
        let of_code_or_clients = ["role", "sessions", "layer", "reconnect"];
        let known: BTreeSet<String> =
            with_keys.iter().chain(&of_code_or_clients).map(|name| name.to_string()).collect();
        assert_eq!(fields(&Service::server("127.0.0.1:7777"), &[]), known);
        let known: BTreeSet<String> = ["workers", "driver", "node", "port", "stall_limit"].map(str::to_owned).into();
        // `serve` gives nobody a job; the latency budget is the port's.
        assert_eq!(fields(&Core::builder(), &["simulation", "jobs", "latency_budget"]), known);
    }

    #[test]
    fn no_name_means_two_things_in_one_table() {
        let count: usize = SERVICE.iter().map(|keys| keys.len()).sum();
        assert_eq!(SERVICE.iter().flat_map(|keys| names(keys)).collect::<BTreeSet<_>>().len(), count);
        let count: usize = CORE.iter().map(|keys| keys.len()).sum();
        assert_eq!(CORE.iter().flat_map(|keys| names(keys)).collect::<BTreeSet<_>>().len(), count);
    }
}
