//! What came of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use pogu_chaos::Mistreatment;
use serde::{Serialize, Serializer};

use super::outcome::Outcome;
use super::plaza::Counts;
use super::{Mode, Options, Pace};

/// The results of a run. Its JSON form has these names as keys.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// What the sessions did.
    pub mode: &'static str,
    /// The server's address, or several with commas between them.
    pub target: String,
    /// The driver of the swarm's own workers.
    pub driver: String,
    /// Why it was that driver.
    pub driver_reason: String,
    /// How many processes the sessions were in.
    pub processes: u64,
    /// Workers of each of them.
    pub workers: u64,
    /// Sessions asked for. In churn: connections at one time.
    pub sessions: u64,
    /// Sessions that were connected. In churn: of those at one time, how many ever were.
    pub connected: u64,
    /// Seconds from the first message that was due to the last that came, or to the end of sending if that was later.
    pub seconds: f64,
    /// Bytes of a frame.
    pub size: u64,
    /// Messages in flight per session, if that was the pace.
    pub depth: Option<u64>,
    /// Messages (in churn: connections) per second and session, if that was the pace.
    pub rate: Option<f64>,
    /// Members of a room, in room mode.
    pub room_size: Option<u64>,
    /// Messages sent; on the plaza, actions.
    pub sent: u64,
    /// Messages received, each once; on the plaza, all that the server told its bots: `received + lost + unanswered =
    /// expected`; with chaos `+ chaos.void`, too.
    pub received: u64,
    /// Messages that were to come: as many as were sent, in room mode once for every member of the sender's room, on
    /// the plaza what the rule of sight says.
    pub expected: u64,
    /// Messages that never came to a session that was there to the end.
    pub lost: u64,
    /// Messages that came once more.
    pub duplicated: u64,
    /// Messages that came after a later one of the same sender, and members that saw another order than their room.
    pub reordered: u64,
    /// Frames that nobody sent to this session, altered ones included.
    pub foreign: u64,
    /// Of those, frames that no session of any swarm sends: altered on the way.
    pub altered: u64,
    /// Sessions that ended before they were asked to.
    pub cut_off: u64,
    /// Of those, the ones that ended before their echo, in idle mode.
    pub cut_off_idle: Option<u64>,
    /// What those sessions still expected, and what of their own messages reached nobody.
    pub unanswered: u64,
    /// Messages (in churn: connections) that were due and not sent, because the server did not keep up.
    pub unsent: u64,
    /// Messages received per second.
    pub messages_per_second: f64,
    /// Half of the messages (on the plaza: of the answers to actions) took no longer than this. Microseconds in JSON,
    /// rounded.
    #[serde(rename = "p50_us", serialize_with = "microseconds")]
    pub p50: Duration,
    /// 90 of 100 took no longer.
    #[serde(rename = "p90_us", serialize_with = "microseconds")]
    pub p90: Duration,
    /// 99 of 100 took no longer.
    #[serde(rename = "p99_us", serialize_with = "microseconds")]
    pub p99: Duration,
    /// 999 of 1,000 took no longer.
    #[serde(rename = "p999_us", serialize_with = "microseconds")]
    pub p999: Duration,
    /// The longest.
    #[serde(rename = "max_us", serialize_with = "microseconds")]
    pub max: Duration,
    /// What churn measures of its connections; `null` in the other modes.
    pub connections: Option<Connections>,
    /// What was done by the proxy of a run with chaos, and what that cost; `null` without.
    pub chaos: Option<Chaos>,
    /// What the bots did and saw on the plaza; `null` in the other modes.
    pub plaza: Option<Plaza>,
    /// Bytes that left for the system.
    pub bytes_sent: u64,
    /// Bytes that came.
    pub bytes_received: u64,
    /// Why sessions ended, in good order or not, and how many; connections that were not made are among them.
    pub ended: BTreeMap<String, u64>,
    /// Why sessions were cut off or not connected, and how many.
    pub errors: BTreeMap<String, u64>,
    /// True if it was ended early by an interrupt.
    pub interrupted: bool,
    /// True if nothing was wrong.
    pub clean: bool,
}

