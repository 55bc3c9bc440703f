//! What callgrind has counted, and what of it is pogu's.
//!
//! A profile has what each function took itself, and what each call of one function by another took altogether. By their names
//! some functions are known to be the engine's, and some the simulation's. All others (of the standard library, the C library,
//! allocation, the program that is counted) belong to whoever calls them, through however many of their own kind; who is called
//! by nobody, `main`, belongs to the simulation. What both call, such as `memcpy`, is split: to the engine goes what its own
//! calls took.
//!
//! Names are a safe border because the compiler cannot inline across it: the engine meets the drivers through `dyn Driver`,
//! `dyn Submit` and the sink, and the program calls the engine through a pointer. Where it would not hold, because a function that
//! both sides call leads back to one of them, nobody could say whose the cost is: that is an error, not a figure.

use std::collections::{BTreeMap, BTreeSet};

use crate::Failure;

/// Parts of the names of functions that stand for the kernel, the clock of which is read in place. Looked for first: the
/// simulated driver is generic over the engine's messages.
const SIMULATION: [&str; 2] = ["pogu_port::sim::", "pogu_port::clock::"];

/// Parts of the names of functions that are the engine's. The drivers' halves of `pogu_port` meet the engine in its port.
const ENGINE: [&str; 3] = ["pogu::", "pogu_wire::", "pogu_port::port::"];

/// Of what both sides call and lead back from, more than this share cannot be told apart.
const UNTOLD_SHARE_MAX: f64 = 0.01;

/// Whose a function is. Those that nobody calls, and that have no name to tell, are the simulation's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Engine,
    Simulation,
    Both,
}

/// What one run took.
#[derive(Default)]
pub struct Profile {
    /// By function, without what it calls.
    own: BTreeMap<String, u64>,
    /// By caller and callee, with all that this calls.
    calls: BTreeMap<(String, String), u64>,
}

/// What something takes, by function.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Cost(pub BTreeMap<String, f64>);

impl Profile {
    /// Reads what callgrind wrote, names and positions not compressed.
    pub fn read(text: &str) -> Result<Profile, Failure> {
        let mut profile = Profile::default();
        let (mut function, mut callee, mut is_call) = ("", "", false);
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                function = name;
            } else if let Some(name) = line.strip_prefix("cfn=") {
                callee = name;
            } else if line.starts_with("calls=") {
                is_call = true;
            } else if line.starts_with(|first: char| first.is_ascii_digit()) {
                let count = line.split(' ').nth(1).and_then(|count| count.parse::<u64>().ok());
                let count = count.ok_or_else(|| format!("callgrind wrote a line that is not understood: {line}"))?;
                match std::mem::take(&mut is_call) {
                    true => *profile.calls.entry((function.to_owned(), callee.to_owned())).or_default() += count,
                    false => *profile.own.entry(function.to_owned()).or_default() += count,
                }
            }
        }
        let summed_up =
            text.lines().find_map(|line| line.strip_prefix("totals: ")).and_then(|total| total.parse().ok());
        match summed_up == Some(profile.total()) {
            true => Ok(profile),
            false => Err(format!("{} instructions were read, callgrind says {summed_up:?}", profile.total()).into()),
        }
    }

    pub fn total(&self) -> u64 {
        self.own.values().sum()
    }

    /// What the engine took, as `sides` has it, and what cannot be told.
    fn of_engine(&self, sides: &BTreeMap<&str, Side>) -> (Cost, f64) {
        let side = |function: &str| sides.get(function).copied().unwrap_or(Side::Simulation);
        let (mut cost, mut untold) = (Cost::default(), 0.0);
        for (function, count) in self.own.iter().filter(|(function, _)| side(function) == Side::Engine) {
            cost.add(function, *count as f64);
        }
        for ((caller, callee), count) in &self.calls {
            match (side(caller), side(callee)) {
                (Side::Engine, Side::Both) => cost.add(&shared(callee), *count as f64),
                (Side::Both, Side::Engine | Side::Simulation) => untold += *count as f64,
                _ => {}
            }
        }
        (cost, untold)
    }
}

impl Cost {
    /// What the engine took more in `more` than in `fewer`.
    pub fn of_engine(fewer: &Profile, more: &Profile) -> Result<Cost, Failure> {
        let calls = || fewer.calls.keys().chain(more.calls.keys()).map(|(from, to)| (from.as_str(), to.as_str()));
        let sides = sides(&calls().collect());
        let (mut cost, untold) = more.of_engine(&sides);
        let (before, untold_before) = fewer.of_engine(&sides);
        before.0.iter().for_each(|(function, count)| cost.add(function, -count));
        cost.0.retain(|_, count| *count != 0.0);
        let untold = untold - untold_before;
        match () {
            () if cost.total() <= 0.0 => {
                Err("no instruction is the engine's: are the names of functions as expected?".into())
            }
            () if untold > cost.total() * UNTOLD_SHARE_MAX => {
                Err(format!("of {untold} instructions nobody can say whether they are the engine's").into())
            }
            () => Ok(cost),
        }
    }

    pub fn total(&self) -> f64 {
        self.0.values().sum()
    }

    pub fn divided_by(mut self, operations: f64) -> Cost {
        self.0.values_mut().for_each(|count| *count /= operations);
        self
    }

    fn add(&mut self, function: &str, count: f64) {
        *self.0.entry(function.to_owned()).or_default() += count;
    }
}

/// How a function is called that both sides call. Those of the C library have other names where its debug symbols are installed.
fn shared(function: &str) -> String {
    match function.contains("::") {
        true => function.to_owned(),
        false => "the C library".to_owned(),
    }
}

