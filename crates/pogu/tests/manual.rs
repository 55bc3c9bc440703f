//! The manual says what is: every test that it names exists, every limit is in it, every default that it prints is the real one.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use pogu::{
    Limits, ListenOptions, PortConfig, QueueOptions, ROOMS_PER_SESSION_MAX, StreamOptions, TIMERS_PER_SESSION_MAX,
};

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of all crates").to_owned()
}

/// What stands between single backticks in one line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Whether a test of that name stands there, as `path::name` below the folder of all crates.
fn exists(reference: &str) -> Result<(), String> {
    let (path, name) = reference.rsplit_once("::").ok_or("no path")?;
    let text = fs::read_to_string(crates().join(path)).map_err(|error| format!("{path}: {error}"))?;
    let head = format!("fn {name}(");
    match text.lines().any(|line| line.trim_start().trim_start_matches("pub ").starts_with(&head)) {
        true => Ok(()),
        false => Err(format!("{path} has no {name}")),
    }
}

#[test]
fn every_test_that_shows_a_promise_exists() {
    let page = page("promises.md");
    let references: Vec<&str> = page.lines().flat_map(quoted).filter(|words| words.contains(".rs::")).collect();
    assert!(references.len() > 50, "{} tests: this rule sees too little", references.len());
    let missing: Vec<String> = references.iter().filter_map(|reference| exists(reference).err()).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(exists("pogu/tests/manual.rs::no_such_test").is_err(), "this rule would notice");
    for line in page.lines().filter(|line| line.starts_with("| ") && !line.contains("shown by")) {
        assert!(line.contains(".rs::"), "nothing shows it: {line}");
    }
}

/// The fields of a struct and what its values look like, from how it is printed.
fn fields(printed: &impl fmt::Debug) -> BTreeMap<String, String> {
    let printed = format!("{printed:?}");
    let (_, inner) = printed.split_once("{ ").expect("a struct");
    let mut depth = 0;
    let apart = |character: char| {
        depth += i32::from("{([".contains(character)) - i32::from("})]".contains(character));
        character == ',' && depth == 0
    };
    let pairs = inner.trim_end_matches(" }").split(apart);
    pairs.filter_map(|pair| pair.trim().split_once(": ")).map(|(name, value)| (name.into(), value.into())).collect()
}

/// A default as people write it, in the words of the code.
fn meant(written: &str) -> String {
    let plain = written.replace(',', "");
    match plain.split_once(' ') {
        Some((number, "KiB")) => (number.parse::<u64>().expect("a number") * 1024).to_string(),
        Some((number, unit)) => format!("{number}{unit}"),
        None if plain == "none" || plain == "delay" || plain == "disconnect" => plain[..1].to_uppercase() + &plain[1..],
        None => plain,
    }
}

/// The rows of the tables below a heading: what is named first, and the cell behind it.
fn rows(heading: &str) -> BTreeMap<String, String> {
    let page = page("limits.md");
    let (_, below) = page.split_once(&format!("\n# {heading}\n")).expect(heading);
    let section = below.split("\n# ").next().expect("a section");
    let cells = |line: &str| line.split(" | ").map(|cell| cell.trim_matches(['|', ' ']).to_owned()).collect::<Vec<_>>();
    let rows = section.lines().filter(|line| line.starts_with("| `")).map(cells);
    rows.filter_map(|cells| Some((quoted(cells.first()?).next()?.to_owned(), meant(cells.get(1)?)))).collect()
}

#[test]
fn every_limit_of_a_service_is_documented_with_its_real_default() {
    assert_eq!(rows("Of each service"), fields(&Limits::default()));
    let promises = page("promises.md");
    for name in fields(&Limits::default()).keys() {
        assert!(promises.contains(&format!("| `{name}` | `")), "no test is named for {name}");
    }
}

#[test]
fn every_limit_of_a_worker_is_documented_with_its_real_default() {
    let mut real = fields(&PortConfig::default());
    // No limits: where the time comes from, and what is for development.
    for other in ["clock", "guarded", "faults"] {
        assert!(real.remove(other).is_some(), "{other}");
    }
    assert_eq!(rows("Of each worker"), real);
}

#[test]
fn every_option_of_a_socket_is_documented_with_its_real_default() {
    let mut real = fields(&ListenOptions::default());
    real.extend(fields(&StreamOptions::default()));
    assert_eq!(rows("Of each socket"), real);
}

#[test]
fn every_option_of_a_job_queue_is_documented_with_its_real_default() {
    assert_eq!(rows("Of each job queue"), fields(&QueueOptions::default()));
}

#[test]
fn what_cannot_be_changed_is_documented_as_it_is() {
    let page = page("limits.md");
    let rooms = page.lines().find(|line| line.contains("ROOMS_PER_SESSION_MAX")).expect("a row");
    assert!(rooms.contains(&format!("| {ROOMS_PER_SESSION_MAX} |")), "{rooms}");
    let timers = page.lines().find(|line| line.contains("TIMERS_PER_SESSION_MAX")).expect("a row");
    assert!(TIMERS_PER_SESSION_MAX == 1_024 && timers.contains("| 1,024 |"), "{timers}");
    let open = page.lines().find(|line| line.contains("OPEN_ROOMS_MAX")).expect("a row");
    assert!(pogu::OPEN_ROOMS_MAX == 65_536 && open.contains("| 65,536 per core |"), "{open}");
    let queue = page.lines().find(|line| line.starts_with("| `send_bytes_max`")).expect("a row");
    let [small, large] = [pogu::FRAME_OVERHEAD_BYTES, pogu::LARGE_FRAME_OVERHEAD_BYTES];
    let replaceable = pogu::REPLACEABLE_FRAME_OVERHEAD_BYTES;
    let charged =
        format!("for each {small} bytes, {large} above 1,024 bytes, or {replaceable} while it may be replaced");
    assert!(queue.contains(&charged), "{queue}");
    let window = page.lines().find(|line| line.contains("WINDOW_MAX")).expect("a row");
    assert!(window.contains("| 4 s |") && pogu::WINDOW_MAX.as_secs() == 4, "{window}");
    let largest = pogu::FrameFormat::course().frame_bytes_limit();
    assert_eq!(largest, 65_535);
    assert!(page.contains("at most 65,535 bytes"));
}
