//! `pogu serve --config`: what a file says is what each service does, and what it should not say is named.

mod support;

use std::ffi::OsString;

use pogu_cli::command_line::{Command, Parsed, parse};
use pogu_cli::configuration::Configuration;
use pogu_cli::serve::{Options, Server};
use support::simulated::{Client, Flow, World, at};
use support::{ECHO, SAY};

/// A file that is gone at the end of its test.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, text: &str) -> File {
        let path = std::env::temp_dir().join(format!("pogu-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).expect("a file");
        File(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("plain letters")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn read(text: &str) -> Configuration {
    Configuration::parse("server.toml", text).unwrap_or_else(|failure| panic!("{failure}"))
}

fn sentence(text: &str) -> String {
    let failure = Configuration::parse("server.toml", text).expect_err(text).to_string();
    assert!(!failure.contains('\n'), "{failure}");
    failure
}

/// What `pogu serve` with these flags means.
fn with_flags(flags: &[&str]) -> Result<Configuration, String> {
    let arguments = ["pogu", "serve"].iter().chain(flags).map(OsString::from);
    let Ok(Parsed::Run(Command::Serve(arguments))) = parse(arguments) else { panic!("{flags:?} are flags of serve") };
    arguments.configuration().map_err(|failure| failure.to_string())
}

fn world(text: &str) -> World {
    World::of(&read(text).serve)
}

const BOTH: &str = r#"
[core]
workers = 2

[service.lobby]
listen = "127.0.0.1:7001"
idle_timeout = "2s"
sessions_max = 1
refuse_full_with = { id = 77, body = "full" }

[service.arena]
listen = "127.0.0.1:7002"
idle_timeout = "1m 30s"
frame_bytes_max = "1KiB"
first_frame_timeout = "500ms"
frame_timeout = "3s"
message_rate = { per_second = 1, burst = 2 }
rate_exceeded = "disconnect"
connections_per_address_max = 3
"#;
const LOBBY: usize = 0;
const ARENA: usize = 1;

fn ends_at(world: &mut World, client: &mut Client, milliseconds: u64) {
    world.run_to_just_before(at(milliseconds));
    assert_eq!(client.flow(), Flow::Open);
    world.run_to(at(milliseconds));
    assert_eq!(client.flow(), Flow::Finished);
}

#[test]
fn each_service_has_limits_of_its_own() {
    let mut world = world(BOTH);
    let (mut lobby, mut arena) = (world.connect_to(LOBBY), world.connect_to(ARENA));
    world.echo(&mut lobby, b"here");
    world.echo(&mut arena, b"here");
    ends_at(&mut world, &mut lobby, 2_000);
    ends_at(&mut world, &mut arena, 90_000);
    let [lobby, arena] = [LOBBY, ARENA].map(|service| world.server.services()[service].handle.counters());
    assert_eq!((lobby.sessions_opened, arena.sessions_opened), (1, 1));
    assert_eq!(world.server.counters().sessions_opened, 2);
}

#[test]
fn deadlines_of_the_file_hold() {
    let mut world = world(BOTH);
    let mut silent = world.connect_to(ARENA);
    ends_at(&mut world, &mut silent, 500);
    let mut slow = world.connect_to(ARENA);
    world.echo(&mut slow, b"first");
    slow.raw(&[10, 0]);
    world.settle();
    ends_at(&mut world, &mut slow, 3_500);
}

#[test]
fn caps_and_rates_of_the_file_hold() {
    let mut world = world(BOTH);
    let first = world.connect_to(LOBBY);
    let mut refused = world.connect_to(LOBBY);
    refused.expect(77, b"full");
    assert_eq!(refused.flow(), Flow::Finished);
    drop(first);

    let mut clients: Vec<Client> = (0..3).map(|_| world.connect_to(ARENA)).collect();
    assert_eq!(world.connect_to(ARENA).flow(), Flow::Reset, "a fourth from one address");
    clients[0].send(ECHO, &[0; 1021]);
    world.settle();
    assert_eq!(clients[0].flow(), Flow::Finished, "a frame of 1025 bytes");
    (0..9).for_each(|_| clients[1].send(ECHO, b"quick"));
    world.settle();
    clients[1].expect(ECHO, b"quick");
    assert_eq!(clients[1].flow(), Flow::Finished, "nine messages at once");
    world.echo(&mut clients[2], &[0; 1020]);
}

#[test]
fn heartbeats_of_the_file_are_sent_and_waited_for() {
    let heartbeat = r#"
        [service.game]
        listen = "127.0.0.1:7001"
        answer_heartbeats = { ping_id = 910, pong_id = 911 }
        [service.game.heartbeat]
        interval = "5s"
        ping_id = 900
        body = [255, 1]
        pong_id = 901
        pong_timeout = "2s"
    "#;
    let mut world = world(heartbeat);
    let mut client = world.connect();
    client.send(910, b"mine");
    world.settle();
    client.expect(911, b"mine");
    world.run_to(at(5_000));
    client.expect(900, &[255, 1]);
    client.send(901, &[255, 1]);
    world.settle();
    world.run_to(at(10_000));
    client.expect(900, &[255, 1]);
    world.run_to_just_before(at(12_000));
    assert_eq!(client.flow(), Flow::Open);
    world.run_to(at(12_000));
    assert_eq!(client.flow(), Flow::Reset, "nobody is there to take part in an orderly end");
    assert!(world.summary().contains("heartbeat"), "{}", world.summary());
}

#[test]
fn the_longest_times_and_the_largest_numbers_are_no_accident() {
    let longest = humantime::format_duration(std::time::Duration::MAX).to_string();
    let mut text = "[core]\nworkers = 1\n[service.game]\nlisten = \"127.0.0.1:7001\"\n".to_owned();
    for key in ["send_age_max", "first_frame_timeout", "frame_timeout", "idle_timeout", "linger_timeout"] {
        text.push_str(&format!("{key} = \"{longest}\"\n"));
    }
    for key in ["sessions_max", "send_bytes_max", "lingering_refusals_max", "connects_in_flight_max"] {
        text.push_str(&format!("{key} = {}\n", u64::MAX));
    }
    for key in ["message_rate", "byte_rate", "connection_rate_per_address"] {
        text.push_str(&format!("{key} = {{ per_second = {0}, burst = {0} }}\n", u32::MAX));
    }
    let mut world = world(&text);
    let mut client = world.connect();
    world.echo(&mut client, b"here");
    world.run_to(at(1_000_000));
    world.echo(&mut client, b"still");
    client.raw(&[9]);
    world.run_to(at(1_000_000_000));
    assert_eq!(client.flow(), Flow::Open);
    client.raw(&[0, 9, 9]);
    world.settle();
}

#[test]
fn flags_win_over_the_file_and_the_file_over_the_defaults() {
    let file =
        File::new("flags", "[core]\nworkers = 3\ndriver = \"readiness\"\n[service.game]\nidle_timeout = \"7s\"\n");
    let said = with_flags(&["--config", file.path()]).expect("a file").to_string();
    for line in ["workers = 3", "driver = \"readiness\"", "idle_timeout = \"7s\"", "sessions_max = 10000"] {
        assert!(said.lines().any(|said| said == line), "{line}");
    }
    let flags = ["--workers", "4", "--idle-timeout", "0.5", "--listen", "[::1]:9", "--max-sessions", "6"];
    let more = [
        "--room-window",
        "3",
        "--latency-budget",
        "2",
        "--send-queue",
        "2048",
        "--driver",
        "uring",
        "--guarded",
        "--log",
        "debug",
        "--log-format",
        "json",
    ];
    let said = with_flags(&[&["--config", file.path()], &flags[..], &more[..]].concat()).expect("a file").to_string();
    for line in [
        "workers = 4",
        "driver = \"uring\"",
        "guarded = true",
        "idle_timeout = \"500ms\"",
        "listen = \"[::1]:9\"",
        "sessions_max = 6",
        "send_bytes_max = \"2KiB\"",
        "room_window = \"3ms\"",
        "latency_budget = \"2ms\"",
        "level = \"debug\"",
        "format = \"json\"",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}");
    }
}

#[test]
fn limits_by_flag_hold_for_each_service_and_addresses_by_name() {
    let file = File::new("several", BOTH);
    let config = ["--config", file.path()];
    let flags = ["--idle-timeout", "9", "--listen", "arena=127.0.0.1:1", "--listen", "lobby=127.0.0.1:2"];
    let services = with_flags(&[&config[..], &flags].concat()).expect("two services").serve.services;
    let said = services.iter().map(|service| (&*service.name, &*service.listen, service.limits.idle_timeout.as_secs()));
    assert_eq!(said.collect::<Vec<_>>(), [("lobby", "127.0.0.1:2", 9), ("arena", "127.0.0.1:1", 9)]);
    assert_eq!(
        with_flags(&[&config[..], &["--listen", "127.0.0.1:0"]].concat()).unwrap_err(),
        "--listen 127.0.0.1:0: say which service it is for, NAME=127.0.0.1:0 (there are lobby, arena)"
    );
    assert_eq!(
        with_flags(&[&config[..], &["--listen", "areena=127.0.0.1:0"]].concat()).unwrap_err(),
        "--listen areena=127.0.0.1:0: there is no service \"areena\" (did you mean \"arena\"?)"
    );
}

#[test]
fn an_unknown_key_names_its_neighbour_at_each_level() {
    for (text, said) in [
        ("[servce.game]", "1: unknown table [servce] (did you mean [service]?)"),
        ("[log]\nlvel = 1", "2: unknown key \"lvel\" in [log] (did you mean \"level\"?)"),
        ("\n[core]\nworkrs = 1", "3: unknown key \"workrs\" in [core] (did you mean \"workers\"?)"),
        (
            "[service.game]\nidle_timout = 1\nno = 2",
            "2: unknown key \"idle_timout\" in [service.game] (did you mean \"idle_timeout\"?)",
        ),
        (
            "[service.game]\nmax_sessions = 1",
            "2: unknown key \"max_sessions\" in [service.game] (did you mean \"sessions_max\"?)",
        ),
        (
            "[service.game]\nbyte_rate = { persecond = 1 }",
            "2: unknown key \"persecond\" in [service.game.byte_rate] (did you mean \"per_second\"?)",
        ),
        (
            "[service.game.heartbeat]\nintervall = 1",
            "2: unknown key \"intervall\" in [service.game.heartbeat] (did you mean \"interval\"?)",
        ),
        ("[service.game]\nguarded = true", "2: unknown key \"guarded\" in [service.game] (it belongs into [core])"),
        ("[core]\nlisten = \"\"", "2: unknown key \"listen\" in [core] (it belongs into [service.NAME])"),
        ("workers = 1", "1: \"workers\" stands in no table (it belongs into [core])"),
        ("[service]\nlisten = \"\"", "2: service.listen stands in no service (it belongs into [service.NAME])"),
    ] {
        assert_eq!(sentence(text), format!("server.toml:{said}"));
    }
}

#[test]
fn a_value_that_is_not_allowed_says_what_is() {
    let game = |line: &str| format!("[service.game]\n{line}");
    for (text, said) in [
        (
            game("idle_timeout = 10"),
            "idle_timeout is 10, allowed is a time above 0, with its unit, such as \"250ms\", \"10s\" or \"1m 30s\"",
        ),
        (
            game("idle_timeout = \"0s\""),
            "idle_timeout is \"0s\", allowed is a time above 0, with its unit, such as \"250ms\", \"10s\" or \"1m 30s\"",
        ),
        (game("sessions_max = 0"), "sessions_max is 0, allowed is a whole number, 1 or more"),
        (game("sessions_max = -1"), "sessions_max is -1, allowed is a whole number, 1 or more"),
        (
            game("send_bytes_max = \"1MB\""),
            "send_bytes_max is \"1MB\", allowed is bytes, 1 or more, such as 4096 or \"4KiB\"",
        ),
        (
            game("frame_bytes_max = 65536"),
            "frame_bytes_max is 65536, allowed is bytes, 4 to 65535, such as 4096 or \"4KiB\"",
        ),
        (game("nodelay = 1"), "nodelay is 1, allowed is true or false"),
        (game("send_overflow = \"drop\""), "send_overflow is \"drop\", allowed is \"disconnect\" or \"drop-newest\""),
        (game("message_rate = 5"), "message_rate is 5, allowed is \"off\", or a table with per_second, burst"),
        (
            game("message_rate = { per_second = 0 }"),
            "message_rate.per_second is 0, allowed is a whole number, 1 or more",
        ),
        (game("message_rate = { burst = 1 }"), "message_rate has no per_second"),
        (
            game("heartbeat = { interval = \"1s\", ping_id = 9, pong_timeout = \"1s\" }"),
            "heartbeat: pong_timeout needs a pong_id: the answer that it waits for",
        ),
        (game("heartbeat = { interval = \"1s\" }"), "heartbeat has no ping_id"),
        (
            game("connections_per_address_max = 4294967296"),
            "connections_per_address_max is 4294967296, allowed is \"off\", or a whole number, 1 or more",
        ),
    ] {
        assert_eq!(sentence(&text), format!("server.toml:2: service.game.{said}"));
    }
    assert_eq!(
        sentence("[core]\nreceive_buffers = 100"),
        "server.toml:2: core.receive_buffers is 100, allowed is a power of two, 1 to 32768"
    );
    assert!(sentence("[log]\nlevel = \"wran\"").starts_with("server.toml:2: log.level is \"wran\", allowed is off, "));
    assert_eq!(sentence("core = 3"), "server.toml:1: core is 3, allowed is a table: [core]");
    assert_eq!(sentence("[[service]]"), "server.toml:1: service is a list, allowed is a table: [service.NAME]");
    assert!(sentence("[service.\"a b\"]").starts_with("server.toml:1: \"a b\" cannot be the name of a service"));
}

#[test]
fn what_is_no_toml_has_a_line() {
    for text in
        ["[core", "[core]\nworkers", "[core]\nworkers = ", "\u{0}", "[core]\n[core]", "a = 1\na = 2", "a = \"\n\""]
    {
        assert!(sentence(text).contains(": this is no TOML: "), "{}", sentence(text));
    }
    assert!(sentence("[core]\nnode = 1\nnode = 2\n").starts_with("server.toml:3: "));
    // However deep: an error, not the end of the stack.
    assert!(sentence(&format!("a = {}", "[".repeat(100_000))).starts_with("server.toml:1: "));
}

/// Every key, and none as the default has it.
const OTHERS: &str = include_str!("support/every_key.toml");

#[test]
fn what_is_printed_says_the_same_again() {
    let defaults = Configuration::default().to_string();
    assert_eq!(read(&defaults).to_string(), defaults);
    let others = read(OTHERS).to_string();
    assert_eq!(read(&others).to_string(), others);
    let values = |text: &str| text.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count();
    assert_eq!(values(&others), values(&defaults));
    for line in defaults.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')) {
        assert!(!others.lines().any(|other| other == line), "{line} is as by default: was it read?");
    }
}

#[test]
fn services_that_contradict_each_other_or_the_engine_are_named() {
    let refused = |options: &Options| {
        let mut lockstep = pogu::Lockstep::new(&pogu::sim::Simulation::new());
        Server::start_simulated(options, &mut lockstep).map(|_| ()).expect_err("a contradiction").to_string()
    };
    let mut options = read(BOTH).serve;
    options.services[ARENA].limits.idle_timeout = std::time::Duration::ZERO;
    assert_eq!(refused(&options), "service arena: idle_timeout is 0, allowed is more than 0");
    options.services.truncate(1);
    options.services[LOBBY].limits.sessions_max = 0;
    assert_eq!(refused(&options), "service lobby: sessions_max is 0, allowed is 1 or more");
    let same = read("[service.a]\n[service.b]\n").serve;
    assert_eq!(refused(&same), "the services a and b both listen on 127.0.0.1:7777");
    let full = "[service.a]\nframe_bytes_max = 8\nrefuse_full_with = { id = 1, body = \"12345\" }";
    let said = "service a: the body of refuse_full_with is 5 bytes, allowed is 4 with this frame_bytes_max";
    assert_eq!(refused(&read(full).serve), said);
    let same = "[service.a]\nanswer_heartbeats = { ping_id = 9, pong_id = 9 }";
    let said = "service a: the answer's pong id is 9, allowed is another id than the ping's";
    assert_eq!(refused(&read(same).serve), said);
    options.services.clear();
    assert_eq!(refused(&options), "there is no service to serve");
}

#[test]
fn an_empty_file_and_an_empty_table_are_the_defaults() {
    for text in ["", "# nothing\n", "[service]\n", "[core]\n[log]\n", "[service.game]\n"] {
        assert_eq!(read(text).to_string(), Configuration::default().to_string(), "{text}");
    }
}

/// The default, in milliseconds.
const ROOM_WINDOW: u64 = 10;

#[test]
fn what_is_said_in_a_room_waits_as_long_as_it_may() {
    for (written, milliseconds) in [("", ROOM_WINDOW), ("room_window = \"250ms\"", 250), ("room_window = \"0s\"", 0)] {
        let mut world = world(&format!("[service.a]\nlisten = \"127.0.0.1:1\"\n{written}\n"));
        let mut clients = [world.joined(7), world.joined(7)];
        for round in 0..3 {
            clients[0].send(SAY, &[round]);
            world.settle();
        }
        if milliseconds > 0 {
            world.run_to_just_before(at(milliseconds));
            clients.iter_mut().for_each(Client::expect_nothing_more);
            world.run_to(at(milliseconds));
        }
        for client in &mut clients {
            (0..3).for_each(|round| client.expect(SAY, &[round]));
            client.expect_nothing_more();
        }
    }
}

#[test]
fn services_have_rooms_of_their_own() {
    let mut world = world("[service.a]\nlisten = \"127.0.0.1:1\"\n[service.b]\nlisten = \"127.0.0.1:2\"\n");
    let mut clients = [0, 0, 1].map(|service| world.connect_to(service));
    for client in &mut clients {
        client.send(support::JOIN, &7u32.to_le_bytes());
        world.settle();
        client.expect(support::JOIN, &7u32.to_le_bytes());
    }
    clients[0].send(SAY, b"to a");
    clients[2].send(SAY, b"to b");
    world.run_to(at(ROOM_WINDOW));
    for (client, heard) in clients.iter_mut().zip([b"to a", b"to a", b"to b"]) {
        client.expect(SAY, heard);
        client.expect_nothing_more();
    }
}
