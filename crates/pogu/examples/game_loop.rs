//! The worker on the game's own thread: once per frame it is dispatched, and everything else of the frame is the game's.
//! `cargo run --example game_loop`, then `pogu swarm` in another terminal. Ctrl-C ends it in good order.

use std::time::Duration;

use pogu::{Context, Core, Interrupt, Packet, Service, Session, WorkerStatus};

/// Thirty frames a second.
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 30);

struct Player;

impl Session for Player {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        cx.send(packet.id(), packet.body());
    }
}

fn main() -> pogu::Result<()> {
    let interrupt = Interrupt::install()?;
    let (core, seeds) = Core::builder().workers(1).hand_out()?;
    let service = core.serve(Service::server("127.0.0.1:7777"), |_incoming| Player)?;
    println!("frames on {}, driver {} ({})", service.address(), core.driver(), core.driver_reason());
    let [seed] = <[_; 1]>::try_from(seeds).expect("one worker was asked for");
    let mut worker = seed.start()?;
    let mut next_frame = core.now();
    let mut patience = Duration::from_secs(5);
    // Handlers run in here, at the beginning of the frame; what they send leaves before it returns.
    while worker.dispatch(Some(Duration::ZERO))? == WorkerStatus::Running {
        // ... the game moves its world on by one step ...
        // A frame that was late is not made up for: the next one is due a whole frame later.
        next_frame = (next_frame + FRAME).max(core.now());
        if interrupt.wait_timeout(next_frame.since(core.now())) {
            // The loop goes on: sessions end in the frames that follow. A second Ctrl-C cuts that short.
            core.begin_stop(std::mem::take(&mut patience));
        }
    }
    println!("{} sessions served", core.counters().sessions_closed);
    Ok(())
}
