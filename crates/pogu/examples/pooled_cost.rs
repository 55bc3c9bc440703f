//! What it costs to run handlers on a pool: echo of 64 bytes, in the worker and on a pool, one after the other.
//!
//! Every link has one question under way. Server and clients are cores of this process, one worker each; what is counted is the
//! processor time of all, clients included, which is the same on a busy machine. The difference is what the pool costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pogu::{Context, Core, Packet, PooledContext, PooledSession, Service, ServiceHandle, Session, Time};

const LINKS: usize = 64;
const ROUND_TRIPS: u64 = 500_000;
const BODY: [u8; 64] = [7; 64];

struct Echo;

impl Session for Echo {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        cx.send(packet.id(), packet.body());
    }
}

impl PooledSession for Echo {
    fn on_packet(&mut self, cx: &mut PooledContext<'_>, packet: Packet<'_>) {
        cx.send(packet.id(), packet.body());
    }
}

/// Asks again as soon as it is answered.
struct Asking(Arc<AtomicU64>);

impl Session for Asking {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        cx.send(1, &BODY);
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        assert_eq!(packet.body(), BODY, "a benchmark with a wrong answer is void");
        self.0.fetch_add(1, Ordering::Relaxed);
        cx.send(1, &BODY);
    }
}

/// Processor time of this process so far, where the system tells it so, in hundredths of a second as Linux counts it.
fn processor_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(10 * ticks))
}

fn measure(name: &str, serve: fn(&Core, Service) -> pogu::Result<ServiceHandle>) -> pogu::Result<()> {
    let (server, client) = (Core::builder().workers(1).start()?, Core::builder().workers(1).start()?);
    let service = serve(&server, Service::server("127.0.0.1:0"))?;
    let answered = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&answered);
    client.connect(Service::client(service.address()).sessions(LINKS), move |_| Asking(Arc::clone(&counted)))?;
    let wait_for = |answers: u64| -> Time {
        while answered.load(Ordering::Relaxed) < answers {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        client.now()
    };
    let (begun, worked) = (wait_for(ROUND_TRIPS / 10), processor_time());
    let took = wait_for(ROUND_TRIPS + ROUND_TRIPS / 10).since(begun);
    let per_trip = |time: Duration| time.as_nanos() / u128::from(ROUND_TRIPS);
    let processor = processor_time().zip(worked).map(|(now, before)| per_trip(now - before));
    println!("{name}: {} ns per round trip, {processor:?} ns of processors, {LINKS} links", per_trip(took));
    client.stop(Duration::ZERO)?;
    server.stop(Duration::ZERO).map(drop)
}

fn main() -> pogu::Result<()> {
    for _ in 0..3 {
        measure("in the worker", |core, service| core.serve(service, |_| Echo))?;
        measure("on the pool  ", |core, service| core.serve(service, core.jobs().pooled("echo", |_| Echo)))?;
    }
    Ok(())
}
