//! One run: a server of its own, a load on it, and what came of that.

use std::process::Command;

use serde_json::Value;

use super::contender::{Contender, Place, Stage};
use super::figures::{Figures, Kind};
use crate::Failure;
use crate::server::Server;

/// How much longer than what it measures a load may take: for its connections, its last messages and whatever else runs.
const PATIENCE_SECONDS: f64 = 180.0;

/// Deliveries in rooms.
pub const ROOMS: Kind = Kind {
    cost: "/server/cpu_ns_per_delivery",
    cost_name: "CPU ns per delivery",
    unit: "deliveries",
    per_second: Some("/deliveries_per_second"),
    is_open_loop: true,
};

/// What the members of the rooms do.
#[derive(Clone, Debug, clap::Args)]
pub struct Shape {
    /// Rooms.
    #[arg(long, default_value_t = 4)]
    pub rooms: u32,
    /// Members of each room.
    #[arg(long, default_value_t = 50)]
    pub members: u32,
    /// Messages that each member says per second.
    #[arg(long, default_value_t = 20.0)]
    pub rate: f64,
    /// Bytes of a message, its header not counted.
    #[arg(long, default_value_t = 64)]
    pub body: usize,
    /// Seconds that are measured in each run.
    #[arg(long, default_value_t = 8.0)]
    pub seconds: f64,
    /// Seconds before them in which the members talk already.
    #[arg(long, default_value_t = 2.0)]
    pub warm_up: f64,
    /// Milliseconds between two looks of the load at what has come; 0: it reads at once, and has to be woken for each piece,
    /// which the server pays for. What it hears is later by up to as much.
    #[arg(long, value_name = "MS", default_value_t = 0.0)]
    pub look_every: f64,
}

impl Shape {
    /// Every message reaches every member of its room.
    pub fn deliveries_per_second(&self) -> f64 {
        f64::from(self.rooms) * f64::from(self.members).powi(2) * self.rate
    }

    /// True if these are the members of the defaults. How long they talk is another matter.
    pub fn is_standard(&self) -> bool {
        (self.rooms, self.members, self.rate, self.body) == (4, 50, 20.0, 64)
    }

    /// The same members, who speak as often as makes so many deliveries per second.
    pub fn with_deliveries_per_second(&self, wanted: f64) -> Shape {
        Shape { rate: self.rate * wanted / self.deliveries_per_second(), ..self.clone() }
    }

    pub fn job(&self) -> Job {
        let arguments = [
            ("--rooms", f64::from(self.rooms)),
            ("--members", f64::from(self.members)),
            ("--rate", self.rate),
            ("--body", self.body as f64),
            ("--seconds", self.seconds),
            ("--warm-up", self.warm_up),
            ("--look-every", self.look_every),
        ];
        Job::new(&ROOMS, "rooms", &arguments)
    }
}

/// What a load is told to do.
#[derive(Clone, Debug)]
pub struct Job {
    pub kind: &'static Kind,
    /// The load's subcommand and what it is told, beside the server.
    pub arguments: Vec<String>,
    /// How long is measured; 0 if that is as long as it takes.
    pub seconds: f64,
    /// How long it may take.
    seconds_max: f64,
}

impl Job {
    pub fn new(kind: &'static Kind, subcommand: &str, arguments: &[(&str, f64)]) -> Job {
        let told = arguments.iter().flat_map(|(name, value)| [(*name).to_owned(), value.to_string()]);
        let lasts = arguments.iter().filter(|(name, _)| ["--seconds", "--warm-up"].contains(name));
        Job {
            kind,
            arguments: std::iter::once(subcommand.to_owned()).chain(told).collect(),
            seconds: arguments.iter().find(|(name, _)| *name == "--seconds").map_or(0.0, |(_, seconds)| *seconds),
            seconds_max: PATIENCE_SECONDS + lasts.map(|(_, seconds)| seconds).sum::<f64>(),
        }
    }

