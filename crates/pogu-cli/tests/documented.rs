//! What the documents show of files and commands is what they do.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pogu_cli::command_line::{Command, Parsed, parse};
use pogu_cli::configuration::Configuration;
use pogu_cli::serve::{CoreOptions, Options, ServiceOptions};

fn document(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(path)
}

fn text(path: &str) -> String {
    let path = document(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_documented_file_has_every_key_with_its_default() {
    let defaults = Configuration::default();
    assert!(
        text("serve.toml").trim_end() == defaults.to_string(),
        "write it anew: pogu serve --print-config > docs/serve.toml"
    );
    assert_eq!(Configuration::load(&document("serve.toml")).expect("a file").to_string(), defaults.to_string());
}

/// The commands that a page shows below a heading.
fn commands(page: &str, heading: &str) -> Vec<Vec<OsString>> {
    let page = text(page);
    let (_, below) = page.split_once(&format!("\n## {heading}\n")).expect(heading);
    let section = below.split("\n## ").next().expect("a section");
    let commands = section.lines().filter_map(|line| line.strip_prefix("    "));
    commands.map(|command| command.split_whitespace().map(OsString::from).collect()).collect()
}

#[test]
fn the_plaza_of_five_thousand_is_served_by_the_file_and_the_commands_that_its_page_shows() {
    let commands = commands("benchmarks/rooms.md", "Five thousand who walk, at 10 Hz");
    let [serve, swarm] = <[Vec<OsString>; 2]>::try_from(commands).expect("two commands");
    // From the folder of the repository, where no test runs.
    assert_eq!(serve, ["pogu", "serve", "--config", "docs/plaza.toml"]);
    let Ok(Parsed::Run(Command::Swarm(_))) = parse(swarm) else { panic!("these are flags of swarm") };
    let path = document("plaza.toml").into_os_string();
    let flags = ["pogu", "serve", "--config"].map(OsString::from).into_iter().chain([path]);
    let Ok(Parsed::Run(Command::Serve(arguments))) = parse(flags) else { panic!("these are flags of serve") };
    let Options { core, services } = arguments.options().expect("the file means something");
    assert_eq!((core.workers, core.port.posts_max), (Some(1), 1 << 20));
    assert!(
        core.port.posts_max > CoreOptions::default().port.posts_max,
        "by default there is room for all: say so there"
    );
    let [plaza] = services.as_slice() else { panic!("one service") };
    assert_eq!((plaza.name.as_str(), plaza.room_window), ("plaza", Duration::from_millis(50)));
    // Where the swarm looks for it.
    assert_eq!(plaza.listen, ServiceOptions::default().listen);
    assert!(plaza.limits.sessions_max >= 5_000);
}