fn side_by_name(function: &str) -> Option<Side> {
    let has = |part: &&str| function.match_indices(*part).any(|(at, _)| is_path_start(function, at));
    match () {
        () if SIMULATION.iter().any(has) => Some(Side::Simulation),
        () if ENGINE.iter().any(has) => Some(Side::Engine),
        () => None,
    }
}

/// Whether a path may begin there: not in the midst of a longer name.
fn is_path_start(function: &str, at: usize) -> bool {
    let before = function.get(..at).and_then(|before| before.chars().next_back());
    !before.is_some_and(|before| before.is_alphanumeric() || before == '_' || before == ':')
}

/// Whose each function is: by its name, or by those who call it.
fn sides<'a>(calls: &BTreeSet<(&'a str, &'a str)>) -> BTreeMap<&'a str, Side> {
    let functions: BTreeSet<&str> = calls.iter().flat_map(|(caller, callee)| [*caller, *callee]).collect();
    let called: BTreeSet<&str> = calls.iter().map(|(_, callee)| *callee).collect();
    let named = |function: &&'a str| Some((*function, side_by_name(function)?));
    let mut sides: BTreeMap<&str, Side> = functions.iter().filter_map(named).collect();
    for function in functions.difference(&called) {
        sides.entry(*function).or_insert(Side::Simulation);
    }
    let is_unnamed = |(_, callee): &(&str, &str)| side_by_name(callee).is_none();
    let unnamed: Vec<(&str, &str)> = calls.iter().copied().filter(is_unnamed).collect();
    loop {
        let mut has_changed = false;
        for (caller, callee) in unnamed.iter().copied() {
            let Some(from) = sides.get(caller).copied() else { continue };
            let before = sides.get(callee).copied();
            let now = before.filter(|before| *before != from).map_or(from, |_| Side::Both);
            has_changed |= before != Some(now);
            sides.insert(callee, now);
        }
        if !has_changed {
            return sides;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A turn of the engine (100 itself, of which 10 are an allocation) within a kernel that copies, and in which it copies.
    const TURN: &str = "\
version: 1
events: Ir
fl=a.rs
fn=main
1 7
cfn=<pogu::worker::Worker>::dispatch
calls=1 5
2 470
fn=<pogu::worker::Worker>::dispatch
5 60
fi=inlined.rs
6 30
fe=a.rs
cfn=<alloc::raw_vec::RawVec<u8>>::grow_one
calls=1 0
7 10
cfn=memcpy
calls=2 0
7 20
cfn=<pogu_port::sim::Simulated as pogu_port::driver::Driver<pogu::message::Message>>::turn
calls=1 9
8 350
fn=<alloc::raw_vec::RawVec<u8>>::grow_one
0 10
fn=<pogu_port::sim::Simulated as pogu_port::driver::Driver<pogu::message::Message>>::turn
9 300
cfn=memcpy
calls=1 0
9 50
fn=memcpy
0 70
totals: 477
";

    fn profile(text: &str) -> Profile {
        Profile::read(text).expect("a profile")
    }

    fn nothing() -> Profile {
        profile("fn=main\n1 7\ntotals: 7\n")
    }

    #[test]
    fn the_engine_has_its_own_what_it_alone_calls_and_its_share_of_what_both_call() {
        let cost = Cost::of_engine(&nothing(), &profile(TURN)).expect("it can be told");
        let expected = [
            ("<alloc::raw_vec::RawVec<u8>>::grow_one", 10.0),
            ("<pogu::worker::Worker>::dispatch", 90.0),
            ("the C library", 20.0),
        ];
        assert_eq!(cost, Cost(expected.map(|(function, count)| (function.to_owned(), count)).into()));
        assert_eq!(profile(TURN).total(), 477);
    }

    #[test]
    fn a_difference_is_what_came_in_addition() {
        let twice = TURN.replace("5 60\n", "5 60\n5 60\n").replace("477", "537");
        let cost = Cost::of_engine(&profile(TURN), &profile(&twice)).expect("it can be told");
        assert_eq!(cost.divided_by(10.0), Cost([("<pogu::worker::Worker>::dispatch".to_owned(), 6.0)].into()));
    }

    #[test]
    fn what_leads_back_from_a_function_of_both_is_no_figure() {
        let back = "fn=memcpy\ncfn=<pogu::worker::State>::complete\ncalls=1 1\n1 50\ntotals";
        let text = TURN.replace("totals", back);
        assert!(Cost::of_engine(&nothing(), &profile(&text)).is_err());
    }

    #[test]
    fn a_profile_that_is_not_understood_is_no_figure() {
        let unnamed = profile(&TURN.replace("pogu", "unheard_of"));
        assert!(Cost::of_engine(&nothing(), &unnamed).is_err(), "nothing is the engine's");
        assert!(Profile::read("fn=main\n+1 7\ntotals: 7\n").is_err(), "a compressed position was left out");
        assert!(Profile::read("fn=main\n1\ntotals: 7\n").is_err());
        assert!(Profile::read("fn=main\n1 7\n").is_err(), "cut off");
    }

    #[test]
    fn names_tell_sides() {
        for (name, expected) in [
            ("<pogu_wire::format::FrameFormat>::decode", Some(Side::Engine)),
            ("core::ptr::drop_in_place::<pogu::message::Message>", Some(Side::Engine)),
            ("<instructions::Player as pogu::session::Session>::on_packet", Some(Side::Engine)),
            ("<pogu_port::sim::table::Table as pogu_port::driver::Submit>::send", Some(Side::Simulation)),
            ("core::ptr::drop_in_place::<pogu_port::sim::kernel::Kernel>", Some(Side::Simulation)),
            ("<pogu_port::gather::Gather>::push", None),
            ("instructions::main", None),
            ("other::pogu::main", None),
            ("my_pogu::main", None),
        ] {
            assert_eq!(side_by_name(name), expected, "{name}");
        }
    }
}
