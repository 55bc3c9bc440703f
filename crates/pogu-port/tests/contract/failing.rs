//! What a system may answer, and what its ports make of it.

use crate::codes::Errno;
use pogu_port::{ConnectionId, Fault, FaultPoint, FaultStage, Operation, OsErrorClass, StreamOptions, SubmitError};

use crate::support::{Peer, Seen, Stage, Station, assert_same, echo, narrow, pattern};

fn inject(stage: &Stage, point: FaultPoint, stage_of: FaultStage, errno: Errno, times: u32) {
    stage.world().faults().inject(Fault::new(point, stage_of, errno.raw_os_error()).times(times));
}

/// A connection that receives, and its peer.
fn receiving(station: &mut Station) -> (ConnectionId, Peer) {
    let (connection, peer) = station.pair();
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    (connection, peer)
}

pub fn interrupted_calls_are_made_again_and_nobody_notices(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair();
    for point in [FaultPoint::Receive, FaultPoint::Send, FaultPoint::Wait] {
        inject(stage, point, FaultStage::Call, Errno::INTR, 3);
    }
    station.submit(|desk| desk.receive(connection)).expect("it is open");
    for round in 0..10u8 {
        peer.write(&[round; 1_000]);
        peer.want(1_000);
        let mut answer = Vec::new();
        station.wait_with("the echo", echo(connection), |_| peer.has_read());
        answer.extend(peer.take());
        assert_eq!(answer, [round; 1_000]);
        let sent = usize::from(round) + 1;
        station.wait("its end", |station| station.gathers.len() == sent);
    }
    assert_eq!(stage.world().faults().hits(), 9, "each call was interrupted as often as planned");
    assert_eq!(station.count(|seen| matches!(seen, Seen::ReceiveEnded(..) | Seen::Sent(_, _, Some(_)))), 0);
}

pub fn a_receive_that_fails_says_why_and_ends_nothing_else(stage: &Stage) {
    let mut station = stage.station();
    let (other, mut unharmed) = receiving(&mut station);
    station.settle();
    inject(stage, FaultPoint::Receive, FaultStage::Call, Errno::TIMEDOUT, 1);
    let (connection, mut peer) = station.pair();
    peer.write(b"never read");
    station.submit(|desk| {
        desk.receive(connection).expect("it is open");
    });
    let failed = |seen: &Seen| match seen {
        Seen::ReceiveEnded(of, Some(error)) => *of == connection && error.class() == OsErrorClass::Reset,
        _ => false,
    };
    station.wait("the failure", |station| station.count(failed) == 1);
    assert!(station.is_live(connection), "what follows is its owner's policy");
    station.submit(|desk| desk.close(connection)).expect("it is open");
    station.wait_closed(connection);
    unharmed.write(b"still here");
    station.wait("the other's bytes", |station| station.bytes_of(other) == b"still here");
}

pub fn a_send_that_fails_gives_back_what_has_not_left(stage: &Stage) {
    let mut station = stage.station();
    let (connection, _peer) = station.pair();
    inject(stage, FaultPoint::Send, FaultStage::Call, Errno::NOBUFS, 1);
    station.submit(|desk| desk.send(connection, b"kept for later"));
    station.wait("the failure", |station| !station.gathers.is_empty());
    let sent = |seen: &Seen| if let Seen::Sent(_, 14, error) = seen { *error } else { None };
    let error = station.seen.iter().find_map(sent).expect("nothing has left");
    assert_eq!((error.class(), error.operation()), (OsErrorClass::Exhausted, Operation::Send));
    assert!(station.is_live(connection), "what follows is its owner's policy");
    let rest = station.gathers.pop().expect("it came back");
    assert_eq!(rest.slices().collect::<Vec<_>>().concat(), b"kept for later");
}

