//! Who there is in a storm and what they may do: everything that is drawn before it begins.
//!
//! Limits are drawn so that some seeds meet them and most do not: a send queue that a burst fills, a cap below the number of
//! those who come, a rate below the pace. Where the storm is over they are lifted ([`ServerPlan::lift`]), so that everybody
//! can come back, and what is checked then is the engine and not the drawing.

use std::time::Duration;

use pogu::sim::{Faults, SimulationOptions};
use pogu::{
    ByteOrder, FrameFormat, Heartbeat, IdField, Limits, PortConfig, Rate, RateExceeded, Reconnect, SendOverflow,
    Service, SizeCounts, SizeField, StreamOptions,
};

use crate::Size;
use crate::draw::Draw;
use crate::jobs::JobsPlan;
use crate::message::{Kind, Message, Stamp};
use crate::talk::TalkPlan;

/// Packet ids of heartbeats: above every [`Kind`].
const PING_ID: u16 = 200;
const PONG_ID: u16 = 201;

/// The sleep of workers draws for itself, and so do how things are said, and job queues: what is drawn beside them is as it was.
const DRAWS_SLEEP: u64 = 5 << 32;
const DRAWS_MANNERS: u64 = 7 << 32;
const DRAWS_JOBS: u64 = 10 << 32;

/// No frame of a storm is longer.
pub(crate) const FRAME_BYTES_MAX: usize = 4_096;

/// The bound of send queues where none is drawn, and of all when the storm is over.
pub(crate) const SEND_BYTES_LIFTED: usize = 256 * 1024;

/// How old a byte may be that waits, when the storm is over.
pub(crate) const SEND_AGE_LIFTED: Duration = Duration::from_secs(30);

/// The largest buffer that a stream is drawn to have at one of its ends, if not that of the network.
const STREAM_BUFFER_BYTES_MAX: u32 = 8_192;

/// An inbox that is never full.
const POSTS_MAX: usize = 2_048;

pub(crate) struct Plan {
    pub(crate) simulation: SimulationOptions,
    /// Those of servers first.
    pub(crate) cores: Vec<CorePlan>,
    pub(crate) servers: Vec<ServerPlan>,
    pub(crate) clients: Vec<ClientPlan>,
    pub(crate) peers: usize,
    pub(crate) talk: TalkPlan,
    pub(crate) jobs: JobsPlan,
    /// The storm lasts so long at most.
    pub(crate) storm_time: Duration,
    /// The cores stop while faults happen: there is no calm.
    pub(crate) stops_in_storm: bool,
    pub(crate) drain_time: Duration,
    pub(crate) servers_stop_first: bool,
}

pub(crate) struct CorePlan {
    pub(crate) workers: usize,
    pub(crate) port: PortConfig,
}

pub(crate) struct ServerPlan {
    pub(crate) core: usize,
    pub(crate) service: Service,
    pub(crate) format: FrameFormat,
    pub(crate) limits: Limits,
    pub(crate) refuses: u64,
}

pub(crate) struct ClientPlan {
    pub(crate) core: usize,
    pub(crate) server: usize,
    pub(crate) service: Service,
    pub(crate) sessions: usize,
    pub(crate) reconnects: bool,
    pub(crate) limits: Limits,
}

impl Plan {
    /// The faults of its seed: those that are on.
    pub(crate) fn knobs(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.simulation.faults.knobs().filter(|(_, value)| *value > 0)
    }

    /// Whether what is sent on a connection that is not reset always comes, at the latest when the storm is over.
    pub(crate) fn loses_nothing(&self) -> bool {
        self.simulation.faults.half_open == 0
    }

    /// Whether it comes within much less than the shortest idle time, also while the storm lasts.
    pub(crate) fn delays_nothing(&self) -> bool {
        self.simulation.faults.partitions == 0 && self.simulation.faults.pauses == 0
    }

    /// Where pools are late: by how much a task may be, each time.
    pub(crate) fn held_max(&self) -> Option<Duration> {
        let faults = &self.simulation.faults;
        (faults.held_tasks > 0).then_some(faults.held_tasks_max)
    }

    /// What one direction of a connection takes while nobody reads, at most.
    pub(crate) fn stream_bytes_max(&self) -> usize {
        self.simulation.stream_bytes.max(2 * STREAM_BUFFER_BYTES_MAX as usize)
    }

