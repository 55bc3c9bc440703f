//! Rooms: acknowledged joins miss nothing, all members see one order, whatever worker they live in.

mod support;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use pogu::{
    ByteOrder, CauseKind, Context, DriverChoice, FrameFormat, IdField, JoinOutcome, Packet, Room, SendOverflow,
    Service, Session, SizeField,
};
use rustc_hash::FxBuildHasher;
use support::simulated::{SERVER, World};
use support::{ECHO, Event, JOIN, LEAVE, Peer, SAY, core, eventually, next_end, probes};

on_every_driver!(
    a_broadcast_reaches_every_member_the_sender_included,
    all_members_see_one_order_across_workers,
    an_acknowledged_join_misses_nothing_later,
    after_a_leave_nothing_arrives,
    a_second_join_is_a_new_membership,
    a_session_that_ends_leaves_its_rooms,
    a_slow_member_is_cut_off_and_its_neighbours_do_not_notice,
    members_with_different_frame_formats_share_a_room,
    rooms_do_not_mix,
);

fn serve(driver: DriverChoice, workers: usize) -> (pogu::Core, pogu::ServiceHandle, Receiver<Event>) {
    let core = core(driver, workers).start().expect("a core");
    let (factory, reports) = probes();
    let service = Service::server("127.0.0.1:0").send_queue(200_000, SendOverflow::Disconnect);
    let handle = core.serve(service, factory).expect("a service");
    (core, handle, reports)
}

fn members(service: &pogu::ServiceHandle, count: usize, room: u32) -> Vec<Peer> {
    let mut peers: Vec<Peer> = (0..count).map(|_| Peer::connect(service.address())).collect();
    peers.iter_mut().for_each(|peer| peer.join(room));
    peers
}

fn a_broadcast_reaches_every_member_the_sender_included(driver: DriverChoice) {
    let (_core, service, _reports) = serve(driver, 3);
    let mut peers = members(&service, 7, 42);
    peers[3].say(42, b"hello");
    for peer in &mut peers {
        assert_eq!(peer.receive(), (SAY, b"hello".to_vec()));
    }
}

fn all_members_see_one_order_across_workers(driver: DriverChoice) {
    const SPEAKERS: u32 = 6;
    const SAYINGS: u32 = 200;
    let (_core, service, _reports) = serve(driver, 4);
    let peers = members(&service, SPEAKERS as usize, 1);
    let threads: Vec<_> = peers
        .into_iter()
        .enumerate()
        .map(|(speaker, mut peer)| {
            std::thread::spawn(move || {
                let mut heard = Vec::new();
                for number in 0..SAYINGS {
                    peer.say(1, &[(speaker as u32).to_le_bytes(), number.to_le_bytes()].concat());
                    heard.push(peer.receive());
                }
                heard.extend((heard.len()..(SPEAKERS * SAYINGS) as usize).map(|_| peer.receive()));
                // The peer lives until everybody is through: an early leaver would not matter, a broken pipe would.
                (heard, peer)
            })
        })
        .collect();
    let ended: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("a member")).collect();
    let first = &ended[0].0;
    assert_eq!(first.len(), (SPEAKERS * SAYINGS) as usize);
    assert!(ended.iter().all(|(heard, _)| heard == first), "every member saw the same order");
    let mut next: HashMap<Vec<u8>, u32> = HashMap::new();
    for (_, body) in first {
        let expected = next.entry(body[..4].to_vec()).or_default();
        assert_eq!(body[4..], expected.to_le_bytes(), "each speaker's order is kept");
        *expected += 1;
    }
}

fn an_acknowledged_join_misses_nothing_later(driver: DriverChoice) {
    let (_core, service, _reports) = serve(driver, 4);
    let mut speaker = Peer::connect(service.address());
    speaker.join(9);
    for round in 0u32..100 {
        let mut newcomer = Peer::connect(service.address());
        newcomer.join(9);
        speaker.say(9, &round.to_le_bytes());
        assert_eq!(newcomer.receive(), (SAY, round.to_le_bytes().to_vec()), "the first saying after the join");
        assert_eq!(speaker.receive(), (SAY, round.to_le_bytes().to_vec()));
    }
}