pub fn a_connect_that_fails_says_why_and_the_next_succeeds(stage: &Stage) {
    let (mut server, mut client) = (stage.station(), stage.station());
    let (_, address) = server.listen();
    for point in [FaultStage::Call, FaultStage::Result] {
        inject(stage, FaultPoint::Connect, point, Errno::HOSTUNREACH, 1);
        let link = client.submit(|desk| desk.connect(address));
        client.wait_closed(link);
        let failed = |seen: &Seen| match seen {
            Seen::ConnectFailed(of, error) => *of == link && error.class() == OsErrorClass::Unreachable,
            _ => false,
        };
        assert_eq!(client.count(failed), 1, "{:?}", client.seen);
    }
    let link = client.submit(|desk| desk.connect(address));
    client.wait_seen(&Seen::Connected(link));
}

pub fn a_connect_without_a_socket_is_refused_at_once(stage: &Stage) {
    let mut station = stage.station();
    let (_, address) = station.listen();
    let open = station.port().operations().open();
    inject(stage, FaultPoint::OpenSocket, FaultStage::Call, Errno::MFILE, 1);
    let refused = station.submit(|desk| {
        desk.operations.connect(pogu_port::Owner(9), address, &StreamOptions::default()).expect_err("no socket")
    });
    let SubmitError::Os(error) = refused else { panic!("{refused}") };
    assert_eq!((error.class(), error.operation()), (OsErrorClass::Exhausted, Operation::OpenSocket));
    assert_eq!(station.port().operations().open(), open, "nothing was started");
}

pub fn an_option_that_is_refused_gives_the_stream_back(stage: &Stage) {
    let mut station = stage.station();
    let (stream, mut peer) = station.accepted();
    inject(stage, FaultPoint::SetOption, FaultStage::Call, Errno::INVAL, 1);
    let refused = station.submit(|desk| desk.adopt_with(stream, &narrow())).expect_err("an option is refused");
    let SubmitError::Os(error) = refused.error else { panic!("{}", refused.error) };
    assert_eq!(error.operation(), Operation::SetOption);
    let connection = station.submit(|desk| desk.adopt(refused.returned));
    station.submit(|desk| desk.send(connection, b"as good as before"));
    assert_eq!(peer.read_exactly(&mut station, 17), b"as good as before");
}

pub fn a_listener_survives_whatever_accept_answers(stage: &Stage) {
    // With more in flight, a fault would take some and the rest would go on accepting.
    let mut station = stage.station_with(|config| config.accepts_per_turn_max = 1);
    let (_, address) = station.listen();
    let faults = stage.world().faults();
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::CONNABORTED, Errno::INTR] {
        let hits = faults.hits();
        inject(stage, FaultPoint::Accept, FaultStage::Call, errno, u32::MAX);
        let clients = [(); 3].map(|()| stage.connect(address));
        station.wait("a fault", |_| faults.hits() > hits);
        assert!(station.streams.len() <= 1, "one accept may have been in flight: {errno}");
        // A shortage of descriptors that lasted longer would cost a client.
        faults.lift();
        station.wait("every client", |station| station.streams.len() == clients.len());
        station.streams.clear();
    }
    let pauses = station.count(|seen| *seen == Seen::AcceptPaused) as u64;
    assert_eq!(pauses, station.port().counters().accept_pauses, "each is reported when it begins");
}

pub fn a_queue_that_counts_as_full_loses_nothing(stage: &Stage) {
    let mut station = stage.station();
    let (connection, mut peer) = station.pair_with(&narrow());
    inject(stage, FaultPoint::Queue, FaultStage::Call, Errno::BUSY, 50);
    let (question, answer) = (pattern(200_000), pattern(300_000));
    peer.write(&question);
    station.submit(|desk| {
        desk.receive(connection).expect("it is open");
        desk.send(connection, &answer);
    });
    assert_same(&peer.read_exactly(&mut station, answer.len()), &answer);
    station.wait("the question", |station| station.count_from(connection) >= question.len());
    assert_same(&station.bytes_of(connection), &question);
}
