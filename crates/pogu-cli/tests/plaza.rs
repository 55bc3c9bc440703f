//! The plaza of `pogu serve`, frame by frame, under virtual time.

mod support;

use std::time::Duration;

use pogu::sim::{FaultClass, SimulationOptions};
use pogu_cli::command_line::{Command, Parsed, parse};
use pogu_cli::plaza::{MAP_SIDE, STEP_MAX, UNANSWERED_MAX};
use pogu_cli::protocol::{APPEARED, CHAT, ENTER, ENTERED, EXIT, EXITED, SAID, VANISHED, WALK, WALKED};
use pogu_cli::serve::{Options, ServiceOptions};
use support::simulated::{Client, Flow, World, at};
use support::{ECHO, frame};

/// A plaza on which nothing waits for company, on two workers.
fn prompt_plaza() -> World {
    World::serve(&["--room-window", "0"])
}

fn place(x: i32, y: i32) -> Vec<u8> {
    [x.to_le_bytes(), y.to_le_bytes()].concat()
}

/// What the server says of an entity in an action.
fn of(order: u64, entity: u32, more: &[u8]) -> Vec<u8> {
    [&order.to_le_bytes()[..], &entity.to_le_bytes(), more].concat()
}

/// A client does something, and everything comes of it that comes at once.
fn act(world: &mut World, client: &mut Client, id: u16, body: &[u8]) {
    client.send(id, body);
    world.settle();
}

/// One that has entered, alone, as this entity by the action of the same number.
fn entered(world: &mut World, x: i32, y: i32, number: u32) -> Client {
    let mut client = world.connect();
    act(world, &mut client, ENTER, &place(x, y));
    client.expect(ENTERED, &of(u64::from(number), number, &place(x, y)));
    client
}

#[test]
fn players_see_who_is_near_and_nobody_else() {
    let mut world = prompt_plaza();
    let mut anna = entered(&mut world, 1000, 1000, 1);
    let mut bela = entered(&mut world, 2000, 1000, 2);
    bela.expect(APPEARED, &of(2, 1, &place(1000, 1000)));
    anna.expect(APPEARED, &of(2, 2, &place(2000, 1000)));
    let mut cyra = entered(&mut world, 100_000, 100_000, 3);

    act(&mut world, &mut bela, WALK, &place(3000, 1100));
    bela.expect(WALKED, &of(4, 2, &place(3000, 1100)));
    anna.expect(WALKED, &of(4, 2, &place(3000, 1100)));

    act(&mut world, &mut bela, WALK, &place(5000, 1100));
    bela.expect(WALKED, &of(5, 2, &place(5000, 1100)));
    bela.expect(VANISHED, &of(5, 1, b""));
    anna.expect(VANISHED, &of(5, 2, b""));

    // A cell is kept up to the hysteresis: 30 m is still that of 32 m to 48 m, which does not see the first one.
    for (order, x) in [(6, 3399), (7, 3000)] {
        act(&mut world, &mut bela, WALK, &place(x, 1100));
        bela.expect(WALKED, &of(order, 2, &place(x, 1100)));
    }
    anna.expect_nothing_more();
    act(&mut world, &mut bela, WALK, &place(2999, 1100));
    bela.expect(WALKED, &of(8, 2, &place(2999, 1100)));
    bela.expect(APPEARED, &of(8, 1, &place(1000, 1000)));
    anna.expect(APPEARED, &of(8, 2, &place(2999, 1100)));

    act(&mut world, &mut anna, CHAT, "안녕".as_bytes());
    [&mut anna, &mut bela].into_iter().for_each(|client| client.expect(SAID, &of(9, 1, "안녕".as_bytes())));

    act(&mut world, &mut anna, EXIT, b"");
    anna.expect(EXITED, &of(10, 1, b""));
    bela.expect(VANISHED, &of(10, 1, b""));
    act(&mut world, &mut anna, ENTER, &place(0, 0));
    anna.expect(ENTERED, &of(11, 4, &place(0, 0)));
    anna.expect(APPEARED, &of(11, 2, &place(2999, 1100)));
    bela.expect(APPEARED, &of(11, 4, &place(0, 0)));

    // One that ends leaves the plaza, too.
    drop(bela);
    world.settle();
    anna.expect(VANISHED, &of(12, 2, b""));
    [&mut anna, &mut cyra].into_iter().for_each(Client::expect_nothing_more);
}

