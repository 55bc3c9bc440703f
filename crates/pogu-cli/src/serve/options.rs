//! What to serve: every limit and option, with defaults, and what the engine makes of them.

use std::time::Duration;

use pogu::{
    Core, CoreBuilder, DriverChoice, FrameFormat, Heartbeat, Limits, ListenOptions, PortConfig, Refusal, Service,
    StreamOptions,
};

use super::{DRAIN_TIMEOUT, ROOM_WINDOW};
use crate::failure::Failure;
use crate::protocol::{FRAME_BYTES_MAX, HEADER_BYTES};

/// Messages that may wait for a worker, unless the configuration says otherwise. 5,000 who walk ten times a second on the plaza
/// are some 150,000 a second, and a pause of the machine is to end nobody: this is room for nearly half a second. One more is
/// refused to its sender. Each may carry a whole frame, if clients say such to a room: four times what the engine's default
/// bounds; or 512 of the names to which a step on the plaza is told, 256 MiB of them in all.
pub(super) const POSTS_MAX: usize = 65_536;

/// A core and the services on it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The core.
    pub core: CoreOptions,
    /// The services, at least one.
    pub services: Vec<ServiceOptions>,
}

/// What all services share.
#[derive(Clone, Debug)]
pub struct CoreOptions {
    /// How many workers; `None`: one per processor.
    pub workers: Option<usize>,
    /// Which driver.
    pub driver: DriverChoice,
    /// The number of this process in its cluster.
    pub node: u16,
    /// How long a handler may run before it is reported; `None`: for ever.
    pub stall_limit: Option<Duration>,
    /// How long a stop waits for sessions to end in good order.
    pub stop_timeout: Duration,
    /// Each worker's port.
    pub port: PortConfig,
}

/// One service.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// Its name, for people.
    pub name: String,
    /// Where to listen.
    pub listen: String,
    /// Bytes of the largest frame, its header included.
    pub frame_bytes_max: usize,
    /// How long what is said in a room, or happens on the plaza, may wait for more, to leave together.
    pub room_window: Duration,
    /// Pings for quiet sessions.
    pub heartbeat: Option<HeartbeatOptions>,
    /// Answers to the pings of clients.
    pub answer_heartbeats: Option<HeartbeatAnswer>,
    /// What a connection above the cap is told.
    pub refuse_full_with: Option<PacketOptions>,
    /// The engine's limits.
    pub limits: Limits,
    /// Options of the listening socket.
    pub listen_options: ListenOptions,
    /// Options of each connection's socket.
    pub stream_options: StreamOptions,
}

/// See [`Heartbeat`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeartbeatOptions {
    /// How long nothing has come from a session that gets a ping.
    pub interval: Duration,
    /// The packet id of pings.
    pub ping_id: u16,
    /// The body of pings.
    pub body: Vec<u8>,
    /// The packet id of answers.
    pub pong_id: Option<u16>,
    /// How long an answer may take; `None`: there need not be one.
    pub pong_timeout: Option<Duration>,
}

/// See [`Service::answer_heartbeats`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeartbeatAnswer {
    /// The packet id of pings.
    pub ping_id: u16,
    /// The packet id of their answers.
    pub pong_id: u16,
}

/// A packet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PacketOptions {
    /// Its id.
    pub id: u16,
    /// Its body.
    pub body: Vec<u8>,
}

impl Default for Options {
    fn default() -> Options {
        Options { core: CoreOptions::default(), services: vec![ServiceOptions::default()] }
    }
}

impl Default for CoreOptions {
    fn default() -> CoreOptions {
        let mut port = PortConfig::default();
        // Test runs may guard all ports through the environment; `builder` sees to that, a printed default does not change.
        port.guarded = false;
        port.posts_max = POSTS_MAX;
        let stall_limit = Some(Duration::from_millis(100));
        CoreOptions {
            workers: None,
            driver: DriverChoice::Auto,
            node: 0,
            stall_limit,
            stop_timeout: DRAIN_TIMEOUT,
            port,
        }
    }
}