fn after_a_leave_nothing_arrives(driver: DriverChoice) {
    let (_core, service, _reports) = serve(driver, 2);
    let mut peers = members(&service, 4, 5);
    peers[1].number(LEAVE, 5);
    peers[1].send(ECHO, b"left");
    assert_eq!(peers[1].receive(), (ECHO, b"left".to_vec()));
    peers[0].say(5, b"without you");
    for index in [0, 2, 3] {
        assert_eq!(peers[index].receive(), (SAY, b"without you".to_vec()));
    }
    peers[1].send(ECHO, b"nothing before this");
    assert_eq!(peers[1].receive(), (ECHO, b"nothing before this".to_vec()));
}

fn a_second_join_is_a_new_membership(driver: DriverChoice) {
    let (_core, service, _reports) = serve(driver, 3);
    let mut peers = members(&service, 3, 8);
    for round in 0u32..50 {
        peers[2].number(LEAVE, 8);
        peers[2].join(8);
        peers[0].say(8, &round.to_le_bytes());
        for peer in &mut peers {
            assert_eq!(peer.receive(), (SAY, round.to_le_bytes().to_vec()), "exactly once");
        }
    }
}

fn a_session_that_ends_leaves_its_rooms(driver: DriverChoice) {
    let (_core, service, reports) = serve(driver, 3);
    let mut peers = members(&service, 5, 3);
    drop(peers.remove(2));
    assert_eq!(next_end(&reports), CauseKind::PeerClosed);
    for round in 0u32..20 {
        peers[0].say(3, &round.to_le_bytes());
        for peer in &mut peers {
            assert_eq!(peer.receive(), (SAY, round.to_le_bytes().to_vec()));
        }
    }
    eventually("it is counted what the probe itself sent when it was too late", || {
        service.counters().frames_to_gone == 1
    });
}

fn a_slow_member_is_cut_off_and_its_neighbours_do_not_notice(driver: DriverChoice) {
    let (_core, service, reports) = serve(driver, 2);
    let mut peers = members(&service, 3, 6);
    let deaf = peers.remove(1);
    let text = vec![b'x'; 4000];
    let mut said = 0;
    let cut_off = loop {
        peers[0].say(6, &text);
        said += 1;
        for peer in &mut peers {
            assert!(peer.receive() == (SAY, text.clone()), "the neighbours hear saying {said}");
        }
        if let Some(Event::Disconnected(cause)) =
            reports.try_iter().find(|event| matches!(event, Event::Disconnected(_)))
        {
            break cause;
        }
        assert!(said < 100_000, "the deaf member is never cut off");
    };
    assert_eq!(cut_off.kind(), CauseKind::SendBytes);
    drop(deaf);
    eventually("it is the only one that ended", || service.sessions() == 2);
}

fn members_with_different_frame_formats_share_a_room(driver: DriverChoice) {
    let core = core(driver, 2).start().expect("a core");
    let (factory, _reports) = probes();
    let course = core.serve(Service::server("127.0.0.1:0"), factory.clone()).expect("a service");
    let big = FrameFormat::course().size_field(SizeField::U32).byte_order(ByteOrder::Big).id_field(IdField::U16);
    let other = core.serve(Service::server("127.0.0.1:0").format(big), factory).expect("a service");
    let mut plain = Peer::connect(course.address());
    plain.join(4);
    let mut foreign = Peer::connect(other.address());
    use std::io::{Read, Write};
    foreign.stream.write_all(&[0, 0, 0, 10, 0, JOIN as u8, 0, 0, 0, 4]).expect("join");
    let mut joined = [0; 10];
    foreign.stream.read_exact(&mut joined).expect("joined");
    assert_eq!(joined, [0, 0, 0, 10, 0, JOIN as u8, 4, 0, 0, 0]);
    plain.say(4, b"all");
    assert_eq!(plain.receive(), (SAY, b"all".to_vec()));
    let mut heard = [0; 9];
    foreign.stream.read_exact(&mut heard).expect("heard");
    assert_eq!(heard, [0, 0, 0, 9, 0, SAY as u8, b'a', b'l', b'l']);
}