#[test]
fn those_who_come_into_view_are_told_of_in_the_order_of_their_entities() {
    let mut world = prompt_plaza();
    let (mut others, mut places) = (Vec::new(), Vec::new());
    // Each is far from the others, but the last one's nine cells have all of them.
    for (number, (x, y)) in (1..).zip([(4799, 4799), (0, 4799), (4799, 0), (0, 0)]) {
        others.push(entered(&mut world, x, y, number));
        places.push(place(x, y));
    }
    let mut last = entered(&mut world, 2000, 2000, 5);
    for (entity, place) in (1..).zip(&places) {
        last.expect(APPEARED, &of(5, entity, place));
    }
    act(&mut world, &mut last, WALK, &place(6000, 6000));
    last.expect(WALKED, &of(6, 5, &place(6000, 6000)));
    // The first one is still beside it.
    (2..=4).for_each(|entity| last.expect(VANISHED, &of(6, entity, b"")));
    others[0].expect(APPEARED, &of(5, 5, &place(2000, 2000)));
    others[0].expect(WALKED, &of(6, 5, &place(6000, 6000)));
    for other in &mut others[1..] {
        other.expect(APPEARED, &of(5, 5, &place(2000, 2000)));
        other.expect(VANISHED, &of(6, 5, b""));
    }
    last.expect_nothing_more();
    others.iter_mut().for_each(Client::expect_nothing_more);
}

#[test]
fn steps_within_a_window_leave_together_and_older_ones_give_way() {
    let mut world = World::serve(&[]);
    let (mut anna, mut bela) = (world.connect(), world.connect());
    act(&mut world, &mut anna, ENTER, &place(1000, 1000));
    act(&mut world, &mut bela, ENTER, &place(1000, 1000));
    world.run_to(at(100));
    anna.expect(ENTERED, &of(1, 1, &place(1000, 1000)));
    bela.expect(ENTERED, &of(2, 2, &place(1000, 1000)));
    bela.expect(APPEARED, &of(2, 1, &place(1000, 1000)));
    anna.expect(APPEARED, &of(2, 2, &place(1000, 1000)));
    act(&mut world, &mut bela, WALK, &place(1100, 1000));
    // Nothing was said for a window: at once.
    anna.expect(WALKED, &of(3, 2, &place(1100, 1000)));
    for step in 1..=3 {
        act(&mut world, &mut bela, WALK, &place(1100 + 100 * step, 1000));
    }
    act(&mut world, &mut bela, CHAT, b"here");
    act(&mut world, &mut bela, WALK, &place(1500, 1000));
    world.run_to_just_before(at(110));
    anna.expect_nothing_more();
    world.run_to(at(110));
    // Of what has not left only the newest of an entity, and it overtakes nothing.
    anna.expect(SAID, &of(7, 2, b"here"));
    anna.expect(WALKED, &of(8, 2, &place(1500, 1000)));
    anna.expect_nothing_more();
    // The walker itself has an answer to each.
    for (order, x) in [(3, 1100), (4, 1200), (5, 1300), (6, 1400)] {
        bela.expect(WALKED, &of(order, 2, &place(x, 1000)));
    }
    bela.expect(SAID, &of(7, 2, b"here"));
    bela.expect(WALKED, &of(8, 2, &place(1500, 1000)));
    bela.expect_nothing_more();
}