impl Default for ServiceOptions {
    fn default() -> ServiceOptions {
        ServiceOptions {
            name: "game".to_owned(),
            listen: "127.0.0.1:7777".to_owned(),
            frame_bytes_max: FRAME_BYTES_MAX,
            room_window: ROOM_WINDOW,
            heartbeat: None,
            answer_heartbeats: None,
            refuse_full_with: None,
            limits: Limits::default(),
            listen_options: ListenOptions::default(),
            stream_options: StreamOptions::default(),
        }
    }
}

impl Options {
    /// Refuses what contradicts itself. The limits are the engine's to check.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.services.is_empty() {
            return Err(Failure::Usage("there is no service to serve".to_owned()));
        }
        for (index, service) in self.services.iter().enumerate() {
            service.check_packets().map_err(|failure| service.named(failure))?;
            let (name, address) = (&service.name, &service.listen);
            let others = self.services.get(..index).unwrap_or_default();
            if others.iter().any(|other| other.name == *name) {
                return Err(Failure::Usage(format!("two services have the name {name}")));
            }
            let same = others.iter().find(|other| other.listen == *address && !address.ends_with(":0"));
            if let Some(other) = same {
                let sentence = format!("the services {} and {name} both listen on {address}", other.name);
                return Err(Failure::Usage(sentence));
            }
        }
        Ok(())
    }
}

impl CoreOptions {
    pub(super) fn is_guarded(&self) -> bool {
        self.port.guarded || PortConfig::default().guarded
    }

    pub(super) fn builder(&self) -> CoreBuilder {
        let mut port = self.port.clone();
        port.guarded = self.is_guarded();
        let builder = Core::builder().driver(self.driver).node(self.node).stall_limit(self.stall_limit).port(port);
        match self.workers {
            Some(workers) => builder.workers(workers),
            None => builder,
        }
    }
}

impl ServiceOptions {
    pub(super) fn format(&self) -> FrameFormat {
        FrameFormat::course().frame_bytes_max(self.frame_bytes_max)
    }

    pub(super) fn service(&self) -> Service {
        let mut service = Service::server(&self.listen)
            .format(self.format())
            .limits(self.limits.clone())
            .listen_options(self.listen_options.clone())
            .stream_options(self.stream_options.clone());
        if let Some(heartbeat) = &self.heartbeat {
            service = service.heartbeat(heartbeat.heartbeat());
        }
        if let Some(HeartbeatAnswer { ping_id, pong_id }) = self.answer_heartbeats {
            service = service.answer_heartbeats(ping_id, pong_id);
        }
        if let Some(PacketOptions { id, body }) = &self.refuse_full_with {
            service = service.refuse_full_with(Refusal::new("the service is full").with_packet(*id, body.clone()));
        }
        service
    }

    /// Refuses packets of its own that no frame of its own can carry.
    fn check_packets(&self) -> Result<(), Failure> {
        let room = self.frame_bytes_max.saturating_sub(HEADER_BYTES);
        let bodies = [
            ("heartbeat", self.heartbeat.as_ref().map(|heartbeat| &heartbeat.body)),
            ("refuse_full_with", self.refuse_full_with.as_ref().map(|packet| &packet.body)),
        ];
        for (key, body) in bodies {
            let bytes = body.map_or(0, Vec::len);
            if bytes > room {
                let sentence =
                    format!("the body of {key} is {bytes} bytes, allowed is {room} with this frame_bytes_max");
                return Err(Failure::Usage(sentence));
            }
        }
        Ok(())
    }

    /// Says which service it was that could not be started.
    pub(super) fn named(&self, failure: Failure) -> Failure {
        let name = |sentence| format!("service {}: {sentence}", self.name);
        match failure {
            Failure::Usage(sentence) => Failure::Usage(name(sentence)),
            Failure::Run(sentence) => Failure::Run(name(sentence)),
        }
    }
}

impl HeartbeatOptions {
    fn heartbeat(&self) -> Heartbeat {
        let heartbeat = Heartbeat::every(self.interval, self.ping_id).body(self.body.clone());
        match (self.pong_id, self.pong_timeout) {
            (Some(pong_id), Some(timeout)) => heartbeat.pong_required(pong_id, timeout),
            (Some(pong_id), None) => heartbeat.pong(pong_id),
            (None, _) => heartbeat,
        }
    }
}
