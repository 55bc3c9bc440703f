//! Echo whose handlers run in the worker or on a pool: the server that `cargo xtask bench pooled` measures, with `pogu swarm` as
//! its load. `cargo run --release --example pooled_cost -- pool`, then `pogu swarm --target ...` in another terminal.

use std::hint::black_box;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use pogu::{Context, Core, Packet, PooledContext, PooledSession, Service, Session};

/// The longest body that is answered at once; with `--block-ms` the handler of a longer one sleeps.
const BODY_BYTES_AT_ONCE: usize = 64;

#[derive(Parser)]
struct Arguments {
    /// Where handlers run.
    #[arg(value_enum)]
    place: Place,
    /// Rounds that each handler computes; a thousand are 1.3 us or so.
    #[arg(long, default_value_t = 0)]
    rounds: u32,
    /// Milliseconds that the handler of a packet with more than 64 bytes sleeps.
    #[arg(long, default_value_t = 0)]
    block_ms: u64,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Place {
    Worker,
    Pool,
}

#[derive(Clone, Copy)]
struct Echo {
    rounds: u32,
    block: Duration,
}

impl Echo {
    /// What there is to do before the answer, wherever that is.
    fn work(self, packet: Packet<'_>) {
        // Each round needs the one before it. The same work for both, however fast the processor is at the time.
        let computed = (0..self.rounds).fold(black_box(1_u64), |value, _| {
            let value = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            value ^ (value >> 29)
        });
        black_box(computed);
        if packet.body().len() > BODY_BYTES_AT_ONCE && !self.block.is_zero() {
            std::thread::sleep(self.block);
        }
    }
}

impl Session for Echo {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        self.work(packet);
        cx.send(packet.id(), packet.body());
    }
}

impl PooledSession for Echo {
    fn on_packet(&mut self, cx: &mut PooledContext<'_>, packet: Packet<'_>) {
        self.work(packet);
        cx.send(packet.id(), packet.body());
    }
}

fn main() -> pogu::Result<()> {
    let Arguments { place, rounds, block_ms } = Arguments::parse();
    let echo = Echo { rounds, block: Duration::from_millis(block_ms) };
    let core = Core::builder().workers(1).start()?;
    let service = Service::server("127.0.0.1:0");
    let service = match place {
        Place::Worker => core.serve(service, move |_incoming| echo)?,
        Place::Pool => core.serve(service, core.jobs().pooled("echo", move |_incoming| echo))?,
    };
    println!("echo on {}, driver {}", service.address(), core.driver());
    core.run_until_interrupted()
}
