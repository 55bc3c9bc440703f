//! What has become of the mutants of a piece, file by file.
//!
//! Each round of a piece tries what the one before has missed, and a run that is interrupted goes on later. So verdicts are
//! written to a file of their own, and a later one takes the place of an earlier one:
//!
//! ```text
//!   caught crates/pogu-wire/src/varint.rs:33:16: replace & with | in read
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use crate::Failure;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// A test failed.
    Caught,
    /// No test did.
    Missed,
    /// A test did not end. The machine may have been busy.
    Hung,
    /// A test did not end, and once more did not.
    HungAgain,
    /// The compiler refused it: no mutant.
    Unviable,
}

/// What has to be caught.
const SHARE_MIN: f64 = 0.9;

/// The lists that `cargo mutants` writes.
const LISTS: [(&str, Verdict); 4] = [
    ("caught.txt", Verdict::Caught),
    ("missed.txt", Verdict::Missed),
    ("timeout.txt", Verdict::Hung),
    ("unviable.txt", Verdict::Unviable),
];

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Caught => "caught",
            Verdict::Missed => "missed",
            Verdict::Hung => "hung",
            Verdict::HungAgain => "hung-again",
            Verdict::Unviable => "unviable",
        }
    }

    fn named(name: &str) -> Option<Verdict> {
        let all = LISTS.map(|(_, verdict)| verdict).into_iter().chain([Verdict::HungAgain]);
        all.into_iter().find(|verdict| verdict.name() == name)
    }
}

/// By the mutant's line, as `file:line:column: what`. `None` if it was not tried.
#[derive(Debug)]
pub struct Verdicts(BTreeMap<String, Option<Verdict>>);

impl Verdicts {
    /// Of what `cargo mutants --list` says: nothing was tried.
    pub fn of(listed: &str) -> Verdicts {
        Verdicts(listed.lines().map(|mutant| (mutant.to_owned(), None)).collect())
    }

    /// Takes over what was written down before, of mutants that still exist.
    pub fn remember(&mut self, file: &Path) -> Result<(), Failure> {
        for line in std::fs::read_to_string(file)?.lines() {
            let (name, mutant) = line.split_once(' ').ok_or("a verdict without a mutant")?;
            self.enter(mutant, Verdict::named(name).ok_or_else(|| format!("{name:?} is no verdict"))?);
        }
        Ok(())
    }

    /// Takes over the lists of a round.
    pub fn read(&mut self, lists: &Path) -> Result<(), Failure> {
        for (list, verdict) in LISTS {
            std::fs::read_to_string(lists.join(list))?.lines().for_each(|mutant| self.enter(mutant, verdict));
        }
        Ok(())
    }

    /// Takes over the lists of those that had hung and were tried once more.
    pub fn read_again(&mut self, lists: &Path) -> Result<(), Failure> {
        self.read(lists)?;
        for mutant in std::fs::read_to_string(lists.join("timeout.txt"))?.lines() {
            self.enter(mutant, Verdict::HungAgain);
        }
        Ok(())
    }

    /// Those that have hung, and were not tried again.
    pub fn hung(&self) -> Vec<&str> {
        self.with(Verdict::Hung).collect()
    }

    /// Those that have hung twice, in the same round.
    pub fn hung_again(&self) -> Vec<&str> {
        self.with(Verdict::HungAgain).collect()
    }

    /// The files of the mutants.
    pub fn files(&self) -> BTreeSet<&str> {
        self.0.keys().filter_map(|mutant| mutant.split(':').next()).collect()
    }

    fn with(&self, wanted: Verdict) -> impl Iterator<Item = &str> {
        let wanted = self.0.iter().filter(move |(_, verdict)| **verdict == Some(wanted));
        wanted.map(|(mutant, _)| mutant.as_str())
    }

    fn enter(&mut self, mutant: &str, verdict: Verdict) {
        // What has hung twice is not tried any more: a list that has it is older.
        let is_old = |before| before == Some(Verdict::HungAgain) && verdict == Verdict::Hung;
        if let Some(entry) = self.0.get_mut(mutant).filter(|entry| !is_old(**entry)) {
            *entry = Some(verdict);
        }
    }

    pub fn write(&self, file: &Path) -> Result<(), Failure> {
        let tried = self.0.iter().filter_map(|(mutant, verdict)| verdict.map(|verdict| (verdict, mutant)));
        let lines: String = tried.map(|(verdict, mutant)| format!("{} {mutant}\n", verdict.name())).collect();
        Ok(std::fs::write(file, lines)?)
    }

    /// Why this does not do; `None` if all was tried and enough is caught.
    pub fn shortfall(&self) -> Option<String> {
        let counts = self.counts();
        match counts.untried {
            0 if counts.share() >= SHARE_MIN => None,
            0 => Some(format!("{:.1} % are caught, not {:.0} %", counts.share() * 100.0, SHARE_MIN * 100.0)),
            untried => Some(format!("not all of it was tried: {untried} are left")),
        }
    }

    fn counts(&self) -> Counts {
        self.0.values().fold(Counts::default(), |counts, verdict| counts.with(*verdict))
    }
}

/// The mutants of one file, or of all.
#[derive(Clone, Copy, Default)]
struct Counts {
    caught: usize,
    missed: usize,
    hung: usize,
    hung_again: usize,
    unviable: usize,
    untried: usize,
}