fn rooms_do_not_mix(driver: DriverChoice) {
    let (_core, service, _reports) = serve(driver, 3);
    let mut rooms: Vec<Vec<Peer>> = (0..10).map(|room| members(&service, 3, room)).collect();
    for (room, peers) in rooms.iter_mut().enumerate() {
        peers[0].say(room as u32, &[room as u8]);
    }
    for (room, peers) in rooms.iter_mut().enumerate() {
        for peer in peers {
            assert_eq!(peer.receive(), (SAY, vec![room as u8]));
            peer.send(ECHO, b"nothing else");
            assert_eq!(peer.receive(), (ECHO, b"nothing else".to_vec()));
        }
    }
}

/// Joins the rooms that a packet names.
struct Joiner;

impl Session for Joiner {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        for room in packet.body().chunks_exact(8) {
            let room = u64::from_le_bytes(room.try_into().expect("eight bytes"));
            assert_eq!(cx.join(Room(room)), JoinOutcome::Asked);
        }
    }
}

/// How long it takes to join these rooms, 64 of them each.
fn joining(rooms: &[u64]) -> Duration {
    let mut world = World::new();
    let core = world.core(1);
    let service = core.serve(Service::server(SERVER), |_| Joiner).expect("a service");
    let mut clients: Vec<_> = rooms.chunks(64).map(|_| world.connect(&service)).collect();
    let began = Instant::now();
    for (client, rooms) in clients.iter_mut().zip(rooms.chunks(64)) {
        client.send(JOIN, &rooms.iter().flat_map(|room| room.to_le_bytes()).collect::<Vec<u8>>());
        world.settle();
    }
    assert_eq!(service.counters().causes().count(), 0, "every one has joined");
    began.elapsed()
}

#[test]
fn rooms_that_peers_choose_take_no_longer_to_join_than_any_others() {
    const ROOMS: u64 = 32_000;
    // The inverse of what an FxHasher without a key multiplies with, and what it rotates by: these fall into one place of a
    // table, with one tag.
    const INVERSE: u64 = 0x7814_94a5_5daa_ed0d;
    let chosen: Vec<u64> = (0..ROOMS).map(|number| (number << 24).rotate_right(26).wrapping_mul(INVERSE)).collect();
    let hash = |room| FxBuildHasher.hash_one(room);
    assert!(chosen.iter().all(|room| hash(*room) & (u64::MAX >> 57 << 57 | 0xFF_FFFF) == 0), "they are well chosen");
    let consecutive: Vec<u64> = (0..ROOMS).collect();
    let least = |rooms: &[u64]| (0..3).map(|_| joining(rooms)).min().expect("three runs");
    let (chosen, consecutive) = (least(&chosen), least(&consecutive));
    assert!(chosen < 20 * consecutive, "{chosen:?} for chosen rooms, {consecutive:?} for consecutive ones");
}

/// Joins the room of all, and speaks in it.
struct Speaker;

impl Session for Speaker {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match packet.id() {
            JOIN => assert_eq!(cx.join(Room(1)), JoinOutcome::Asked),
            _ => assert_eq!(cx.broadcast(Room(1), SAY, b"all"), pogu::BroadcastOutcome::Posted),
        }
    }
}

#[test]
fn a_broadcast_is_one_post_for_each_worker() {
    const MEMBERS: usize = 300;
    let mut world = World::new();
    // Room for one message in each inbox, and one on its way.
    let mut port = pogu::PortConfig::default();
    port.posts_max = 1;
    let core = world.lockstep.start(pogu::Core::builder().workers(3).port(port)).expect("a core");
    let service = core.serve(Service::server(SERVER), |_| Speaker).expect("a service");
    let mut clients: Vec<_> = (0..MEMBERS).map(|_| world.connect(&service)).collect();
    for client in &mut clients {
        client.send(JOIN, b"");
        world.settle();
    }
    let refused = core.port_counters().refused_posts;
    for (index, speaker) in [0, 1, 2].into_iter().enumerate() {
        clients[speaker].send(SAY, b"");
        world.settle();
        assert_eq!(service.counters().frames_sent, (MEMBERS * (index + 1)) as u64);
    }
    assert!(clients.iter_mut().all(|client| client.frames() == [(); 3].map(|()| (SAY, b"all".to_vec()))));
    assert_eq!(core.counters().broadcasts_refused, 0);
    assert_eq!(core.port_counters().refused_posts, refused, "a second message would have found no room");
}
