//! Which scenario is played in which world, and the table that says so.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::rc::Rc;
use std::time::Duration;

use pogu_port::{DriverChoice, Selection};

use super::kernel::Kernel;
use super::simulated::Simulated;
use super::stage::Stage;
use super::world::{Capability, World};

/// A rule of the contract as something to play.
pub struct Scenario {
    pub name: &'static str,
    /// What its world must have.
    pub needs: &'static [Capability],
    pub play: fn(&Stage),
}

/// The drivers, each with its world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Driver {
    #[cfg(unix)]
    Readiness,
    #[cfg(unix)]
    Uring,
    #[cfg(windows)]
    Iocp,
    /// A network in memory whose peers are near.
    Sim,
    /// The same with a way of some milliseconds to every peer.
    FarSim,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(unix)]
            Driver::Readiness => "readiness",
            #[cfg(unix)]
            Driver::Uring => "uring",
            #[cfg(windows)]
            Driver::Iocp => "iocp",
            Driver::Sim => "sim",
            Driver::FarSim => "far sim",
        })
    }
}

impl Driver {
    /// A new world for one scenario, or why this driver cannot run here at all.
    fn world(self) -> Result<Rc<dyn World>, String> {
        let kernel = |choice| Selection::choose(choice).map(Kernel::new).map_err(|unavailable| unavailable.to_string());
        match self {
            #[cfg(unix)]
            Driver::Readiness => Ok(Rc::new(kernel(DriverChoice::Readiness)?)),
            #[cfg(unix)]
            Driver::Uring => Ok(Rc::new(kernel(DriverChoice::Uring)?)),
            #[cfg(windows)]
            Driver::Iocp => Ok(Rc::new(kernel(DriverChoice::Iocp)?)),
            Driver::Sim => Ok(Rc::new(Simulated::new(Duration::ZERO))),
            Driver::FarSim => Ok(Rc::new(Simulated::new(Duration::from_millis(3)))),
        }
    }

    /// Like [`world`](Driver::world). Fails where `POGU_REQUIRE_URING` says that it can, and where nothing may refuse it.
    fn world_if_any(self) -> Result<Rc<dyn World>, String> {
        let world = self.world();
        if let Err(reason) = &world {
            assert!(cfg!(unix) && std::env::var_os("POGU_REQUIRE_URING").is_none(), "{reason}");
        }
        world
    }
}

/// Plays `scenario` in the world of `driver`. It is skipped only where that world says that it lacks what it needs.
pub fn play(driver: Driver, scenario: &Scenario) {
    let skipped = match driver.world_if_any() {
        Ok(world) => match lacks(&*world, scenario) {
            None => {
                let stage = Stage::new(world);
                (scenario.play)(&stage);
                assert!(stage.stations() > 0, "it returned without a port: that is a skip in disguise");
                stage.assert_ended_well();
                return;
            }
            Some(reason) => reason,
        },
        Err(reason) => reason,
    };
    say(&format!("{driver}: SKIPPED {}: {skipped}\n", scenario.name));
}

/// Prints what is played and what is skipped in the world of `driver`, and returns what is skipped.
pub fn table(driver: Driver, scenarios: &[Scenario]) -> Vec<&'static str> {
    let world = match driver.world_if_any() {
        Ok(world) => world,
        Err(reason) => {
            say(&format!("{driver}: all {} scenarios skipped: {reason}\n", scenarios.len()));
            return Vec::new();
        }
    };
    let skips: Vec<_> =
        scenarios.iter().filter_map(|scenario| Some((scenario.name, lacks(&*world, scenario)?))).collect();
    let played = scenarios.len() - skips.len();
    let mut text = format!("{driver}: {} scenarios, {played} played, {} skipped\n", scenarios.len(), skips.len());
    for (name, reason) in &skips {
        writeln!(text, "  skipped {name}: {reason}").expect("memory takes it");
    }
    say(&text);
    skips.into_iter().map(|(name, _)| name).collect()
}

fn lacks(world: &dyn World, scenario: &Scenario) -> Option<String> {
    scenario.needs.iter().find_map(|need| Some(format!("no {need}: {}", world.lacks(*need)?)))
}

/// Not `eprintln`, which the test harness would hide.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
