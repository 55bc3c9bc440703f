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
    /// One with a kernel that takes every freedom, as this seed decides.
    RoughSim(u64),
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
            Driver::RoughSim(_) => "rough sim",
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
            Driver::RoughSim(seed) => Ok(Rc::new(Simulated::rough(seed))),
        }
    }

    /// Like [`world`](Driver::world), where the driver may be refused; anything else fails.
    fn world_if_any(self) -> Result<Rc<dyn World>, String> {
        self.world().map_err(|reason| self.refused(reason, std::env::var_os("POGU_REQUIRE_URING").is_some()))
    }

    /// Why this driver may be skipped as a whole: only io_uring is refused by some systems, and `required` says that it is
    /// not here.
    fn refused(self, reason: String, required: bool) -> String {
        assert!(self.may_be_refused() && !required, "{self} has to run here: {reason}");
        format!("io_uring is refused here: {reason}")
    }

    #[cfg(unix)]
    fn may_be_refused(self) -> bool {
        self == Driver::Uring
    }

    #[cfg(windows)]
    fn may_be_refused(self) -> bool {
        false
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
                let met = stage.world().faults().hits() > 0;
                assert_eq!(
                    met,
                    scenario.needs.contains(&Capability::Faults),
                    "faults are met where they are the point"
                );
                stage.assert_ended_well();
                return;
            }
            Some(reason) => reason,
        },
        Err(reason) => reason,
    };
    say(&format!("{driver}: SKIPPED {}: {skipped}\n", scenario.name));
}

/// Prints what is played and what is skipped in the world of `driver`, and returns what is skipped; if the driver is refused
/// here, which skips everything, why.
pub fn table(driver: Driver, scenarios: &[Scenario]) -> Result<Vec<&'static str>, String> {
    let world = match driver.world_if_any() {
        Ok(world) => world,
        Err(reason) => {
            say(&format!("{driver}: {0} scenarios, 0 played, {0} skipped: {reason}\n", scenarios.len()));
            return Err(reason);
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
    Ok(skips.into_iter().map(|(name, _)| name).collect())
}

fn lacks(world: &dyn World, scenario: &Scenario) -> Option<String> {
    scenario.needs.iter().find_map(|need| Some(format!("no {need}: {}", world.lacks(*need)?)))
}

/// Not `eprintln`, which the test harness would hide.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

#[test]
fn only_io_uring_may_be_refused_and_not_where_it_is_required() {
    let refused = |driver: Driver, required| std::panic::catch_unwind(|| driver.refused("EPERM".to_owned(), required));
    #[cfg(unix)]
    {
        assert_eq!(refused(Driver::Uring, false).expect("a skip"), "io_uring is refused here: EPERM");
        assert!(refused(Driver::Uring, true).is_err());
        assert!(refused(Driver::Readiness, false).is_err());
    }
    #[cfg(windows)]
    assert!(refused(Driver::Iocp, false).is_err());
    assert!(refused(Driver::Sim, false).is_err());
}
