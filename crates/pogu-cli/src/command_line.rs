//! The command line: flags, their ranges, and errors in one sentence.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use pogu::DriverChoice;
use pogu_chaos::{KnobError, Mistreatment};

use crate::failure::Failure;
use crate::logging::LogArguments;
use crate::plaza::UNANSWERED_MAX;
use crate::protocol::FRAME_BYTES_MAX;
pub use crate::serve::ServeArguments;
use crate::swarm::{FRAME_BYTES_MIN, Mode, Pace};
use crate::{demo, swarm};

/// A small game server on the pogu engine, and a swarm of clients that checks every answer.
#[derive(Debug, Parser)]
#[command(name = "pogu", version, max_term_width = 110, disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve echo, rooms and a world to walk in until Ctrl-C or SIGTERM
    #[command(after_help = SERVE_HELP)]
    Serve(ServeArguments),
    /// Open many sessions to a server, number every message and check every answer
    #[command(after_help = SWARM_HELP)]
    Swarm(SwarmArguments),
    /// One process of a swarm that has several
    #[command(hide = true)]
    SwarmPart,
    /// Run a server and a swarm in one process and show both sides
    Demo(DemoArguments),
}

const SERVE_HELP: &str = "\
Frames are the course's: u16 size (header included), u16 id, body; little-endian.
  1 JOIN  body u32 room; answered by the same frame once no later SAY can be missed. A second JOIN moves.
  2 SAY   goes verbatim to every member of the sender's room, the sender included.
  3 ECHO  comes back verbatim.
The plaza is a map of 2,048 m, on which one sees who is in the nine cells of 16 m around. Coordinates are i32, in
hundredths of a metre; all that the server says begins with u64 order, u32 entity:
  10 ENTER  x, y   20 ENTERED x, y; then 21 APPEARED x, y of each whom it sees
  11 WALK   x, y   23 WALKED x, y; then 22 VANISHED and 21 of those whom that concerns; at most 50 m along each axis
  12 CHAT   text   24 SAID text, of at most 200 bytes
  13 EXIT          25 EXITED
Those who see it are told, too: 21, 23, 24 or 22. Their WALKEDs may give way to newer ones.
A SAY before any JOIN, a step that is too long, another id or a wrong body length and the like are violations:
what was already answered is still sent, then that session ends.";

const SWARM_HELP: &str = "\
Without --rate and --depth, echo runs with --depth 1, room with --rate 1 and plaza with --rate 4; hello is once a second.
idle: the echoes at the end leave 50 us apart. A server ends sessions that are silent for too long: pogu serve after
its --idle-timeout, 60 s unless it is told otherwise.
churn: --sessions is how many connections there are at one time, --rate how many each of them makes per second; without
it each connects again at once, at most 500 times a second. An answer that does not come within 5 s is lost. A
connection that cannot be made is tried again after 0.1 s; one for which this machine has no port left counts as
\"out of local ports\".
plaza: each session is a bot that walks, now and then leaps, chats, exits and enters, on ground for some twenty in view. One
after the other ends its connection on the map and comes back. Of each it is checked that it was told exactly what it had to
be told, and nothing of anybody else; with --company what comes of players who are no bots is only counted, and nobody leaves.
A server that queues more than 4 MiB for one session (send_bytes_max) may be accused of steps that gave way to newer ones.
More sessions than one process may have open files for are shared out among several processes. From one address to
another Linux has some 28,000 ports, and takes long to find a free one when more than half are in use: for more sessions
name several addresses of the server, as in --target 127.0.0.1:7777,127.0.0.2:7777.
--chaos: what the proxy cuts is no error. Such a session comes back, and its numbers start again; of what it missed only a
gap or a repetition is wrong. Knobs: delay_ms, jitter_ms, piece_bytes_min, piece_bytes_max, stalls_per_minute, stall_ms,
resets_per_minute, half_closes_per_minute (each per connection), waiting_bytes_max, pairs_max, seed.
Exit code 1 if anything was lost, duplicated, reordered, altered, cut off or, in churn, not connected.";