#[test]
fn a_slow_reader_gets_the_present_instead_of_a_backlog() {
    let mut world = prompt_plaza();
    let mut deaf = entered(&mut world, 1000, 1000, 1);
    let filler = vec![7; 60_000];
    // More than the connection takes: what comes behind waits.
    (0..3).for_each(|_| act(&mut world, &mut deaf, ECHO, &filler));
    let mut walker = entered(&mut world, 1000, 1000, 2);
    walker.expect(APPEARED, &of(2, 1, &place(1000, 1000)));
    for step in 1..=10_000 {
        act(&mut world, &mut walker, WALK, &place(1000 + step % 100, 1000));
        walker.expect(WALKED, &of(2 + step as u64, 2, &place(1000 + step % 100, 1000)));
    }
    for _ in 0..3 {
        deaf.flow();
        world.settle();
        deaf.expect(ECHO, &filler);
    }
    world.settle();
    deaf.expect(APPEARED, &of(2, 2, &place(1000, 1000)));
    deaf.expect(WALKED, &of(10_002, 2, &place(1000, 1000)));
    deaf.expect_nothing_more();
    assert_eq!(deaf.flow(), Flow::Open);
}

#[test]
fn what_must_not_come_ends_the_session_and_nothing_else() {
    let far = MAP_SIDE - 1;
    let violations: [(&[u8], &[u8]); 14] = [
        (b"", &frame(WALK, &place(0, 0))),
        (b"", &frame(CHAT, b"hello?")),
        (b"", &frame(EXIT, b"")),
        (b"", &frame(ENTER, &place(-1, 0))),
        (b"", &frame(ENTER, &place(0, MAP_SIDE))),
        (b"", &frame(ENTER, &place(i32::MIN, i32::MAX))),
        (b"", &frame(ENTER, b"7 bytes")),
        (b"", &frame(14, b"")),
        (&frame(ENTER, &place(far, far)), &frame(ENTER, &place(far, far))),
        (&frame(ENTER, &place(far, far)), &frame(WALK, &place(far - STEP_MAX - 1, far))),
        (&frame(ENTER, &place(far, far)), &frame(WALK, &place(far, far + 1))),
        (&frame(ENTER, &place(far, far)), &frame(CHAT, &[b'a'; 201])),
        (&frame(ENTER, &place(far, far)), &frame(CHAT, &[0xff])),
        (&frame(ENTER, &place(far, far)), &frame(EXIT, b"now")),
    ];
    let mut world = prompt_plaza();
    // Stands where they enter, and sees each of them come and go.
    let mut witness = entered(&mut world, far, far, 1);
    let (mut order, mut entity) = (1, 1);
    for (before, violation) in &violations {
        let mut client = world.connect();
        client.raw(before);
        world.settle();
        if !before.is_empty() {
            (order, entity) = (order + 1, entity + 1);
            client.expect(ENTERED, &of(order, entity, &place(far, far)));
            client.expect(APPEARED, &of(order, 1, &place(far, far)));
            witness.expect(APPEARED, &of(order, entity, &place(far, far)));
        }
        client.raw(violation);
        world.settle();
        assert_eq!(client.flow(), Flow::Finished, "{violation:?}");
        client.expect_nothing_more();
        drop(client);
        world.settle();
        if !before.is_empty() {
            order += 1;
            witness.expect(VANISHED, &of(order, entity, b""));
        }
    }
    witness.expect_nothing_more();
    assert_eq!(witness.flow(), Flow::Open);
    let summary = world.summary();
    assert!(summary.contains("14 peer misbehaved"), "{summary}");
}

#[test]
fn one_that_does_not_wait_for_answers_is_held_back_and_gets_all_of_them() {
    let mut world = prompt_plaza();
    let mut client = world.connect();
    // What a client has asked for during an outage of its network comes at once.
    let steps: u64 = 40 * UNANSWERED_MAX as u64;
    client.raw(&[frame(ENTER, &place(0, 0)), frame(WALK, &place(0, 0)).repeat(steps as usize)].concat());
    world.settle();
    client.expect(ENTERED, &of(1, 1, &place(0, 0)));
    (2..2 + steps).for_each(|order| client.expect(WALKED, &of(order, 1, &place(0, 0))));
    act(&mut world, &mut client, EXIT, b"");
    client.expect(EXITED, &of(2 + steps, 1, b""));
    assert_eq!(client.flow(), Flow::Open);
}

