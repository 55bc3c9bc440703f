//! `cargo xtask instructions`: how many instructions the hot paths take, compared with what the repository keeps.
//!
//! Time on a shared machine differs by more than any change that is looked for; instructions under callgrind do not differ at
//! all between two runs of one program. So 5 % more fails, where a benchmark could not tell 20 % from noise. What they do not show
//! are caches, system calls and waiting: those are measured by `cargo xtask bench` and `measure`.
//!
//! ```text
//!   bench/src/bin/instructions.rs     one path, N operations, on the simulated driver
//!     | valgrind --tool=callgrind, once with few operations and once with many          (count.rs)
//!   two profiles -> their difference -> without the simulated kernel -> per operation    (profile.rs)
//!     | compared with docs/benchmarks/instructions.json                                  (kept.rs)
//!   the same, worse or better
//! ```
//!
//! A check that cannot fail is none: `--prove` counts programs in which everything is done twice, and fails unless each of them
//! is found worse.

mod count;
mod kept;
mod profile;

use crate::Failure;
use count::{Count, Counter};
use kept::{Kept, Verdict};

#[derive(clap::Args)]
pub struct Options {
    /// Keep what was counted, for later runs to be compared with.
    #[arg(long)]
    keep: bool,
    /// Only this path.
    #[arg(long, value_enum)]
    only: Option<HotPath>,
    /// Instead: look whether a path whose operations are done twice is found worse.
    #[arg(long, conflicts_with = "keep")]
    prove: bool,
}

/// A hot path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum HotPath {
    /// The frame decoder, on a frame of 64 bytes.
    Decode,
    /// A turn in which one frame of 64 bytes comes and is handed to its handler.
    Receive,
    /// A frame of 64 bytes more that a handler sends, until it has left and its send has come back.
    Send,
    /// A frame of 64 bytes more that comes in a turn and is answered, until the answer has left: what a message costs where many
    /// come at once.
    Answer,
    /// A frame of 64 bytes to a room of 50, until all have it and all sends have come back.
    Broadcast,
}

impl HotPath {
    const ALL: [HotPath; 5] = [HotPath::Decode, HotPath::Receive, HotPath::Send, HotPath::Answer, HotPath::Broadcast];

    fn name(self) -> &'static str {
        match self {
            HotPath::Decode => "decode",
            HotPath::Receive => "receive",
            HotPath::Send => "send",
            HotPath::Answer => "answer",
            HotPath::Broadcast => "broadcast",
        }
    }

    /// Two numbers of operations, whose difference is counted.
    fn operations(self) -> [u32; 2] {
        match self {
            HotPath::Decode | HotPath::Receive => [1_000, 11_000],
            HotPath::Send => [500, 4_000],
            HotPath::Answer => [1_600, 32_000],
            HotPath::Broadcast => [500, 1_500],
        }
    }
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let paths: Vec<HotPath> = options.only.map_or(HotPath::ALL.to_vec(), |path| vec![path]);
    let counter = Counter::set_up()?;
    if options.prove {
        return prove(&paths, &counter);
    }
    let counted = paths.iter().map(|path| counter.count(*path, false)).collect::<Result<Vec<Count>, Failure>>()?;
    if options.keep {
        return keep(&counter, &counted);
    }
    let kept = Kept::read()?;
    tell_of_compilers(&kept, &counter);
    println!("{:<10} {:>12} {:>12} {:>8} {:>18}", "path", "kept", "now", "", "with simulation");
    let mut worse = Vec::new();
    for count in &counted {
        let verdict = kept.judge(count)?;
        let (name, before) = (count.path.name(), kept.instructions(count.path)?);
        let (now, whole) = (count.instructions(), count.whole);
        println!("{name:<10} {before:>12.2} {now:>12.2} {:>8} {whole:>18.2}", kept::change(before, now));
        match verdict {
            Verdict::Same => {}
            Verdict::Better => println!("{name} is better: keep that by `cargo xtask instructions --keep`"),
            Verdict::Worse => worse.push(why(&kept, count)?),
        }
    }
    match worse.is_empty() {
        true => Ok(()),
        false => Err(format!("more than {} % worse\n{}", kept::WORSE_PERCENT_MAX, worse.join("\n")).into()),
    }
}

fn keep(counter: &Counter, counted: &[Count]) -> Result<(), Failure> {
    let mut kept = match counted.len() < HotPath::ALL.len() {
        true => Kept::read()?,
        false => Kept::empty(counter),
    };
    if !kept.is_of(counter) {
        return Err("the other paths were counted with other tools: keep all of them anew, without --only".into());
    }
    for count in counted {
        println!("{:<10} {:>12.2} instructions", count.path.name(), count.instructions());
        kept.put(count);
    }
    kept.write()
}

/// What the figures depend on beside the sources.
fn tell_of_compilers(kept: &Kept, counter: &Counter) {
    if !kept.is_of(counter) {
        println!("kept are figures of {}", kept.tools());
        println!("these ones are of {}: what differs may be theirs", counter.tools());
    }
}

/// What whoever made it worse wants to know.
fn why(kept: &Kept, count: &Count) -> Result<String, Failure> {
    let name = count.path.name();
    let (before, now) = (kept.instructions(count.path)?, count.instructions());
    let mut lines =
        vec![format!("{name}: {now:.2} instructions, kept are {before:.2} ({})", kept::change(before, now))];
    lines.push("  where there are more:".to_owned());
    lines.extend(kept.growth(count)?.iter().map(|line| format!("    {line}")));
    lines.push("  by function and line:".to_owned());
    lines.push(format!("    {}", count.command_that_shows()));
    lines.push(format!("  if it has to be: cargo xtask instructions --keep --only {name}"));
    Ok(lines.join("\n"))
}

/// Beside what the same path takes now, not beside what is kept: that may be a few percent away.
fn prove(paths: &[HotPath], counter: &Counter) -> Result<(), Failure> {
    for path in paths {
        let mut once = Kept::empty(counter);
        once.put(&counter.count(*path, false)?);
        let twice = counter.count(*path, true)?;
        let (name, before, now) = (path.name(), once.instructions(*path)?, twice.instructions());
        if once.judge(&twice)? != Verdict::Worse {
            return Err(format!("{name}: done twice it takes {now:.2} instead of {before:.2}: not found worse").into());
        }
        let growth = once.growth(&twice)?;
        let place = growth.first().ok_or_else(|| format!("{name}: worse when done twice, and nobody can say where"))?;
        println!("{name:<10} done twice takes {now:.2} instead of {before:.2}, {}: found", kept::change(before, now));
        println!("{place}");
    }
    Ok(())
}