/// `pogu swarm`
#[derive(Debug, Args)]
pub struct SwarmArguments {
    /// Address of the server; several, with commas between them, are shared out among as many processes or more
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7777")]
    target: String,
    /// Sessions to open, 1 to 200,000
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = within(1..=swarm::SESSIONS_MAX))]
    sessions: u64,
    /// What the sessions do
    #[arg(long, value_enum, default_value_t = Mode::Echo)]
    mode: Mode,
    /// Messages that each session sends (in churn: connections that it makes) per second, however fast answers come; up to
    /// 1,000,000
    #[arg(long, value_name = "MESSAGES_PER_SECOND", conflicts_with = "depth", value_parser = rate)]
    rate: Option<f64>,
    /// Messages that each session keeps in flight, 1 to 10,000: the next leaves when an answer comes
    #[arg(long, value_name = "IN_FLIGHT", value_parser = within(1..=10_000))]
    depth: Option<u64>,
    /// Bytes of a whole frame, the header of 4 included: 28 to 65,535 (hello and plaza have their own)
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = frame_bytes())]
    size: u64,
    /// Members of a room, 1 to 1,000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = within(1..=1000))]
    room_size: u64,
    /// How long to send (in idle: to be silent), up to 86,400
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// In plaza: others are there, too. What comes of them is counted, not judged
    #[arg(long)]
    company: bool,
    /// Put a proxy in between that delays, splits, stalls, resets and half-closes connections; KNOBS says how badly, as in
    /// delay_ms=5,piece_bytes_max=1,resets_per_minute=6 or gentle,stalls_per_minute=60 [default of KNOBS: a bad path]
    #[arg(long, value_name = "KNOBS", num_args = 0..=1, default_missing_value = "", value_parser = mistreatment)]
    chaos: Option<Box<Mistreatment>>,
    /// Also write the results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Processes to share out the sessions among, 1 to 64 [default: as many as their open files need]
    #[arg(long, value_name = "N", value_parser = within(1..=swarm::PROCESSES_MAX))]
    processes: Option<u64>,
    /// Worker threads of each process, 1 to 1024
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = within(1..=1024))]
    workers: u64,
    /// How to talk to the system
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    driver: Driver,
    #[command(flatten)]
    pub(crate) log: LogArguments,
}

/// `pogu demo`
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Sessions to open, 1 to 9,500: each needs two of the process's open files
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = within(1..=demo::SESSIONS_MAX))]
    sessions: u64,
    /// How long to send in each of the two parts, up to 86,400
    #[arg(long, value_name = "S", default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// How to talk to the system
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    driver: Driver,
    #[command(flatten)]
    pub(crate) log: LogArguments,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Driver {
    /// The best that this system allows
    Auto,
    /// Linux io_uring
    Uring,
    /// epoll or kqueue
    Readiness,
    /// Windows I/O completion ports
    Iocp,
}

impl From<Driver> for DriverChoice {
    fn from(driver: Driver) -> DriverChoice {
        match driver {
            Driver::Auto => DriverChoice::Auto,
            Driver::Uring => DriverChoice::Uring,
            Driver::Readiness => DriverChoice::Readiness,
            Driver::Iocp => DriverChoice::Iocp,
        }
    }
}

