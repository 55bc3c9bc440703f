//! The program that runs storms is built and started by the one that the user has started, and is told what it cannot find out.
//!
//! The commit is asked of git before the build: when something is found, the tree may have gone on, and a seed says nothing at a
//! commit that it does not belong to. (It may also have changed by what was found, which is written into the list of seeds.)
//!
//! ```text
//!   cargo xtask sim ---> commit, file --build--> sim ---> begins, ends seeds, tells what broke at that commit
//!        '<---------------- is the file still there? ------'
//! ```

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use super::running;
use crate::Failure;
use crate::commit::checked_out;
use crate::run::{cargo, root};
use crate::server::target;

/// What the program that is built is told.
pub struct Built {
    /// What it was built from.
    pub commit: String,
    /// Where the seeds stand that run.
    pub running: PathBuf,
}

/// Tells the program that it is the optimised one already.
const BUILT: &str = "POGU_SIM_BUILT";
const COMMIT: &str = "POGU_SIM_COMMIT";
const RUNNING: &str = "POGU_SIM_RUNNING";

impl Built {
    /// Of this program. `None` if it is not the optimised one.
    pub fn told() -> Result<Option<Built>, Failure> {
        Built::of(|name| std::env::var_os(name))
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<Built>, Failure> {
        if variable(BUILT).is_none() {
            return Ok(None);
        }
        // Who starts it by hand does not tell, and git would tell of another.
        let commit = variable(COMMIT).map_or("unknown".to_owned(), |commit| commit.to_string_lossy().into_owned());
        let running = variable(RUNNING).map_or_else(running_here, |path| Ok(path.into()))?;
        Ok(Some(Built { commit, running }))
    }

    /// Of the one that is to be built.
    pub fn soon() -> Result<Built, Failure> {
        Ok(Built { commit: checked_out(), running: running_here()? })
    }

    /// Builds it, and runs it with the arguments of this program.
    pub fn run(&self, plant: Option<&str>) -> Result<(), Failure> {
        running::remove(&self.running)?;
        let status = self.command(plant.is_some(), std::env::args_os().skip(1)).current_dir(root()?).status()?;
        match running::left(&self.running)? {
            Some(seeds) => Err(self.cut_off(&status.to_string(), &seeds, plant).into()),
            None if status.success() => Ok(()),
            None => Err("a storm broke something, or there is none: see above".into()),
        }
    }

    /// The same command in the profile for storms.
    fn command(&self, is_planted: bool, arguments: impl Iterator<Item = OsString>) -> Command {
        let mut command = cargo();
        command.args(["run", "--quiet", "--profile", "sim", "--package", "xtask"]);
        if is_planted {
            command.args(["--features", "planted"]);
        }
        command.arg("--").args(arguments);
        command.env(BUILT, "1").env(COMMIT, &self.commit).env(RUNNING, &self.running);
        command
    }

    /// Of a program that could say nothing at its end.
    fn cut_off(&self, how: &str, seeds: &[running::Seed], plant: Option<&str>) -> String {
        let file = self.running.display();
        let mut told = format!("it was cut off ({how}); what ran then stands in {file}:");
        for (size, seed) in seeds {
            told.push_str(&format!("\nseed {seed}, {size}; {}", pogu_storm::again(*seed, *size, plant)));
        }
        format!("{told}\ncommit: {}", self.commit)
    }

    /// A seed that differs from commit to commit: the first ten digits of its name.
    pub fn seed(&self) -> Option<u64> {
        u64::from_str_radix(self.commit.get(..10)?, 16).ok()
    }
}

fn running_here() -> Result<PathBuf, Failure> {
    let folder = std::path::absolute(root()?.join(target()))?;
    Ok(folder.join(format!("sim-running-{}", std::process::id())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pogu_storm::Size;

    use super::*;

    fn built(commit: &str) -> Built {
        Built { commit: commit.to_owned(), running: PathBuf::from("sim-running-1") }
    }

    #[test]
    fn the_program_is_told_the_commit_that_it_was_built_from() {
        let before = built("0123456789ab, with changes that are not committed");
        let command = before.command(true, ["sim", "--seeds", "1"].into_iter().map(OsString::from));
        let told: BTreeMap<_, _> = command.get_envs().collect();
        let told = |name: &str| told.get(std::ffi::OsStr::new(name)).copied().flatten().map(OsString::from);
        let after = Built::of(told).expect("a place for the seeds that run").expect("it is built");
        assert_eq!((after.commit, after.running), (before.commit, before.running));
        assert!(command.get_args().any(|argument| argument == "planted"));
        assert_eq!(command.get_args().last(), Some("1".as_ref()));
    }

    #[test]
    fn what_nobody_tells_is_not_asked_of_git() {
        let by_hand = Built::of(|name| (name == BUILT).then(|| "1".into())).expect("a place").expect("it is built");
        assert_eq!((by_hand.commit.as_str(), by_hand.seed()), ("unknown", None));
        assert!(by_hand.running.is_absolute());
        assert!(Built::of(|_| None).expect("no place is needed").is_none());
    }

    #[test]
    fn each_commit_has_seeds_of_its_own() {
        let seeds = ["00000000ffab", "0000000100ab, with changes", "ffffffffff"].map(|commit| built(commit).seed());
        assert_eq!(seeds, [Some(255), Some(256), Some((1 << 40) - 1)]);
        assert_eq!((built("unknown").seed(), built("not hexadecimal").seed()), (None, None));
    }

    #[test]
    fn a_program_that_was_cut_off_is_told_with_its_seeds() {
        let told = built("0123").cut_off("signal: 6", &[(Size::Small, 3), (Size::Small, 4)], Some("MissedWake"));
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines[0], "it was cut off (signal: 6); what ran then stands in sim-running-1:");
        assert_eq!(
            lines[2],
            "seed 4, small; again: cargo xtask sim --from 4 --seeds 1 --size small --trace --plant MissedWake"
        );
        assert_eq!((lines.len(), lines[3]), (4, "commit: 0123"));
    }
}
