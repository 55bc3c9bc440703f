//! Every packet comes back. `cargo run --example echo`, then `pogu swarm` in another terminal.

use pogu::{Context, Core, Packet, Service, Session};

struct Echo;

impl Session for Echo {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        cx.send(packet.id(), packet.body());
    }
}

fn main() -> pogu::Result<()> {
    let core = Core::start()?;
    let service = core.serve(Service::server("127.0.0.1:7777"), |_incoming| Echo)?;
    println!("echo on {}, driver {} ({})", service.address(), core.driver(), core.driver_reason());
    core.run_until_interrupted()
}