#[test]
fn no_more_actions_than_allowed_wait_for_their_answer() {
    let mut pauses = 0;
    for seed in 0..40 {
        let mut options = options();
        // Room for the actions of one session, as many as may be unanswered; for one more it is ended.
        options.core.port.posts_max = UNANSWERED_MAX;
        let mut simulation = SimulationOptions::default();
        simulation.seed = seed;
        // A worker stands still now and then: the session's goes on while the world's does not.
        simulation.faults.pauses = 300;
        simulation.faults.pauses_max = Duration::from_millis(20);
        let mut world = World::in_simulation(&simulation, &options);
        // One on each worker, far from each other.
        let mut clients = [0, 100_000].map(|there| (world.connect(), place(there, there)));
        let steps = 1_000;
        for (client, there) in &mut clients {
            client.raw(&[frame(ENTER, there), frame(WALK, there).repeat(steps)].concat());
        }
        world.run_to(at(60_000));
        let came = clients.map(|(mut client, _)| client.take_what_came().len());
        assert_eq!(came, [1 + steps; 2], "seed {seed}");
        pauses += world.faults_met().of(FaultClass::Pause);
    }
    assert!(pauses > 500, "{pauses} pauses");
}

#[test]
fn actions_behind_each_other_need_no_answer_in_between() {
    let mut world = prompt_plaza();
    let mut client = world.connect();
    let rounds: u32 = 10;
    let round = [frame(ENTER, &place(5, 5)), frame(CHAT, b"in a hurry"), frame(EXIT, b"")].concat();
    client.raw(&round.repeat(rounds as usize));
    world.settle();
    for round in 0..rounds {
        let (order, entity) = (3 * u64::from(round), round + 1);
        client.expect(ENTERED, &of(order + 1, entity, &place(5, 5)));
        client.expect(SAID, &of(order + 2, entity, b"in a hurry"));
        client.expect(EXITED, &of(order + 3, entity, b""));
    }
    client.expect_nothing_more();
}

fn options() -> Options {
    let arguments = ["pogu", "serve", "--workers", "2", "--room-window", "0"].map(std::ffi::OsString::from);
    let Ok(Parsed::Run(Command::Serve(arguments))) = parse(arguments) else { panic!("these are flags of serve") };
    arguments.options().expect("these flags mean something")
}

#[test]
fn each_service_has_a_plaza_of_its_own() {
    let mut options = options();
    let other =
        ServiceOptions { name: "other".to_owned(), listen: "127.0.0.1:7778".to_owned(), ..options.services[0].clone() };
    options.services.push(other);
    let mut world = World::of(&options);
    for service in [0, 1] {
        let mut client = world.connect_to(service);
        act(&mut world, &mut client, ENTER, &place(1, 1));
        client.expect(ENTERED, &of(1, 1, &place(1, 1)));
        client.expect_nothing_more();
    }
}

#[test]
fn a_service_whose_frames_are_too_small_has_none() {
    for (frame_bytes_max, flow) in [(216, Flow::Open), (215, Flow::Finished)] {
        let mut options = options();
        options.services[0].frame_bytes_max = frame_bytes_max;
        let mut world = World::of(&options);
        let mut client = world.connect();
        world.echo(&mut client, b"echo is there");
        act(&mut world, &mut client, ENTER, &place(1, 1));
        assert_eq!(client.flow(), flow);
    }
}

#[test]
fn who_missed_something_because_messages_piled_up_is_ended() {
    let mut options = options();
    options.core.workers = Some(1);
    let posts_max = 8;
    options.core.port.posts_max = posts_max;
    let mut world = World::of(&options);
    let mut enter = || {
        let mut client = world.connect();
        act(&mut world, &mut client, ENTER, &place(5, 5));
        client
    };
    let mut witness = enter();
    let mut walkers: Vec<Client> = (0..posts_max).map(|_| enter()).collect();
    // As many actions as the worker's own outbox takes, all in one turn: of what comes of them not all finds room.
    walkers.iter_mut().for_each(|walker| walker.send(WALK, &place(6, 6)));
    world.run_to(at(1_000));
    let ended = walkers.iter_mut().filter_map(|walker| (walker.flow() == Flow::Finished).then_some(())).count();
    assert!(ended > 0, "there was room for all: this test sees nothing");
    assert_eq!(witness.flow(), Flow::Open);
    drop(walkers);
    let summary = world.summary();
    assert!(summary.contains(&format!("{ended} kicked")), "{summary}");
    // It has heard of all who came and of all who are gone, and so has whoever comes now.
    let came = witness.take_what_came();
    let count = |wanted: u16| came.iter().filter(|(id, _)| *id == wanted).count();
    assert_eq!([APPEARED, WALKED, VANISHED].map(count), [posts_max; 3]);
    act(&mut world, &mut witness, CHAT, b"still here");
    assert_eq!(witness.take_what_came().len(), 1);
}