impl SwarmArguments {
    /// What they mean.
    ///
    /// # Errors
    /// They contradict each other.
    pub fn options(&self) -> Result<swarm::Options, Failure> {
        let asked = self.rate.map(Pace::Rate).or(self.depth.map(|depth| Pace::Depth(size(depth))));
        let contradiction = match (self.mode, asked) {
            (Mode::Hello, Some(_)) => "hello speaks once a second: it takes neither --rate nor --depth",
            (Mode::Idle, Some(_)) => "idle sends one message per session: it takes neither --rate nor --depth",
            (Mode::Churn, Some(Pace::Depth(_))) => "churn sends one message per connection: it takes no --depth",
            (Mode::Plaza, Some(Pace::Depth(depth))) if depth > UNANSWERED_MAX => {
                "plaza has at most 64 actions of a session in flight: --depth is 1 to 64"
            }
            (Mode::Idle | Mode::Churn | Mode::Plaza, _) if self.chaos.is_some() => {
                "--chaos goes with echo, room and hello"
            }
            (mode, _) if mode != Mode::Plaza && self.company => "--company goes with plaza",
            _ => "",
        };
        if !contradiction.is_empty() {
            return Err(Failure::Usage(contradiction.to_owned()));
        }
        Ok(swarm::Options {
            target: self.target.clone(),
            sessions: size(self.sessions),
            mode: self.mode,
            pace: asked.unwrap_or(self.mode.default_pace()),
            size: size(self.size),
            room_size: size(self.room_size),
            duration: Duration::from_secs_f64(self.seconds),
            alone: !self.company,
            workers: size(self.workers),
            driver: self.driver.into(),
            chaos: self.chaos.as_deref().cloned(),
            ..swarm::Options::default()
        })
    }
}

impl SwarmArguments {
    /// How many processes were asked for.
    pub(crate) fn processes(&self) -> Option<usize> {
        self.processes.map(size)
    }
}

impl DemoArguments {
    /// What they mean.
    pub fn options(&self) -> demo::Options {
        demo::Options {
            sessions: size(self.sessions),
            duration: Duration::from_secs_f64(self.seconds),
            driver: self.driver.into(),
        }
    }
}

/// What the arguments ask for.
#[derive(Debug)]
pub enum Parsed {
    /// A text for stdout: the help or the version.
    Help(String),
    /// A command.
    Run(Command),
}

/// Reads the arguments, the program's name first.
///
/// # Errors
/// One sentence that says what is wrong.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, Failure> {
    match CommandLine::try_parse_from(arguments) {
        Ok(line) => Ok(Parsed::Run(line.command)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Parsed::Help(error.to_string())),
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
                Err(Failure::Usage("say what to do: serve, swarm or demo (pogu --help explains)".to_owned()))
            }
            _ => Err(Failure::Usage(one_sentence(&error.to_string()))),
        },
    }
}

/// Clap's error in one line: what is wrong, and its hints in brackets.
fn one_sentence(error: &str) -> String {
    let mut sentence = String::new();
    for line in error.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:")) {
        if line.starts_with("For more information") {
            break;
        }
        let line = line.strip_prefix("error: ").unwrap_or(line);
        let (line, hint) = match line.strip_prefix("tip: ") {
            Some(hint) => (hint, true),
            None => (line, false),
        };
        match (line.is_empty(), sentence.is_empty(), hint) {
            (true, _, _) => {}
            (_, true, _) => sentence.push_str(line),
            (_, _, true) => sentence = format!("{sentence} ({line})"),
            (_, _, false) => sentence = format!("{sentence} {line}"),
        }
    }
    sentence
}

pub(crate) fn within(range: RangeInclusive<u64>) -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(range)
}

fn frame_bytes() -> clap::builder::RangedU64ValueParser<u64> {
    within(FRAME_BYTES_MIN as u64..=FRAME_BYTES_MAX as u64)
}

pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    positive(text, 86_400.0)
}

fn mistreatment(text: &str) -> Result<Box<Mistreatment>, KnobError> {
    text.parse().map(Box::new)
}

fn rate(text: &str) -> Result<f64, String> {
    positive(text, 1_000_000.0)
}

fn positive(text: &str, maximum: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        // The smallest that is still a nanosecond.
        Ok(value) if value >= 1e-9 && value <= maximum => Ok(value),
        _ => Err(format!("expected a number above 0 and at most {maximum}")),
    }
}

