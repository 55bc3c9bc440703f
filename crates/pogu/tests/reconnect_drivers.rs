//! Client services that come back, on the system's sockets and with the system's names. When and how often they try is in
//! `reconnect`.

mod support;

use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use pogu::{CauseKind, Context, Core, DriverChoice, Incoming, Packet, Reconnect, Service, ServiceHandle, Session};
use support::{ECHO, PATIENCE, core, eventually, probes};

on_every_driver!(two_hundred_links_find_their_server_again, a_core_stops_while_names_are_looked_up);

const LINKS: usize = 200;

/// Says a word and reports that it came back.
struct Link {
    incoming: Incoming,
    answered: Sender<u32>,
}

impl Session for Link {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        cx.send(ECHO, b"here again");
    }

    fn on_packet(&mut self, _cx: &mut Context<'_>, packet: Packet<'_>) {
        assert_eq!((packet.id(), packet.body()), (ECHO, &b"here again"[..]));
        let _ = self.answered.send(self.incoming.attempt);
    }
}

fn serve(driver: DriverChoice, address: SocketAddr) -> (Core, ServiceHandle) {
    let servers = core(driver, 2).start().expect("a core");
    let (factory, _reports) = probes();
    let service = servers.serve(Service::server(address), factory).expect("a service");
    (servers, service)
}

fn two_hundred_links_find_their_server_again(driver: DriverChoice) {
    // Bound and not listening: refuses, and nobody else can take the address meanwhile.
    let nobody = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    nobody.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    let address = nobody.local_addr().expect("bound").as_socket().expect("an address");
    let clients = core(driver, 2).start().expect("a core");
    let (answered, answers) = channel();
    // By name: its other addresses, if it has some, are refused first.
    let links = Service::client(format_args!("localhost:{}", address.port())).sessions(LINKS);
    let links = links.reconnect(Reconnect::spread_over(Duration::from_millis(300)));
    let links = clients
        .connect(links, move |incoming| Link { incoming, answered: answered.clone() })
        .expect("a client service");
    eventually("all have been refused", || links.counters().disconnects(CauseKind::ConnectFailed) >= LINKS as u64);
    drop(nobody);
    let (servers, _) = serve(driver, address);
    let all_answered = || (0..LINKS).map(|_| answers.recv_timeout(PATIENCE).expect("it is back")).min();
    assert!(all_answered() >= Some(1), "each had to try again");
    servers.stop(PATIENCE).expect("it stops");
    let (servers, service) = serve(driver, address);
    assert!(all_answered() >= Some(1), "a reconnect");
    assert_eq!((links.address(), links.sessions(), service.sessions()), (address, LINKS, LINKS));
    assert!(links.counters().reconnects >= 2 * LINKS as u64);
    let counters = clients.stop(PATIENCE).expect("it stops");
    assert_eq!((links.sessions(), counters.sessions_opened), (0, 2 * LINKS as u64));
    assert_eq!((counters.sessions_closed, counters.gave_up), (2 * LINKS as u64, 0));
    drop(servers);
}

fn a_core_stops_while_names_are_looked_up(driver: DriverChoice) {
    let core = core(driver, 2).start().expect("a core");
    let (factory, _reports) = probes();
    let service =
        Service::client("localhost:1").sessions(50).reconnect(Reconnect::spread_over(Duration::from_millis(1)));
    let client = core.connect(service, factory).expect("a client service");
    core.stop(PATIENCE).expect("it stops");
    assert_eq!(client.sessions(), 0);
}