    pub(crate) fn drawn(seed: u64, size: Size) -> Plan {
        let mut draw = Draw::new(seed, 0);
        let draw = &mut draw;
        let numbers = match size {
            Size::Small => draw.count(10, 20),
            Size::Large => 100,
        };
        let ids = draw.percent(85);
        let (server_cores, client_cores) = (draw.count(1, 2), draw.count(1, 2));
        let mut cores: Vec<CorePlan> = (0..server_cores).map(|_| CorePlan::drawn(draw, 3)).collect();
        cores.extend((0..client_cores).map(|_| CorePlan::drawn(draw, 2)));
        // Each core of servers has a service at least.
        let services = draw.count(server_cores, 3);
        let talk = TalkPlan::drawn(draw, &mut Draw::new(seed, DRAWS_MANNERS), size, ids);
        let servers: Vec<ServerPlan> =
            (0..services).map(|index| ServerPlan::drawn(draw, index, index % server_cores, numbers, ids)).collect();
        let clients = clients(draw, size, &servers, numbers, [server_cores, client_cores]);
        let storm_time = talk.storm_time();
        Plan {
            simulation: simulation(draw, seed),
            cores,
            servers,
            clients,
            peers: draw.count(0, numbers / 3),
            talk,
            jobs: JobsPlan::drawn(&mut Draw::new(seed, DRAWS_JOBS), server_cores),
            storm_time,
            stops_in_storm: draw.percent(25),
            drain_time: draw.milliseconds(1_000, 10_000),
            servers_stop_first: draw.percent(50),
        }
    }
}

fn simulation(draw: &mut Draw, seed: u64) -> SimulationOptions {
    let mut options = SimulationOptions::default();
    options.seed = seed;
    options.latency = Duration::from_micros(draw.one_of(&[0, 50, 1_000, 10_000, 60_000]));
    options.stream_bytes = draw.one_of(&[1_024, 4_096, 16_384, 65_536]);
    // In one of ten nothing goes wrong: what a storm finds there has nothing to do with faults.
    if draw.percent(90) {
        options.faults = Faults::drawn(seed);
        let sleep = &mut Draw::new(seed, DRAWS_SLEEP);
        options.idle_turns = if sleep.percent(50) { 0 } else { sleep.one_of(&[10, 50, 200]) };
    }
    options
}

impl CorePlan {
    fn drawn(draw: &mut Draw, workers_max: usize) -> CorePlan {
        let mut port = PortConfig::default();
        // In one of five the inboxes are so small that messages between workers are refused.
        let is_tight = draw.percent(20);
        port.posts_max = if is_tight { draw.count(4, 8) } else { POSTS_MAX };
        port.receive_buffers = draw.one_of(&[2, 4, 16, 64]);
        port.receive_buffer_bytes = draw.one_of(&[64, 256, 1_024, 2_048]);
        port.receive_bytes_per_turn_max = draw.one_of(&[256, 2_048, 65_536]);
        port.accepts_per_turn_max = draw.one_of(&[1, 4, 64]);
        port.accepts_outstanding = 1;
        port.accept_pause = draw.milliseconds(1, 100);
        CorePlan { workers: if is_tight { workers_max } else { draw.count(1, workers_max) }, port }
    }

    /// Whether messages between its workers are refused now and then.
    pub(crate) fn is_tight(&self) -> bool {
        self.port.posts_max < POSTS_MAX
    }
}

fn format(draw: &mut Draw, ids: bool) -> FrameFormat {
    let field = draw.one_of(&[SizeField::U16, SizeField::U16, SizeField::U32, SizeField::Varint]);
    FrameFormat::course()
        .size_field(field)
        .size_counts(draw.one_of(&[SizeCounts::WholeFrame, SizeCounts::AfterSizeField, SizeCounts::Body]))
        .byte_order(draw.one_of(&[ByteOrder::Little, ByteOrder::Big]))
        .id_field(if ids { draw.one_of(&[IdField::U8, IdField::U16]) } else { IdField::None })
        .extra_header_bytes(draw.one_of(&[0, 0, 0, 5]))
        .frame_bytes_max(draw.one_of(&[4_096, 16_384, 65_535]))
}

/// What both sides have.
fn limits(draw: &mut Draw) -> Limits {
    let mut limits = Limits::default();
    limits.idle_timeout = draw.milliseconds(4_000, 30_000);
    limits.frame_timeout = draw.milliseconds(1_000, 10_000);
    limits.send_age_max = draw.milliseconds(2_000, 10_000);
    limits.linger_timeout = draw.milliseconds(200, 5_000);
    limits.connect_timeout = draw.milliseconds(1_500, 5_000);
    // Two of the largest frames fit, so that it is not met all the time.
    limits.send_bytes_max = if draw.percent(30) { draw.count(8_000, 40_000) } else { SEND_BYTES_LIFTED };
    limits.send_overflow = draw.one_of(&[SendOverflow::Disconnect, SendOverflow::DropNewest]);
    limits
}

fn stream_options(draw: &mut Draw) -> StreamOptions {
    let mut stream = StreamOptions::default();
    stream.send_buffer_bytes = draw.perhaps(25, |draw| draw.small(512, STREAM_BUFFER_BYTES_MAX));
    stream.receive_buffer_bytes = draw.perhaps(25, |draw| draw.small(512, STREAM_BUFFER_BYTES_MAX));
    stream
}