#[test]
fn who_missed_nothing_stays_although_messages_to_another_worker_piled_up() {
    const WALKERS: usize = 8;
    let mut options = options();
    options.core.workers = Some(2);
    options.core.port.posts_max = WALKERS;
    let mut world = World::of(&options);
    // By turns on the worker that is the plaza's home, and on the other.
    let mut walkers: Vec<Client> = Vec::new();
    let mut others: Vec<Client> = Vec::new();
    for _ in 0..=WALKERS {
        walkers.push(world.connect());
        others.push(world.connect());
    }
    let [mut here, mut there] = [walkers.remove(0), others.remove(0)];
    walkers.iter_mut().for_each(|walker| act(&mut world, walker, ENTER, &place(800, 800)));
    [&mut here, &mut there].into_iter().for_each(|witness| act(&mut world, witness, ENTER, &place(4_000, 800)));
    there.take_what_came();
    // Those who walk hear of each step first; for the news to whom they come into sight of no room is left at home.
    walkers.iter_mut().for_each(|walker| walker.send(WALK, &place(2_400, 800)));
    world.run_to(at(1_000));
    assert_eq!(here.flow(), Flow::Finished, "there was room for all: this test sees nothing");
    assert_eq!(there.flow(), Flow::Open);
    let appeared = there.take_what_came().iter().filter(|(id, _)| *id == APPEARED).count();
    assert_eq!(appeared, WALKERS);
}

#[test]
fn one_that_asks_for_more_than_there_is_room_for_is_ended() {
    let mut options = options();
    options.core.workers = Some(1);
    options.core.port.posts_max = 8;
    let mut world = World::of(&options);
    let mut client = world.connect();
    client.raw(&[frame(ENTER, &place(5, 5)), frame(WALK, &place(5, 5)).repeat(20)].concat());
    world.settle();
    assert_eq!(client.flow(), Flow::Finished);
    drop(client);
    assert!(world.summary().contains("1 worker inbox"), "{}", world.summary());
}

/// Numbers that look random and are the same each time (Knuth's MMIX).
fn next(random: &mut u64) -> usize {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*random >> 33) as usize
}

#[test]
fn whatever_peers_send_the_world_goes_on() {
    let mut world = prompt_plaza();
    let mut witness = entered(&mut world, 5, 5, 1);
    let random = &mut 7;
    for _ in 0..300 {
        let mut hostile = world.connect();
        let mut burst = frame(ENTER, &place(next(random) as i32 % 3_000, 5));
        for _ in 0..next(random) % 70 {
            let id = 9 + next(random) as u16 % 6;
            let near = place(next(random) as i32 % 3_000, next(random) as i32 % 3_000);
            let body: Vec<u8> = match next(random) % 20 {
                0 => (0..next(random) % 300).map(|_| next(random) as u8).collect(),
                _ if id == CHAT => b"text".to_vec(),
                _ if id == EXIT => Vec::new(),
                _ => near,
            };
            burst.extend(frame(id, &body));
        }
        hostile.raw(&burst);
        world.settle();
    }
    assert_eq!(world.server.counters().room_panics, 0);
    // What it heard of them is not looked at here, but it hears all of it, and in the end itself.
    let mut came = Vec::new();
    loop {
        let before = came.len();
        assert!(!witness.peer.read_available(&mut came).expect("it is not ended"), "it is not ended");
        world.settle();
        if came.len() == before {
            break;
        }
    }
    assert!(came.len() > 10_000, "{} bytes", came.len());
    witness.send(CHAT, b"still here");
    world.settle();
    witness.peer.read_available(&mut came).expect("it is not ended");
    assert!(came.ends_with(b"still here"));
}