/// What the proxy between sessions and target did, and what that cost.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Chaos {
    /// How badly it treated connections.
    pub mistreatment: String,
    /// Sessions that it cut by a reset.
    pub cut_by_reset: u64,
    /// Sessions that it cut by finishing one direction.
    pub cut_by_half_close: u64,
    /// Sessions that it cut by finishing one direction and resetting the other end.
    pub cut_by_half_close_and_reset: u64,
    /// Sessions that were there all the time.
    pub never_cut: u64,
    /// Sessions that came back after they had been cut.
    pub came_back: u64,
    /// Sessions that did not, before the end.
    pub stayed_away: u64,
    /// Messages whose answer is void: sent or to be received over a connection that was cut.
    pub void: u64,
    /// Pieces that the proxy sent.
    pub pieces: u64,
    /// Of those, the ones that it held back.
    pub delayed: u64,
    /// Times that it let a direction stand still.
    pub stalls: u64,
    /// Times that it did not receive, because it held as much as it may.
    pub pauses: u64,
}

/// What bots did on the plaza, and what they saw there.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Plaza {
    /// Acknowledged ENTERs.
    pub enters: u64,
    /// Acknowledged WALKs.
    pub walks: u64,
    /// Acknowledged CHATs.
    pub chats: u64,
    /// Acknowledged EXITs.
    pub exits: u64,
    /// How often a bot that was on the map ended its connection, to come back over another one.
    pub left: u64,
    /// How many others saw a bot that walked, on average.
    pub in_view: f64,
    /// APPEAREDs that came.
    pub appeared: u64,
    /// VANISHEDs that came.
    pub vanished: u64,
    /// WALKEDs of others that came and were to come.
    pub seen_walking: u64,
    /// WALKEDs of others that did not come, because newer ones of the same entity came in their place.
    pub replaced: u64,
    /// What came of players who are not of this swarm. If it is alone, each is foreign; if it has company, nobody here can tell
    /// whether it is right.
    pub strangers: u64,
    /// Whether nobody else was to be on the plaza.
    pub alone: bool,
}

/// What churn measures of its connections.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Connections {
    /// Made.
    pub made: u64,
    /// Not made; the causes are among the errors.
    pub failed: u64,
    /// Of those that were made, the ones that the server did not close after the client had, within 5 seconds.
    pub left_open: u64,
    /// Made per second.
    pub per_second: f64,
    /// From the moment a connection was asked for until it was there: half took no longer. Microseconds in JSON, rounded.
    #[serde(rename = "p50_us", serialize_with = "microseconds")]
    pub p50: Duration,
    /// 90 of 100 took no longer.
    #[serde(rename = "p90_us", serialize_with = "microseconds")]
    pub p90: Duration,
    /// 99 of 100 took no longer.
    #[serde(rename = "p99_us", serialize_with = "microseconds")]
    pub p99: Duration,
    /// 999 of 1,000 took no longer.
    #[serde(rename = "p999_us", serialize_with = "microseconds")]
    pub p999: Duration,
    /// The longest.
    #[serde(rename = "max_us", serialize_with = "microseconds")]
    pub max: Duration,
}

fn microseconds<S: Serializer>(latency: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from((latency.as_nanos() + 500) / 1000).unwrap_or(u64::MAX))
}

const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];