    /// Has the load do it, and reads what it tells.
    ///
    /// # Errors
    /// An answer was wrong: nothing that was measured means anything then.
    pub fn play(&self, stage: &Stage, server: &Server) -> Result<Figures, Failure> {
        let load = stage.load();
        let mut bounded = Command::new("timeout");
        bounded.arg("--foreground").arg(self.seconds_max.to_string()).arg(load.get_program()).args(load.get_args());
        bounded.args(&self.arguments);
        bounded.args(["--target", &server.address.to_string(), "--server", &server.process().to_string()]);
        let said = crate::run::checked(&mut bounded)?;
        let line = said.lines().rev().find(|line| line.starts_with('{')).unwrap_or(&said);
        Figures::read(self.kind, serde_json::from_str::<Value>(line)?)
    }
}

/// A server, and what the load told of it.
#[derive(Clone, Debug)]
pub struct Run {
    pub contender: Contender,
    pub figures: Figures,
    unit: &'static str,
}

impl Run {
    /// Starts a server, lets the load do its job, ends it.
    ///
    /// # Errors
    /// See [`Job::play`].
    pub fn of(stage: &Stage, contender: Contender, place: Place, job: &Job) -> Result<Run, Failure> {
        let named = |error: Failure| format!("{}: {error}", contender.name());
        let server = stage.start(contender, place).map_err(named)?;
        let figures = job.play(stage, &server).map_err(named)?;
        stage.stop(server).map_err(named)?;
        Ok(Run::new(contender, job.kind, figures))
    }

    pub fn new(contender: Contender, kind: &Kind, figures: Figures) -> Run {
        Run { contender, figures, unit: kind.unit }
    }

    /// A line for whoever waits.
    pub fn line(&self) -> String {
        let Run { contender, figures, unit } = self;
        let told = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"));
        format!(
            "{:<20} {:>9} {unit}/s, {:>5.0} each, server {:>3} %, p50 {:>6} us, p99 {:>6} us, {}/{}, load {:.0} %{}",
            contender.name(),
            told(figures.per_second),
            figures.cost,
            told(figures.cpu_share.map(|share| share * 100.0)),
            told(figures.p50_us),
            told(figures.p99_us),
            figures.received,
            figures.expected,
            figures.load_share * 100.0,
            figures.marks(),
        )
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::figures::tests::told;
    use super::*;

    /// That of the defaults.
    pub(in super::super) fn shape() -> Shape {
        Shape { rooms: 4, members: 50, rate: 20.0, body: 64, seconds: 8.0, warm_up: 2.0, look_every: 0.0 }
    }

    /// A run in rooms of which the load told this.
    pub(in super::super) fn run_of(contender: Contender, alter: impl FnOnce(&mut Value)) -> Run {
        run_of_kind(&ROOMS, contender, alter)
    }

    pub(in super::super) fn run_of_kind(
        kind: &'static Kind,
        contender: Contender,
        alter: impl FnOnce(&mut Value),
    ) -> Run {
        let mut told = told();
        alter(&mut told);
        Run::new(contender, kind, Figures::read(kind, told).expect("nothing is wrong"))
    }

    #[test]
    fn a_shape_is_scaled_by_how_often_its_members_speak() {
        let shape = shape();
        assert_eq!(shape.deliveries_per_second(), 200_000.0);
        let scaled = shape.with_deliveries_per_second(1e6);
        assert_eq!((scaled.rate, scaled.members), (100.0, 50));
        assert_eq!([shape.is_standard(), scaled.is_standard()], [true, false]);
    }

    #[test]
    fn the_defaults_are_the_members_of_whom_something_is_wanted() {
        #[derive(clap::Parser)]
        struct Arguments {
            #[command(flatten)]
            shape: Shape,
        }
        assert!(<Arguments as clap::Parser>::parse_from(["rooms"]).shape.is_standard());
    }

    #[test]
    fn a_load_is_told_its_job_and_may_take_longer_than_that() {
        let job = shape().job();
        assert_eq!(job.arguments[..5], ["rooms", "--rooms", "4", "--members", "50"].map(str::to_owned));
        assert_eq!(job.seconds, 8.0);
        assert!(job.seconds_max > 10.0 && job.seconds_max < 600.0, "{}", job.seconds_max);
    }

    #[test]
    fn a_line_says_what_is_wrong_with_a_run() {
        let pogu = Contender::window(10);
        assert!(run_of(pogu, |_| {}).line().ends_with("100/100, load 50 %"));
        assert!(run_of(pogu, |told| told["received"] = 99.into()).line().ends_with("99/100, load 50 %, INCOMPLETE"));
    }
}
