//! Linux makes a larger table of descriptors when one is full, and holds up for some 20 ms whoever opens the one too many, with
//! all sessions of its worker. So the table is made large enough when a service starts. One test in a process of its own, whose
//! table nobody else fills.

mod support;

use std::fs;

use pogu::{Context, DriverChoice, Packet, Service, Session};
use support::{core, skipped};

struct Silent;

impl Session for Silent {
    fn on_packet(&mut self, _cx: &mut Context<'_>, _packet: Packet<'_>) {}
}

fn room() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("proc");
    let room = status.lines().find_map(|line| line.strip_prefix("FDSize:")).expect("a line of its own");
    room.trim().parse().expect("a number")
}

#[test]
fn services_have_room_for_their_descriptors_from_the_start() {
    if !cfg!(target_os = "linux") {
        return skipped(
            "services_have_room_for_their_descriptors_from_the_start: nothing tells the room there is here",
        );
    }
    let allowed = pogu::raise_descriptor_limit().expect("a limit");
    let core = core(DriverChoice::Readiness, 1).start().expect("a core");
    let mut services = Vec::new();
    for (sessions, wanted) in [(300, 300), (5_000, 5_300)] {
        let service = Service::server("127.0.0.1:0").max_sessions(sessions);
        services.push(core.serve(service, |_| Silent).expect("a service"));
        assert!(room() >= allowed.min(wanted), "{} of {wanted}", room());
    }
    assert!(room() < 100_000, "no more than what was asked for");
}
