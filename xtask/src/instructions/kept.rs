//! What the repository keeps: for each path its instructions, and which functions they are spent in, so that whoever makes one
//! worse is told where.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::HotPath;
use super::count::{Count, Counter};
use super::profile::Cost;
use crate::Failure;

/// More than this fails; so much better asks to be kept.
pub const WORSE_PERCENT_MAX: f64 = 5.0;

/// Of the functions that take more, so many are named.
const GROWTH_LINES_MAX: usize = 12;

/// Differences of a function below this are not told.
const GROWTH_MIN: f64 = 0.1;

/// How a path stands beside what is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Same,
    Worse,
    Better,
}

pub fn judge(kept: f64, now: f64) -> Verdict {
    let percent = percent(kept, now);
    match () {
        () if percent > WORSE_PERCENT_MAX => Verdict::Worse,
        () if percent < -WORSE_PERCENT_MAX => Verdict::Better,
        () => Verdict::Same,
    }
}

fn percent(kept: f64, now: f64) -> f64 {
    (now - kept) * 100.0 / kept
}

/// For people. What rounds to nothing has no sign of less.
pub fn change(kept: f64, now: f64) -> String {
    format!("{:+.1} %", (percent(kept, now) * 10.0).round() / 10.0 + 0.0)
}

/// See the [module](self).
#[derive(Clone, PartialEq, Debug)]
pub struct Kept {
    tools: String,
    paths: BTreeMap<String, Cost>,
}

impl Kept {
    pub fn empty(counter: &Counter) -> Kept {
        Kept { tools: counter.tools(), paths: BTreeMap::new() }
    }

    pub fn read() -> Result<Kept, Failure> {
        let file = file();
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        Kept::parse(&text)
    }

    fn parse(text: &str) -> Result<Kept, Failure> {
        let value: Value = serde_json::from_str(text)?;
        let tools = value.get("tools").and_then(Value::as_str).ok_or("the kept figures do not name their tools")?;
        let paths = value.get("paths").and_then(Value::as_object).ok_or("no figures are kept")?;
        let paths = paths.iter().map(|(name, path)| Ok((name.clone(), cost(name, path)?)));
        Ok(Kept { tools: tools.to_owned(), paths: paths.collect::<Result<_, Failure>>()? })
    }

    fn text(&self) -> Result<String, Failure> {
        let path = |(name, cost): (&String, &Cost)| {
            let functions: Map<String, Value> =
                cost.0.iter().map(|(function, count)| (function.clone(), json!(rounded(*count)))).collect();
            (name.clone(), json!({ "instructions": rounded(cost.total()), "by_function": functions }))
        };
        let paths: Map<String, Value> = self.paths.iter().map(path).collect();
        Ok(format!("{:#}\n", json!({ "tools": self.tools, "paths": paths })))
    }

    pub fn write(&self) -> Result<(), Failure> {
        std::fs::write(file(), self.text()?)?;
        println!("written: docs/benchmarks/instructions.json");
        Ok(())
    }

    pub fn tools(&self) -> &str {
        &self.tools
    }

    pub fn is_of(&self, counter: &Counter) -> bool {
        self.tools == counter.tools()
    }

    pub fn put(&mut self, count: &Count) {
        self.paths.insert(count.path.name().to_owned(), count.cost.clone());
    }

    fn cost(&self, path: HotPath) -> Result<&Cost, Failure> {
        let name = path.name();
        let missing = || format!("nothing is kept of {name}: `cargo xtask instructions --keep`");
        Ok(self.paths.get(name).ok_or_else(missing)?)
    }

    pub fn instructions(&self, path: HotPath) -> Result<f64, Failure> {
        Ok(self.cost(path)?.total())
    }

    pub fn judge(&self, count: &Count) -> Result<Verdict, Failure> {
        Ok(judge(self.instructions(count.path)?, count.instructions()))
    }

    /// The functions that take more than they did, most of all first.
    pub fn growth(&self, count: &Count) -> Result<Vec<String>, Failure> {
        let before = self.cost(count.path)?;
        let mut grown: Vec<(f64, f64, &str)> = count
            .cost
            .0
            .iter()
            .map(|(function, now)| (before.0.get(function).copied().unwrap_or(0.0), *now, function.as_str()))
            .filter(|(before, now, _)| now - before >= GROWTH_MIN)
            .collect();
        grown.sort_by(|one, other| (other.1 - other.0).total_cmp(&(one.1 - one.0)));
        let line = |(before, now, function): (f64, f64, &str)| {
            format!("{:+10.2}  ({before:.2} -> {now:.2})  {function}", now - before)
        };
        Ok(grown.into_iter().take(GROWTH_LINES_MAX).map(line).collect())
    }
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks/instructions.json")
}

/// The functions of a path, which have to add up to what is kept as their sum: half a file edited is none.
fn cost(name: &str, path: &Value) -> Result<Cost, Failure> {
    let functions = path.get("by_function").and_then(Value::as_object);
    let functions = functions.ok_or_else(|| format!("the kept figures of {name} name no functions"))?;
    let number = |(function, count): (&String, &Value)| Some((function.clone(), count.as_f64()?));
    let cost = functions.iter().map(number).collect::<Option<BTreeMap<String, f64>>>().map(Cost);
    let cost = cost.ok_or_else(|| format!("a kept figure of {name} is no number"))?;
    let sum = path.get("instructions").and_then(Value::as_f64);
    match sum.is_some_and(|sum| sum > 0.0 && (sum - cost.total()).abs() < 1.0) {
        true => Ok(cost),
        false => Err(format!("the kept figures of {name} do not add up to {sum:?}").into()),
    }
}

fn rounded(count: f64) -> f64 {
    (count * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_five_percent_worse_fails_and_less_does_not() {
        for (now, expected) in [
            (1051.0, Verdict::Worse),
            (1049.0, Verdict::Same),
            (1050.0, Verdict::Same),
            (1000.0, Verdict::Same),
            (951.0, Verdict::Same),
            (949.0, Verdict::Better),
            (2000.0, Verdict::Worse),
        ] {
            assert_eq!(judge(1000.0, now), expected, "{now}");
        }
        assert_eq!([1051.0, 999.99, 949.0].map(|now| change(1000.0, now)), ["+5.1 %", "+0.0 %", "-5.1 %"]);
    }

    #[test]
    fn what_is_kept_is_read_as_it_was_written() {
        let cost = |functions: &[(&str, f64)]| {
            Cost(functions.iter().map(|(function, count)| ((*function).to_owned(), *count)).collect())
        };
        let paths = [("decode", cost(&[("a", 80.0), ("b", 9.25)])), ("send", cost(&[("a", 1366.0)]))];
        let paths = paths.map(|(name, cost)| (name.to_owned(), cost)).into();
        let kept = Kept { tools: "a compiler".to_owned(), paths };
        let text = kept.text().expect("it can be written");
        assert_eq!(Kept::parse(&text).expect("it can be read"), kept);
        assert!(Kept::parse(&text.replace("1366.0", "1300.0").replacen("1300.0", "1366.0", 1)).is_err());
    }

    #[test]
    fn the_repository_keeps_every_path() {
        let kept = Kept::read().expect("figures are kept");
        for path in HotPath::ALL {
            assert!(kept.instructions(path).expect("kept") > 0.0, "{path:?}");
        }
        assert_eq!(kept.paths.len(), HotPath::ALL.len(), "a path is kept that nobody counts");
    }
}