impl Counts {
    fn with(mut self, verdict: Option<Verdict>) -> Counts {
        *match verdict {
            Some(Verdict::Caught) => &mut self.caught,
            Some(Verdict::Missed) => &mut self.missed,
            Some(Verdict::Hung) => &mut self.hung,
            Some(Verdict::HungAgain) => &mut self.hung_again,
            Some(Verdict::Unviable) => &mut self.unviable,
            None => &mut self.untried,
        } += 1;
        self
    }

    /// How much is caught of what could be tried.
    fn share(self) -> f64 {
        (self.caught + self.hung_again) as f64 / self.tried().max(1) as f64
    }

    fn tried(self) -> usize {
        self.caught + self.hung + self.hung_again + self.missed
    }
}

impl fmt::Display for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut files: BTreeMap<&str, Counts> = BTreeMap::new();
        for (mutant, verdict) in &self.0 {
            let file = mutant.split(':').next().unwrap_or_default();
            for counts in [file, "~ all"].map(|key| (key, *verdict)) {
                let entry = files.entry(counts.0).or_default();
                *entry = entry.with(counts.1);
            }
        }
        writeln!(f, "{:<42} caught missed hung again unviable untried share", "file")?;
        for (file, counts) in &files {
            let Counts { caught, missed, hung, hung_again, unviable, untried } = counts;
            let share = match counts.tried() {
                0 => "-".to_owned(),
                _ => format!("{:.0} %", counts.share() * 100.0),
            };
            write!(f, "{file:<42} {caught:>6} {missed:>6} {hung:>4} {hung_again:>5} {unviable:>8} {untried:>7}")?;
            writeln!(f, " {share:>5}")?;
        }
        for verdict in [Verdict::Missed, Verdict::Hung, Verdict::HungAgain] {
            self.with(verdict).try_for_each(|mutant| writeln!(f, "{}: {mutant}", verdict.name()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "a.rs:1:1: delete !\na.rs:2:1: replace f with ()\na.rs:3:1: delete -\nb.rs:1:1: delete !\n";

    #[test]
    fn a_later_verdict_takes_the_place_of_an_earlier_one() {
        let mut verdicts = Verdicts::of(LISTED);
        assert!(verdicts.counts().share() < 0.001, "what was not tried is not caught");
        assert!(verdicts.files().into_iter().eq(["a.rs", "b.rs"]));
        verdicts.enter("a.rs:1:1: delete !", Verdict::Missed);
        verdicts.enter("a.rs:2:1: replace f with ()", Verdict::Caught);
        verdicts.enter("a.rs:3:1: delete -", Verdict::Unviable);
        verdicts.enter("c.rs:1:1: gone since", Verdict::Missed);
        assert!((verdicts.counts().share() - 0.5).abs() < 0.001);
        verdicts.enter("a.rs:1:1: delete !", Verdict::Hung);
        assert_eq!(verdicts.hung(), ["a.rs:1:1: delete !"]);
        assert!((verdicts.counts().share() - 0.5).abs() < 0.001, "the machine may have been busy");
        verdicts.enter("a.rs:1:1: delete !", Verdict::HungAgain);
        assert!((verdicts.counts().share() - 1.0).abs() < 0.001 && verdicts.hung().is_empty());
        verdicts.enter("a.rs:1:1: delete !", Verdict::Hung);
        assert_eq!(verdicts.hung_again(), ["a.rs:1:1: delete !"], "as the list of its round says for ever");
        let said = verdicts.to_string();
        let rows: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["a.rs", "1", "0", "0", "1", "1", "0", "100", "%"]);
        assert_eq!(rows[2], ["b.rs", "0", "0", "0", "0", "0", "1", "-"]);
        assert_eq!(rows[3][2..7], ["1", "0", "0", "1", "1"]);
        assert_eq!(rows[4], ["hung-again:", "a.rs:1:1:", "delete", "!"]);
    }

    #[test]
    fn what_was_not_tried_does_not_pass() {
        let mut verdicts = Verdicts::of(LISTED);
        let tried = ["a.rs:1:1: delete !", "a.rs:2:1: replace f with ()", "a.rs:3:1: delete -"];
        tried.into_iter().for_each(|mutant| verdicts.enter(mutant, Verdict::Caught));
        assert_eq!(verdicts.shortfall().as_deref(), Some("not all of it was tried: 1 are left"));
        verdicts.enter("b.rs:1:1: delete !", Verdict::Missed);
        assert_eq!(verdicts.shortfall().as_deref(), Some("75.0 % are caught, not 90 %"));
        verdicts.enter("b.rs:1:1: delete !", Verdict::Unviable);
        assert_eq!(verdicts.shortfall(), None);
    }

    #[test]
    fn verdicts_are_remembered_of_mutants_that_still_exist() {
        let file = std::env::temp_dir().join(format!("pogu-xtask-verdicts-{}", std::process::id()));
        let mut before = Verdicts::of(LISTED);
        before.enter("a.rs:1:1: delete !", Verdict::Caught);
        before.enter("b.rs:1:1: delete !", Verdict::Missed);
        before.write(&file).expect("written");
        let mut after = Verdicts::of("a.rs:1:1: delete !\n");
        after.remember(&file).expect("read");
        std::fs::remove_file(&file).expect("it was there");
        assert_eq!(after.0.into_values().collect::<Vec<_>>(), [Some(Verdict::Caught)]);
    }
}