/// All ranges end below 2^32.
pub(crate) fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Configuration;

    fn parsed(line: &str) -> Result<Parsed, Failure> {
        parse(line.split(' ').map(OsString::from))
    }

    fn sentence(line: &str) -> String {
        let failure = parsed(line).and_then(|parsed| match parsed {
            Parsed::Run(Command::Swarm(arguments)) => arguments.options().map(|_| ()),
            _ => Ok(()),
        });
        failure.map_or_else(|failure| failure.to_string(), |()| "no failure".to_owned())
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory;
        CommandLine::command().debug_assert();
    }

    #[test]
    fn errors_are_one_sentence_with_a_hint() {
        assert_eq!(
            sentence("pogu serve --lisen 1"),
            "unexpected argument '--lisen' found (a similar argument exists: '--listen')"
        );
        assert_eq!(
            sentence("pogu serve --driver epoll"),
            "invalid value 'epoll' for '--driver <DRIVER>' [possible values: auto, uring, readiness, iocp]"
        );
        assert_eq!(sentence("pogu serve --workers 0"), "invalid value '0' for '--workers <N>': 0 is not in 1..=1024");
        assert_eq!(
            sentence("pogu swarm --seconds 0"),
            "invalid value '0' for '--seconds <S>': expected a number above 0 and at most 86400"
        );
        assert_eq!(sentence("pogu"), "say what to do: serve, swarm or demo (pogu --help explains)");
    }

    #[test]
    fn an_address_is_as_in_a_file() {
        let said = |listen: &str| {
            let arguments = ["pogu", "serve", "--listen", listen].map(OsString::from);
            let Ok(Parsed::Run(Command::Serve(arguments))) = parse(arguments) else { panic!("{listen:?}") };
            match arguments.configuration() {
                Ok(configuration) => Configuration::parse("printed.toml", &configuration.to_string()).map(|_| ()),
                Err(failure) => Err(failure),
            }
            .map_err(|failure| failure.to_string())
        };
        assert_eq!(said("[::1]:0"), Ok(()));
        let nowhere = "--listen is \"nowhere\", allowed is an address with its port, such as \"0.0.0.0:7777\"";
        assert_eq!(said("nowhere"), Err(nowhere.to_owned()));
        let stranger = "--listen a\\nb=1:1: there is no service \"a\\nb\" (did you mean \"game\"?)";
        assert_eq!(said("a\nb=1:1"), Err(stranger.to_owned()));
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            "pogu swarm --rate 1 --depth 1",
            "pogu swarm --mode hello --rate 2",
            "pogu swarm --mode idle --rate 2",
            "pogu swarm --mode idle --depth 2",
            "pogu swarm --mode churn --depth 2",
            "pogu swarm --mode churn --rate 1 --depth 2",
            "pogu swarm --processes 0",
            "pogu swarm --processes 65",
            "pogu swarm --sessions 200001",
            "pogu swarm --size 27",
            "pogu swarm --size 65536",
            "pogu swarm --rate 0",
            "pogu swarm --rate nan",
            "pogu swarm --seconds -1",
            "pogu swarm --mode churn --chaos",
            "pogu swarm --mode idle --chaos gentle",
            "pogu swarm --mode plaza --chaos",
            "pogu swarm --mode plaza --depth 65",
            "pogu swarm --mode room --company",
            "pogu swarm --chaos delay=5",
            "pogu swarm --chaos delay_ms=never",
        ] {
            let sentence = sentence(line);
            assert!(sentence != "no failure" && !sentence.contains('\n'), "{line}: {sentence}");
        }
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let Ok(Parsed::Run(Command::Serve(arguments))) = parsed("pogu serve") else { panic!("serve needs no flag") };
        let configuration = Configuration { serve: arguments.options().unwrap(), ..Configuration::default() };
        assert_eq!(configuration.to_string(), Configuration::default().to_string());
        let Ok(Parsed::Run(Command::Swarm(arguments))) = parsed("pogu swarm") else { panic!("swarm needs no flag") };
        let (options, expected) = (arguments.options().unwrap(), swarm::Options::default());
        assert_eq!(format!("{options:?}"), format!("{expected:?}"));
    }
}
