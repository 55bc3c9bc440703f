//! Where it runs, and that no wound is forgotten: 25, 26.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::mpsc::channel;

use pogu::{Context, DriverChoice, Packet, Service, Session};

use crate::support::{ECHO, PATIENCE, Peer, core};
use crate::{on_every_driver, still_served};

on_every_driver!(w25_both_address_families_on_both_drivers);

/// Tells where its peer comes from.
struct Located;

impl Session for Located {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match packet.body() {
            b"where?" => {
                let address = cx.peer_address().expect("an address").to_string();
                cx.send(ECHO, address.as_bytes());
            }
            body => drop(cx.send(ECHO, body)),
        }
    }
}

fn w25_both_address_families_on_both_drivers(driver: DriverChoice) {
    let core = core(driver, 2).start().expect("a core");
    for listens_on in ["127.0.0.1:0", "[::1]:0"] {
        let service = core.serve(Service::server(listens_on), |_| Located).expect("a service");
        let mut peer = Peer::connect(service.address());
        peer.send(ECHO, b"where?");
        let own = peer.stream.local_addr().expect("an address").to_string();
        assert_eq!(peer.receive(), (ECHO, own.into_bytes()));
        still_served(&mut peer);
        // And as a client of it.
        let (reached, told) = channel();
        let link = move |_| Greeting(reached.clone());
        let client = core.connect(Service::client(service.address()), link).expect("a client service");
        assert_eq!(told.recv_timeout(PATIENCE).expect("an answer"), b"hello");
        drop(client);
    }
}

struct Greeting(std::sync::mpsc::Sender<Vec<u8>>);

impl Session for Greeting {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        cx.send(ECHO, b"hello");
    }

    fn on_packet(&mut self, _cx: &mut Context<'_>, packet: Packet<'_>) {
        let _ = self.0.send(packet.body().to_vec());
    }
}

#[test]
fn w26_every_wound_has_a_test_or_a_reason() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wounds");
    let header = fs::read_to_string(folder.join("main.rs")).expect("readable");
    let in_folder = fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let texts: Vec<String> = in_folder
        .chain([folder.with_file_name("log_of_ends.rs")])
        .map(|path| fs::read_to_string(path).expect("readable"))
        .collect();
    let tested: BTreeSet<u32> = texts
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.trim_start().strip_prefix("fn w")?.get(..2)?.parse().ok())
        .collect();
    // The database is nobody's here; the header says so.
    let expected: BTreeSet<u32> = (1..=26).filter(|number| *number != 22).collect();
    assert_eq!(tested, expected);
    for number in 1..=26 {
        assert!(header.contains(&format!("//! | {number} | ")), "{number} is not in the table");
    }
}