impl Report {
    /// What came of all parts together.
    pub(super) fn new(options: &Options, processes: usize, outcome: &Outcome) -> Report {
        let (depth, rate) = match (options.mode, options.pace) {
            (Mode::Idle, _) | (Mode::Churn, Pace::Depth(_)) => (None, None),
            (_, Pace::Depth(depth)) => (Some(depth as u64), None),
            (_, Pace::Rate(rate)) => (None, Some(rate)),
        };
        let [p50, p90, p99, p999, max] = QUANTILES.map(|quantile| outcome.latency.at(quantile));
        let mut report = Report {
            mode: options.mode.name(),
            target: options.target.clone(),
            driver: outcome.driver.clone(),
            driver_reason: outcome.driver_reason.clone(),
            processes: processes as u64,
            workers: options.workers as u64,
            sessions: options.sessions as u64,
            connected: outcome.connected,
            seconds: outcome.seconds,
            size: options.frame_bytes() as u64,
            depth,
            rate,
            room_size: (options.mode == Mode::Room).then_some(options.room_size as u64),
            sent: outcome.sent,
            received: outcome.received,
            expected: outcome.received
                + outcome.lost
                + outcome.unanswered
                + outcome.mishaps.as_ref().map_or(0, |mishaps| mishaps.void),
            lost: outcome.lost,
            duplicated: outcome.duplicated,
            reordered: outcome.reordered,
            foreign: outcome.foreign,
            altered: outcome.altered,
            cut_off: outcome.cut_off,
            cut_off_idle: (options.mode == Mode::Idle).then_some(outcome.cut_off_idle),
            unanswered: outcome.unanswered,
            unsent: outcome.unsent,
            messages_per_second: per_second(outcome.received, outcome.seconds),
            p50,
            p90,
            p99,
            p999,
            max,
            connections: (options.mode == Mode::Churn).then(|| Connections::new(outcome)),
            chaos: options.chaos.as_ref().map(|mistreatment| Chaos::new(mistreatment, outcome)),
            plaza: outcome.plaza.as_ref().map(|counts| Plaza::new(counts, options.alone)),
            bytes_sent: outcome.bytes_sent,
            bytes_received: outcome.bytes_received,
            ended: outcome.ended.clone(),
            errors: outcome.errors.clone(),
            interrupted: outcome.interrupted,
            clean: false,
        };
        report.clean = report.is_clean();
        report
    }

    /// True if every session was there to the end and every answer came once, in order and unaltered. In churn also: if
    /// every connection could be made and was closed in good order. With chaos: of the sessions that the proxy did not
    /// cut, and if all others came back.
    pub fn is_clean(&self) -> bool {
        let wrong = [self.lost, self.duplicated, self.reordered, self.foreign, self.cut_off, self.unanswered];
        let complete = match &self.connections {
            Some(connections) => connections.failed == 0 && connections.left_open == 0,
            None => self.connected == self.sessions || self.interrupted,
        };
        let all_back = self.chaos.as_ref().is_none_or(|chaos| chaos.stayed_away == 0);
        wrong.iter().all(|count| *count == 0) && complete && all_back
    }
}

impl Chaos {
    fn new(mistreatment: &Mistreatment, outcome: &Outcome) -> Chaos {
        let mishaps = outcome.mishaps.clone().unwrap_or_default();
        Chaos {
            mistreatment: mistreatment.to_string(),
            cut_by_reset: mishaps.resets,
            cut_by_half_close: mishaps.half_closes,
            cut_by_half_close_and_reset: mishaps.half_closes_and_resets,
            never_cut: mishaps.never_cut,
            came_back: mishaps.came_back,
            stayed_away: mishaps.stayed_away,
            void: mishaps.void,
            pieces: mishaps.pieces,
            delayed: mishaps.delayed,
            stalls: mishaps.stalls,
            pauses: mishaps.pauses,
        }
    }
}

impl Plaza {
    fn new(counts: &Counts, alone: bool) -> Plaza {
        Plaza {
            enters: counts.enters,
            walks: counts.walks,
            chats: counts.chats,
            exits: counts.exits,
            left: counts.left,
            in_view: counts.in_view(),
            appeared: counts.appeared,
            vanished: counts.vanished,
            seen_walking: counts.seen_walking,
            replaced: counts.replaced,
            strangers: counts.strangers,
            alone,
        }
    }
}

impl Connections {
    fn new(outcome: &Outcome) -> Connections {
        let [p50, p90, p99, p999, max] = QUANTILES.map(|quantile| outcome.connect_latency.at(quantile));
        Connections {
            made: outcome.connections,
            failed: outcome.connections_failed,
            left_open: outcome.left_open,
            per_second: per_second(outcome.connections, outcome.seconds),
            p50,
            p90,
            p99,
            p999,
            max,
        }
    }
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}
