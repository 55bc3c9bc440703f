//! What peers can make a server write is bounded: a few lines a second of each kind and worker, and how many more there were.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use pogu::{CauseKind, Counters, Refusal, Service};
use support::log::Lines;
use support::simulated::{Client, SERVER, World};
use support::{PANIC, probes};

const CLIENTS: u64 = 10_000;
const WORKERS: u64 = 2;

/// Lines of one kind that one worker writes in a second, before it says how many more there were.
const LINES_MAX: u64 = 5;

/// 10,000 clients in one second of virtual time: one in ten is refused by the factory, one in ten of the
/// others makes its session panic, the rest sends what no honest client sends.
fn misbehave() -> Counters {
    let mut world = World::new();
    let core = world.core(WORKERS as usize);
    let (factory, _reports) = probes();
    let refuses = std::sync::atomic::AtomicU64::new(0);
    let make = move |incoming| match refuses.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 10 {
        0 => Err(Refusal::new("not today")),
        _ => Ok(factory(incoming)),
    };
    let service = core.serve(Service::server(SERVER), make).expect("a service");
    let begun = world.simulation.now();
    for batch in 0..CLIENTS / 100 {
        let peers = (0..100).map(|_| Client::new(world.simulation.connect(service.address()).expect("an address")));
        let mut clients: Vec<Client> = peers.collect();
        world.settle();
        for (index, client) in clients.iter_mut().enumerate() {
            // A refused one has been closed already, perhaps.
            let bytes = if index % 10 == 5 { support::frame(PANIC, b"") } else { vec![0, 0, 9, 9] };
            let _ = std::io::Write::write_all(&mut client.peer, &bytes);
        }
        world.settle();
        drop(clients);
        world.settle();
        assert_eq!(service.sessions(), 0, "batch {batch}");
    }
    assert!(world.simulation.now().since(begun) < Duration::from_secs(1));
    world.run_for(Duration::from_secs(2));
    let counters = core.counters();
    assert_eq!(counters.sessions_closed + counters.refused, CLIENTS);
    world.lockstep.stop(core, Duration::ZERO).expect("stopped")
}

#[test]
fn clients_that_misbehave_fill_no_log() {
    std::panic::set_hook(Box::new(|info| {
        let planted = info.payload().downcast_ref::<&str>().is_some_and(|text| text.starts_with("a planted panic"));
        if !planted {
            eprintln!("{info}");
        }
    }));
    let (counters, logged) = Lines::of(misbehave);
    let panicked = counters.disconnects(CauseKind::HandlerPanicked);
    assert!(panicked > CLIENTS / 20 && counters.refused == CLIENTS / 10);
    // Lines by their text: how many, and the sum of their field `suppressed`.
    let mut lines: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for line in logged {
        let (count, suppressed) = lines.entry(line.message).or_default();
        *count += 1;
        *suppressed += line.suppressed;
    }
    println!("{lines:#?}");
    let of = |text: &str| lines.get(text).copied().unwrap_or_default();
    let mut total = 0;
    for (text, expected) in [
        ("session ended", CLIENTS),
        ("a session panicked", panicked),
        ("the factory refused a connection", CLIENTS / 10),
    ] {
        let (written, _) = of(text);
        let (summaries, suppressed) = of(&format!("further lines like: {text}"));
        assert!((1..=LINES_MAX * WORKERS).contains(&written), "{text}: {written}");
        assert!((1..=WORKERS).contains(&summaries), "{text}: {summaries}");
        assert_eq!(written + suppressed, expected, "every one is told of, one by one or in a number: {text}");
        total += written + summaries;
    }
    assert_eq!(lines.values().map(|(count, _)| count).sum::<u64>(), total, "and there are no other lines");
}
