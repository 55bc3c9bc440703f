//! `pogu serve` as a process: its lines, its signals, its exit codes. Its times are in `deadlines`.

mod support;

use support::{Client, FOREIGN_DRIVER, Interruption, PLAIN_DRIVER, Server, drivers, on_each_driver, output, text};

#[test]
fn the_ready_line_says_address_driver_reason_and_workers() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &["--max-sessions", "7"]);
        let Server { ready_line, address, .. } = &server;
        let expected = format!("pogu serves on {address}, driver {driver} (asked for");
        assert!(ready_line.starts_with(&expected), "{ready_line}");
        // A run of all tests may ask for it.
        let ready_line = ready_line.replace(", guarded memory", "");
        assert!(ready_line.ends_with("), 2 workers, at most 7 sessions"), "{ready_line}");
        Client::connect(*address).echo(b"hello");
    });
}

#[test]
fn guarded_memory_serves_and_says_so() {
    on_each_driver(|driver| {
        let server = Server::start(driver, &["--guarded"]);
        assert!(server.ready_line.contains(", 2 workers, guarded memory, at most"), "{}", server.ready_line);
        let mut client = Client::connect(server.address);
        for size in [1, 1_000, 60_000] {
            client.echo(&vec![7; size]);
        }
        drop(client);
        assert!(server.stop().contains("3 in, 3 out"));
    });
}

#[test]
fn auto_takes_a_driver_that_runs_here() {
    let server = Server::start("auto", &[]);
    assert!(drivers().iter().any(|driver| server.ready_line.contains(&format!("driver {driver} ("))));
}

#[test]
fn a_signal_ends_sessions_in_good_order_and_prints_the_summary() {
    for interruption in [Interruption::Terminate, Interruption::CtrlC] {
        on_each_driver(|driver| {
            let server = Server::start(driver, &[]);
            let mut gone = Client::connect(server.address);
            gone.echo(&[0; 96]);
            gone.leave();
            let mut stays = Client::connect(server.address);
            stays.echo(&[0; 96]);
            server.process.interrupt(interruption);
            stays.expect_end();
            drop(stays);
            let (summary, code) = server.process.finish();
            assert_eq!(code, Some(0));
            let words = [
                "served 2 sessions",
                "2 in, 2 out",
                "200 bytes in, 200 bytes out",
                "1 peer closed",
                "1 service stopping",
            ];
            for word in words {
                assert!(summary.contains(word), "{word} is missing:\n{summary}");
            }
        });
    }
}

#[cfg(windows)]
#[test]
fn the_end_of_the_console_or_of_the_machine_waits_for_the_drain() {
    for end in ["close", "shutdown"] {
        let server = Server::start(PLAIN_DRIVER, &[]);
        let mut stays = Client::connect(server.address);
        stays.echo(&[0; 96]);
        server.process.tell(end);
        stays.expect_end();
        drop(stays);
        let (summary, _) = server.process.finish();
        assert!(summary.contains("served 1 session") && summary.contains("1 service stopping"), "{end}: {summary}");
    }
}

/// The system ends a process 5 s after its console was closed, whatever it is doing; a peer that does not take part in an
/// orderly end would keep the drain waiting for longer.
#[cfg(windows)]
#[test]
fn a_drain_ends_before_the_system_ends_the_process() {
    let server = Server::start(PLAIN_DRIVER, &[]);
    let mut stays = Client::connect(server.address);
    stays.echo(&[0; 96]);
    let began = std::time::Instant::now();
    server.process.tell("close");
    let (summary, _) = server.process.finish();
    let took = began.elapsed();
    assert!(summary.contains("served 1 session") && summary.contains("1 service stopping"), "{summary}");
    // Of the ten seconds that are configured it has four; the rest is what a busy machine may take.
    assert!(took < std::time::Duration::from_secs(8), "{took:?}");
}

#[test]
fn a_taken_port_is_one_sentence_and_exit_code_2() {
    let server = Server::start(PLAIN_DRIVER, &[]);
    let second = output(&["serve", "--listen", &server.target()]);
    assert_eq!(second.status.code(), Some(2));
    assert_eq!(text(&second.stdout), "");
    let expected = format!("pogu: {} is taken: something else listens there already\n", server.address);
    assert_eq!(text(&second.stderr), expected);
}

#[test]
fn wrong_usage_is_one_sentence_and_exit_code_2() {
    for arguments in [
        &["serve", "--lissen", "127.0.0.1:0"][..],
        &["serve", "--listen", "nowhere"],
        &["serve", "--listen", "127.0.0.1:99999"],
        &["serve", "--workers", "0"],
        &["serve", "--workers", "1025"],
        &["serve", "--workers", "two"],
        &["serve", "--driver", FOREIGN_DRIVER],
        &["serve", "--max-sessions", "0"],
        &["serve", "--idle-timeout", "0"],
        &["serve", "--send-queue", "-1"],
        &["serve", "--config", "/nonexistent/server.toml"],
        &["serve", "--config", "/"],
        &["serve", "--log", "wran"],
        &["swarm", "--log-format", "xml"],
        &["serve", "extra"],
        &["swarm", "--rate", "1", "--depth", "1"],
        &["swarm", "--sessions", "200001"],
        &["swarm", "--mode", "hello", "--depth", "1"],
        &["swarm", "--json", "/nonexistent/report.json"],
        &["swarm", "--target", "nowhere"],
        &["demo", "--sessions", "9501"],
        &["sing"],
        &[],
    ] {
        let output = output(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(
            said.starts_with("pogu: ") && said.ends_with('\n') && said.lines().count() == 1,
            "{arguments:?}: {said}"
        );
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for (argument, words) in [("--help", "serve"), ("--version", "pogu ")] {
        let output = output(&[argument]);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains(words));
    }
    assert!(text(&output(&["swarm", "--help"]).stdout).contains("header of 4 included"));
}

/// A server, and a client that it will wait for when it is told to stop: it never finishes its stream.
fn with_a_client() -> (Server, Client) {
    let server = Server::start(PLAIN_DRIVER, &[]);
    let mut client = Client::connect(server.address);
    client.echo(b"here");
    (server, client)
}

#[test]
fn a_second_signal_cuts_the_drain_short() {
    let ((told_once, mut waited_for), (told_twice, mut given_up)) = (with_a_client(), with_a_client());
    // Both wait for the same time, and the first one begins first.
    for (server, client) in [(&told_once, &mut waited_for), (&told_twice, &mut given_up)] {
        server.process.interrupt(Interruption::Terminate);
        client.expect_end();
    }
    told_twice.process.interrupt(Interruption::Terminate);
    let (summary, code) = told_twice.process.finish();
    assert_eq!(code, Some(0), "{summary}");
    assert!(summary.contains("1 service stopping"), "{summary}");
    // A reset sets it: the wait of the first would be over.
    assert!(waited_for.stream.take_error().expect("an option").is_none(), "the second signal did not end the wait");
    drop(waited_for);
    let (summary, code) = told_once.process.finish();
    assert_eq!(code, Some(0), "{summary}");
}