impl ServerPlan {
    fn drawn(draw: &mut Draw, index: usize, core: usize, numbers: usize, ids: bool) -> ServerPlan {
        let mut limits = limits(draw);
        limits.sessions_max = if draw.percent(20) { draw.count(numbers.div_ceil(4), numbers) } else { 1_000 };
        limits.first_frame_timeout = draw.perhaps(30, |draw| draw.milliseconds(2_000, 8_000));
        limits.lingering_refusals_max = draw.one_of(&[1, 256]);
        limits.connections_per_address_max = draw.perhaps(8, |draw| draw.small(2, 30));
        limits.connection_rate_per_address = draw.perhaps(8, |draw| Rate { per_second: 20, burst: draw.small(5, 20) });
        limits.message_rate = draw.perhaps(20, |draw| Rate { per_second: draw.small(20, 100), burst: 20 });
        limits.byte_rate = draw.perhaps(10, |draw| Rate { per_second: draw.small(5_000, 50_000), burst: 8_000 });
        limits.rate_exceeded = draw.one_of(&[RateExceeded::Delay, RateExceeded::Delay, RateExceeded::Disconnect]);
        let format = format(draw, ids);
        let mut service = Service::server(format_args!("10.0.0.{}:7777", index + 1))
            .format(format)
            .limits(limits.clone())
            .stream_options(stream_options(draw));
        if ids && draw.percent(60) {
            let heartbeat = Heartbeat::every(draw.milliseconds(1_000, 6_000), PING_ID);
            let timeout = draw.milliseconds(2_000, 8_000);
            service = service.heartbeat(match draw.percent(60) {
                true => heartbeat.pong_required(PONG_ID, timeout),
                false => heartbeat.pong(PONG_ID),
            });
        }
        if draw.percent(50) {
            let mut body = Vec::new();
            Message::write(&mut body, Kind::Refusal, Stamp::NOBODY, 0, 10, draw);
            let id = if ids { Kind::Refusal.id() } else { 0 };
            service = service.refuse_full_with(pogu::Refusal::new("full").with_packet(id, body));
        }
        let refuses = draw.one_of(&[0, 0, 0, 10]);
        ServerPlan { core, service, format, limits, refuses }
    }

    /// Takes back what would keep people out, or put them out. Who is only slowed down has to get on all the same.
    pub(crate) fn lift(limits: &mut Limits) {
        limits.sessions_max = 10_000;
        limits.connections_per_address_max = None;
        limits.connection_rate_per_address = None;
        if limits.rate_exceeded == RateExceeded::Disconnect {
            limits.message_rate = None;
            limits.byte_rate = None;
        }
        limits.send_bytes_max = SEND_BYTES_LIFTED;
        limits.send_age_max = SEND_AGE_LIFTED;
    }
}

/// Every number is in one client service; each service of a server has one at least, if there are enough.
fn clients(
    draw: &mut Draw,
    size: Size,
    servers: &[ServerPlan],
    numbers: usize,
    [first_core, cores]: [usize; 2],
) -> Vec<ClientPlan> {
    let services = draw.count(servers.len(), servers.len() + 1);
    let mut left = numbers;
    (0..services)
        .map(|index| {
            let others = services - index - 1;
            let sessions = if others == 0 { left } else { draw.count(1, left - others) };
            left -= sessions;
            let server = index % servers.len();
            let core = first_core + draw.count(0, cores - 1);
            ClientPlan::drawn(draw, size, core, server, &servers[server], sessions)
        })
        .collect()
}

impl ClientPlan {
    fn drawn(
        draw: &mut Draw,
        size: Size,
        core: usize,
        server: usize,
        host: &ServerPlan,
        sessions: usize,
    ) -> ClientPlan {
        let mut limits = limits(draw);
        limits.connects_in_flight_max = draw.one_of(&[1, 4, 128]);
        let address = format_args!("10.0.0.{}:7777", server + 1);
        let mut service = Service::client(address)
            .format(host.format)
            .sessions(sessions)
            .limits(limits.clone())
            .stream_options(stream_options(draw));
        if host.format.id_max() > 0 {
            service = service.answer_heartbeats(PING_ID, PONG_ID);
        }
        let reconnects = size == Size::Large || draw.percent(85);
        if reconnects {
            service = service.reconnect(reconnect(draw));
        }
        ClientPlan { core, server, service, sessions, reconnects, limits }
    }
}

fn reconnect(draw: &mut Draw) -> Reconnect {
    let window = draw.milliseconds(100, 4_000);
    match draw.percent(50) {
        true => Reconnect::spread_over(window),
        false => Reconnect::default().window_first(window).window_max(window * 2),
    }
}
