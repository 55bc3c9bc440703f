//! Members of a room that talk at a steady rate and measure what they hear of each other.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pogu::{Context, Core, DriverChoice, Packet, Service, Session};

use crate::Failure;

pub const JOIN: u16 = 1;
pub const SAY: u16 = 2;

/// The room that everybody is in.
pub const ROOM: u32 = 7;

pub const TALKERS: usize = 50;

/// How often each talker says something.
const PAUSE: Duration = Duration::from_millis(500);

/// Bytes of what is said: two of the header's numbers, and filling.
const BODY_BYTES: usize = 900;

#[derive(Default)]
pub struct Hall {
    joined: AtomicUsize,
    talking: AtomicBool,
    measuring: AtomicBool,
    said: AtomicU64,
    heard: AtomicU64,
    wrong: AtomicU64,
    latencies: Mutex<Vec<u64>>,
}

/// A member of the room. The first [`TALKERS`] talk.
struct Member {
    hall: Arc<Hall>,
    talks: bool,
    number: u64,
}

impl Session for Member {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        cx.send(JOIN, &ROOM.to_le_bytes());
        if self.talks {
            // Spread over the pause, so that not all talk at once.
            cx.set_timer(PAUSE / TALKERS as u32 * (pogu::entropy() % TALKERS as u64) as u32);
        }
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        if packet.id() == JOIN {
            self.hall.joined.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if !self.talks {
            return;
        }
        let mut reader = packet.reader();
        let (Ok(sent_at), Ok(_number)) = (reader.u64(), reader.u64()) else {
            self.hall.wrong.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.hall.heard.fetch_add(1, Ordering::Relaxed);
        if self.hall.measuring.load(Ordering::Relaxed) {
            let nanoseconds = cx.read_clock().as_nanos().saturating_sub(sent_at);
            self.hall.latencies.lock().unwrap_or_else(PoisonError::into_inner).push(nanoseconds);
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        cx.set_timer(PAUSE);
        if self.hall.talking.load(Ordering::Relaxed) {
            let mut body = vec![0x5A; BODY_BYTES];
            body[..8].copy_from_slice(&cx.read_clock().as_nanos().to_le_bytes());
            body[8..16].copy_from_slice(&self.number.to_le_bytes());
            self.number += 1;
            self.hall.said.fetch_add(1, Ordering::Relaxed);
            cx.send(SAY, &body);
        }
    }
}

/// The members of one run.
pub struct Talk {
    core: Core,
    pub hall: Arc<Hall>,
    members: usize,
}

impl Talk {
    /// [`TALKERS`] and `listeners` more, all in the room.
    pub fn begin(server: SocketAddr, listeners: usize) -> Result<Talk, Failure> {
        let core = Core::builder().workers(1).driver(DriverChoice::Auto).start()?;
        let hall = Arc::<Hall>::default();
        for (sessions, talks) in [(TALKERS, true), (listeners, false)] {
            let hall = Arc::clone(&hall);
            if sessions > 0 {
                let service = Service::client(server).sessions(sessions).idle_timeout(Duration::from_secs(86_400));
                core.connect(service, move |_| Member { hall: Arc::clone(&hall), talks, number: 0 })?;
            }
        }
        let talk = Talk { core, hall, members: TALKERS + listeners };
        wait_until("everybody is in the room", Duration::from_secs(20), || talk.joined() == talk.members)?;
        Ok(talk)
    }

    fn joined(&self) -> usize {
        self.hall.joined.load(Ordering::Relaxed)
    }

    /// Talks, and measures from the first word on: until so many bytes have been said to every member, and for a while more.
    /// The 99th percentile in microseconds.
    pub fn measure(&self, bytes: u64, time: Duration) -> Result<f64, Failure> {
        self.hall.measuring.store(true, Ordering::Relaxed);
        self.hall.talking.store(true, Ordering::Relaxed);
        let said_bytes = || self.hall.said.load(Ordering::Relaxed) * (BODY_BYTES as u64 + 4);
        wait_until("enough has been said", Duration::from_secs(120), || said_bytes() >= bytes)?;
        let until = self.core.now() + time;
        wait_until("time passes", time * 2, || self.core.now() >= until)?;
        self.hall.measuring.store(false, Ordering::Relaxed);
        let mut latencies = std::mem::take(&mut *self.hall.latencies.lock().unwrap_or_else(PoisonError::into_inner));
        latencies.sort_unstable();
        let p99 = latencies.get(latencies.len() * 99 / 100).ok_or("nothing was heard")?;
        Ok(*p99 as f64 / 1000.0)
    }

    /// Falls silent, and checks that every talker heard every word.
    pub fn end(self) -> Result<(), Failure> {
        self.hall.talking.store(false, Ordering::Relaxed);
        let said = || self.hall.said.load(Ordering::Relaxed) * TALKERS as u64;
        let heard = || self.hall.heard.load(Ordering::Relaxed);
        wait_until("every word is heard", Duration::from_secs(10), || heard() == said())
            .map_err(|error| format!("{error}: {} of {}", heard(), said()))?;
        if self.hall.wrong.load(Ordering::Relaxed) > 0 {
            return Err("void: something was heard that nobody said".into());
        }
        self.core.stop(Duration::from_secs(5))?;
        Ok(())
    }
}

/// Looks again and again, rarely enough to disturb nobody.
pub fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) -> Result<(), Failure> {
    let began = std::time::Instant::now();
    while !done() {
        if began.elapsed() > limit {
            return Err(format!("after {limit:?} it is not true: {what}").into());
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    Ok(())
}
