//! Which process has which sessions.

use std::ops::Range;

use super::state::run_number;
use super::{Mode, Options, PROCESSES_MAX, Part};
use crate::failure::Failure;
use crate::numbers::{counted, grouped};

/// Shares out the sessions of a run: whole rooms, one target for each part, as few parts as have descriptors for all
/// sessions unless `processes` says how many.
pub(super) fn split(options: &Options, processes: Option<usize>, sessions_max: usize) -> Result<Vec<Options>, Failure> {
    // The number of the whole run, so that no part takes the messages of another for its own.
    let run = run_number(std::time::UNIX_EPOCH.elapsed().unwrap_or_default());
    let targets: Vec<&str> = options.target.split(',').map(str::trim).collect();
    let (unit, noun) = match options.mode {
        Mode::Room => (options.room_size.max(1), "room"),
        Mode::Echo | Mode::Hello | Mode::Idle | Mode::Churn | Mode::Plaza => (1, "session"),
    };
    let units = options.sessions.div_ceil(unit);
    let count = processes.unwrap_or_else(|| needed(units, (sessions_max / unit).max(1), targets.len()));
    if count < targets.len() {
        let targets = counted(targets.len() as u64, "target");
        return Err(Failure::Usage(format!("{targets} need as many processes, but --processes is {count}")));
    }
    if count > units {
        let units = counted(units as u64, noun);
        return Err(Failure::Usage(format!("{units} cannot be shared out among {count} processes")));
    }
    if count > PROCESSES_MAX as usize {
        let [sessions, each] = [options.sessions, sessions_max].map(|number| grouped(number as u64));
        return Err(Failure::Usage(format!(
            "{sessions} sessions need {count} processes of {each} sessions, allowed are {PROCESSES_MAX}: raise the limit of \
             open files (ulimit -n)"
        )));
    }
    if options.mode == Mode::Plaza && count > 1 {
        let most = grouped(sessions_max as u64);
        return Err(Failure::Usage(format!(
            "plaza needs one process, which knows where all bots are: one target, no --processes, and at most {most} sessions \
             with this limit of open files"
        )));
    }
    let part = |index: usize| {
        let units = index * units / count..(index + 1) * units / count;
        part(options, targets[index % targets.len()], units.start * unit..units.end * unit, run)
    };
    Ok((0..count).map(part).collect())
}

/// The smallest multiple of `targets` for which no part has more than `units_max`.
fn needed(units: usize, units_max: usize, targets: usize) -> usize {
    let least = units.div_ceil(units_max).max(1);
    least.div_ceil(targets) * targets
}

fn part(options: &Options, target: &str, sessions: Range<usize>, run: u32) -> Options {
    Options {
        target: target.to_owned(),
        sessions: sessions.end.min(options.sessions) - sessions.start,
        part: Some(Part { first: sessions.start, run }),
        ..options.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(mode: Mode, sessions: usize, target: &str) -> Options {
        Options { mode, sessions, target: target.to_owned(), room_size: 50, ..Options::default() }
    }

    /// First session and number of sessions of each part.
    fn shares(options: &Options, processes: Option<usize>) -> Vec<(usize, usize)> {
        let parts = split(options, processes, 19_900).expect("parts");
        let share = |part: &Options| part.part.map(|at| (at.first, part.sessions));
        parts.iter().filter_map(share).collect()
    }

    #[test]
    fn sessions_are_shared_out_once_each() {
        assert_eq!(shares(&options(Mode::Echo, 19_900, "a:1"), None), [(0, 19_900)]);
        assert_eq!(shares(&options(Mode::Echo, 19_901, "a:1"), None), [(0, 9_950), (9_950, 9_951)]);
        assert_eq!(shares(&options(Mode::Echo, 7, "a:1"), Some(3)), [(0, 2), (2, 2), (4, 3)]);
        let most = shares(&options(Mode::Idle, 200_000, "a:1"), None);
        assert_eq!((most.len(), most.iter().map(|(_, sessions)| sessions).sum::<usize>()), (11, 200_000));
    }

    #[test]
    fn rooms_stay_whole() {
        assert_eq!(shares(&options(Mode::Room, 130, "a:1"), Some(2)), [(0, 50), (50, 80)]);
        let many = shares(&options(Mode::Room, 100_001, "a:1"), None);
        assert!(many.iter().all(|(first, sessions)| first % 50 == 0 && *sessions <= 19_900), "{many:?}");
        assert_eq!(many.iter().map(|(_, sessions)| sessions).sum::<usize>(), 100_001);
    }

    #[test]
    fn each_part_has_one_target_and_each_target_as_many_parts() {
        let parts = split(&options(Mode::Echo, 60_000, "a:1, b:2"), None, 19_900).expect("parts");
        let targets: Vec<&str> = parts.iter().map(|part| part.target.as_str()).collect();
        assert_eq!(targets, ["a:1", "b:2", "a:1", "b:2"]);
    }

    #[test]
    fn what_cannot_be_shared_out_is_refused() {
        let sentence = |options: &Options, processes, sessions_max| match split(options, processes, sessions_max) {
            Err(Failure::Usage(sentence)) => sentence,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            sentence(&options(Mode::Echo, 9, "a:1,b:2"), Some(1), 10),
            "2 targets need as many processes, but --processes is 1"
        );
        assert_eq!(
            sentence(&options(Mode::Room, 99, "a:1"), Some(3), 10),
            "2 rooms cannot be shared out among 3 processes"
        );
        for (sessions, processes, target) in [(20, Some(2), "a:1"), (101, None, "a:1"), (20, None, "a:1,b:2")] {
            let sentence = sentence(&options(Mode::Plaza, sessions, target), processes, 100);
            assert!(
                sentence.starts_with("plaza needs one process") && sentence.contains("at most 100 sessions"),
                "{sentence}"
            );
        }
        assert!(sentence(&options(Mode::Echo, 9_000, "a:1"), None, 100).contains("need 90 processes of 100 sessions"));
    }
}
