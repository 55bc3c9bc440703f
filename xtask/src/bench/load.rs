//! One run: a server of its own, a load on it, and what came of that.

use serde_json::Value;

use super::contender::{Contender, Stage};
use crate::Failure;

/// Above this share of its processor the load may have been what was slow.
const LOAD_SHARE_MAX: f64 = 0.9;

/// Above this share of its processor the server has no more to give: it sends as often as it can, gathers what comes meanwhile,
/// and what a delivery costs is its processor divided by the deliveries, whoever it is.
const SERVER_SHARE_MAX: f64 = 0.9;

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
}

/// What the load told of a run in which every answer was right.
#[derive(Clone, Debug)]
pub struct Run {
    pub contender: Contender,
    pub cpu_ns_per_delivery: f64,
    pub cpu_share: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub deliveries_per_second: f64,
    pub expected: u64,
    pub received: u64,
    pub load_share: f64,
    is_whole: bool,
    /// All of it, for the file.
    pub told: Value,
}

impl Run {
    /// Starts a server, lets the members talk, ends it.
    ///
    /// # Errors
    /// An answer was wrong: nothing that was measured means anything then.
    pub fn of(stage: &Stage, contender: Contender, shape: &Shape) -> Result<Run, Failure> {
        let server = stage.start(contender)?;
        let mut load = stage.load();
        load.args(["rooms", "--target", &server.address.to_string(), "--server", &server.process().to_string()]);
        for (name, value) in [
            ("--rooms", f64::from(shape.rooms)),
            ("--members", f64::from(shape.members)),
            ("--rate", shape.rate),
            ("--body", shape.body as f64),
            ("--seconds", shape.seconds),
            ("--warm-up", shape.warm_up),
            ("--look-every", shape.look_every),
        ] {
            load.args([name, &value.to_string()]);
        }
        let said = crate::run::checked(&mut load)?;
        server.stop()?;
        Run::read(contender, serde_json::from_str(&said)?)
            .map_err(|error| format!("{}: {error}", contender.name()).into())
    }

    fn read(contender: Contender, told: Value) -> Result<Run, Failure> {
        let number = |pointer: &str| {
            let value = told.pointer(pointer).and_then(Value::as_f64);
            value.ok_or_else(|| format!("the load did not tell {pointer}: {told}"))
        };
        for wrong in ["/foreign", "/duplicates", "/late", "/orders_differing"] {
            if number(wrong)? > 0.0 {
                return Err(format!("void, an answer was wrong: {told}").into());
            }
        }
        let (expected, received) = (number("/expected")? as u64, number("/received")? as u64);
        if expected == 0 {
            return Err("void: nothing was said".into());
        }
        Ok(Run {
            contender,
            cpu_ns_per_delivery: number("/server/cpu_ns_per_delivery")?,
            cpu_share: number("/server/cpu_share")?,
            p50_us: number("/p50_us")?,
            p99_us: number("/p99_us")?,
            deliveries_per_second: number("/deliveries_per_second")?,
            expected,
            received,
            load_share: number("/load_cpu_share")?,
            is_whole: received == expected && number("/missing")? == 0.0 && number("/cut_off")? == 0.0,
            told,
        })
    }

    /// True if nothing that was said is missing anywhere, and nobody was cut off.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// True if the load may have been what was slow.
    pub fn is_load_bound(&self) -> bool {
        self.load_share > LOAD_SHARE_MAX
    }

    /// True if the server was saturated: then its latency says something, and its cost nothing.
    pub fn is_saturated(&self) -> bool {
        self.cpu_share > SERVER_SHARE_MAX
    }

    /// A line for whoever waits.
    pub fn line(&self) -> String {
        let marks = [
            (!self.is_whole, ", INCOMPLETE"),
            (self.is_saturated(), ", SERVER SATURATED"),
            (self.is_load_bound(), ", LOAD SHORT OF CPU"),
        ];
        let marks: String = marks.iter().filter(|(holds, _)| *holds).map(|(_, mark)| *mark).collect();
        format!(
            "{:<20} {:>9.0} deliveries/s, {:>5.0} ns each, server {:>3.0} %, p50 {:>6.0} us, p99 {:>6.0} us, {}/{}, load {:.0} %{marks}",
            self.contender.name(),
            self.deliveries_per_second,
            self.cpu_ns_per_delivery,
            self.cpu_share * 100.0,
            self.p50_us,
            self.p99_us,
            self.received,
            self.expected,
            self.load_share * 100.0,
        )
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// That of the defaults.
    pub(in super::super) fn shape() -> Shape {
        Shape { rooms: 4, members: 50, rate: 20.0, body: 64, seconds: 8.0, warm_up: 2.0, look_every: 0.0 }
    }

    /// A run of which the load told this.
    pub(in super::super) fn run_of(contender: Contender, alter: impl FnOnce(&mut Value)) -> Run {
        let mut told = told();
        alter(&mut told);
        Run::read(contender, told).expect("nothing is wrong")
    }

    fn told() -> Value {
        json!({
            "expected": 100, "received": 100, "missing": 0, "foreign": 0, "duplicates": 0, "late": 0, "orders_differing": 0,
            "cut_off": 0, "deliveries_per_second": 50.0, "p50_us": 10.0, "p99_us": 20.0,
            "load_cpu_share": 0.5, "server": { "cpu_ns_per_delivery": 900.0, "cpu_share": 0.4 },
        })
    }

    fn read(key: &str, value: u64) -> Result<Run, Failure> {
        let mut told = told();
        told[key] = value.into();
        Run::read(Contender::Pogu { window_milliseconds: 0 }, told)
    }

    #[test]
    fn one_wrong_answer_makes_a_run_void() {
        assert!(read("foreign", 0).expect("nothing is wrong").is_whole());
        for wrong in ["foreign", "duplicates", "late", "orders_differing"] {
            assert!(read(wrong, 1).is_err(), "{wrong}");
        }
        assert!(read("expected", 0).is_err(), "who says nothing hears nothing wrong");
    }

    #[test]
    fn what_is_missing_is_told() {
        for (key, value) in [("received", 99), ("missing", 1), ("cut_off", 1)] {
            assert!(!read(key, value).expect("incomplete, not wrong").is_whole(), "{key}");
        }
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
}
