//! Configuration files and logs of `pogu` as a process.

mod support;

use std::net::SocketAddr;
use std::process::Output;

use support::{Client, Interruption, PLAIN_DRIVER, Process, Server, output, pogu, text};

/// Where the command finds its configuration: a pipe, where one has a name.
#[cfg(unix)]
const PLACE: &str = "/dev/stdin";
#[cfg(windows)]
const PLACE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/one-at-a-time.toml");

/// What the command does with this configuration.
#[cfg(windows)]
fn with_config(config: &str, flags: &[&str]) -> Output {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    std::fs::write(PLACE, config).expect("a file");
    let output = output(&[&["serve", "--config", PLACE], flags].concat());
    std::fs::remove_file(PLACE).expect("it is there");
    output
}

#[cfg(unix)]
fn with_config(config: &str, flags: &[&str]) -> Output {
    use std::io::Write;
    use std::process::Stdio;
    let mut command = pogu(&[&["serve", "--config", PLACE], flags].concat());
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the binary starts");
    // It may end before it has read all.
    let _ = child.stdin.take().expect("piped").write_all(config.as_bytes());
    child.wait_with_output().expect("it ends")
}

#[test]
fn a_printed_configuration_is_printed_again() {
    let first = with_config("[service.game]\nidle_timeout = \"7s\"\n", &["--workers", "3", "--print-config"]);
    assert_eq!((first.status.code(), text(&first.stderr)), (Some(0), String::new()));
    let printed = text(&first.stdout);
    for line in ["idle_timeout = \"7s\"", "workers = 3", "sessions_max = 10000"] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is missing:\n{printed}");
    }
    assert_eq!(text(&with_config(&printed, &["--print-config"]).stdout), printed);
}

#[test]
fn what_is_wrong_in_a_file_is_one_sentence_and_exit_code_2() {
    for (config, said) in [
        ("[core]\nworkrs = 1", format!("{PLACE}:2: unknown key \"workrs\" in [core] (did you mean \"workers\"?)")),
        ("[core", format!("{PLACE}:1: this is no TOML: unclosed table, expected `]`")),
        ("[service.a]\n[service.b]", "the services a and b both listen on 127.0.0.1:7777".to_owned()),
    ] {
        let output = with_config(config, &[]);
        let said = (Some(2), String::new(), format!("pogu: {said}\n"));
        assert_eq!((output.status.code(), text(&output.stdout), text(&output.stderr)), said);
    }
    let missing = output(&["serve", "--config", "/nonexistent.toml", "--print-config"]);
    // This code is the same on every system, its words are not.
    let why = std::io::Error::from_raw_os_error(2);
    let said = format!("pogu: the configuration /nonexistent.toml cannot be read: {why}\n");
    assert_eq!((missing.status.code(), text(&missing.stderr)), (Some(2), said));
}

#[test]
fn the_level_is_that_of_the_flag_else_of_the_environment_else_of_the_file() {
    let level = |flags: &[&str], environment: Option<&str>, file: &str| {
        let path = std::env::temp_dir().join(format!("pogu-{}-level.toml", std::process::id()));
        std::fs::write(&path, file).expect("a file");
        let mut command = pogu(&["serve", "--print-config", "--config"]);
        command.arg(&path).args(flags);
        environment.map(|level| command.env("RUST_LOG", level));
        let output = command.output().expect("the binary runs");
        std::fs::remove_file(&path).expect("it is there");
        let said = text(&output.stdout) + &text(&output.stderr);
        let line = said.lines().find(|line| line.starts_with("level = ") || line.starts_with("pogu: "));
        line.unwrap_or("no level").to_owned()
    };
    let file = "[log]\nlevel = \"error\"\n";
    assert_eq!(level(&[], None, ""), "level = \"warn\"");
    assert_eq!(level(&[], None, file), "level = \"error\"");
    assert_eq!(level(&[], Some("info"), file), "level = \"info\"");
    assert_eq!(level(&["--log", "off"], Some("info"), file), "level = \"off\"");
    assert_eq!(level(&["--log", "warn,pogu=debug"], None, file), "level = \"warn,pogu=debug\"");
    // A module without a level is all of it.
    assert_eq!(level(&[], Some("warn,pogu"), file), "level = \"warn,pogu=trace\"");
    assert!(level(&[], Some("a[="), file).starts_with("pogu: RUST_LOG is \"a[=\", allowed is "));
}

/// The line that says that a session has ended.
fn end_of_a_session(flags: &[&str]) -> String {
    let server = Server::start(PLAIN_DRIVER, flags);
    let mut client = Client::connect(server.address);
    client.echo(b"here");
    client.leave();
    server.process.error_line("session ended")
}

#[test]
fn log_lines_are_json_objects_on_request() {
    let line = end_of_a_session(&["--log", "debug", "--log-format", "json"]);
    let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let field =
        |pointer: &str| event.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    assert_eq!(field("/level"), "DEBUG");
    assert_eq!(field("/fields/message"), "session ended");
    assert!(!field("/timestamp").is_empty() && field("/target").starts_with("pogu::"), "{line}");
    assert!(!field("/fields/cause").is_empty(), "{line}");
}

#[test]
fn log_lines_are_for_people_otherwise() {
    let line = end_of_a_session(&["--log", "pogu=debug"]);
    assert!(line.contains("DEBUG") && line.contains("cause=") && !line.starts_with('{'), "{line}");
}

#[test]
fn several_services_are_announced_and_summed_up_one_by_one() {
    let path = std::env::temp_dir().join(format!("pogu-{}-several.toml", std::process::id()));
    let file = "[core]\nworkers = 2\n[service.lobby]\nlisten = \"127.0.0.1:0\"\nsessions_max = 3\n[service.arena]\n";
    std::fs::write(&path, file).expect("a file");
    let config = path.to_str().expect("plain letters");
    let process = Process::start(&["serve", "--config", config, "--listen", "arena=127.0.0.1:0"]);
    let ready_line = process.line();
    std::fs::remove_file(&path).expect("it is there");
    let addresses: Vec<SocketAddr> = ready_line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    let [lobby, arena] = addresses[..] else { panic!("{ready_line}") };
    let expected = format!(
        "pogu serves lobby on {lobby} (at most 3 sessions), arena on {arena} (at most 10000 sessions), driver "
    );
    assert!(ready_line.starts_with(&expected), "{ready_line}");
    let mut client = Client::connect(arena);
    client.echo(b"here");
    client.leave();
    process.interrupt(Interruption::Terminate);
    let (summary, code) = process.finish();
    assert_eq!(code, Some(0));
    let expected = "pogu served 0 sessions as lobby\n  frames       0 in, 0 out\n";
    assert!(summary.starts_with(expected), "{summary}");
    assert!(summary.contains("\npogu served 1 session as arena\n  frames       1 in, 1 out\n"), "{summary}");
}

#[test]
fn a_service_whose_address_is_taken_is_named() {
    let taken = Server::start(PLAIN_DRIVER, &[]);
    let config = format!("[service.a]\nlisten = \"127.0.0.1:0\"\n[service.b]\nlisten = \"{}\"\n", taken.address);
    let output = with_config(&config, &["--driver", PLAIN_DRIVER]);
    let said = format!("pogu: service b: {} is taken: something else listens there already\n", taken.address);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), said));
}
