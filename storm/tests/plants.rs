//! Bugs that are planted, one at a time: storms find each within a thousand small seeds, and nothing where there is none.
//!
//! `cargo xtask sim --plants` builds what this needs (the feature `planted`, the profile for storms) and shows the table.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pogu_port::plant::{self, Plant};
use pogu_storm::{Failure, Size};

/// A plant that hides for longer counts as not found.
const SEEDS_MAX: u64 = 1_000;

/// So many times the seeds that the documentation tells, and so many more, a plant may take.
const SEEDS_FACTOR: u64 = 4;
const SEEDS_MORE: u64 = 30;

/// Seeds that find nothing where nothing is planted: those that find a plant do not find it in something else.
const SEEDS_WITHOUT: u64 = 300;

/// What came of the search for one plant.
struct Search {
    plant: Plant,
    /// The first seed that breaks something.
    found: Option<Box<Failure>>,
    seeds: u64,
    took: Duration,
}

impl Search {
    fn of(plant: Plant) -> Search {
        let began = Instant::now();
        let found = plant::with(plant, || (0..SEEDS_MAX).find_map(|seed| pogu_storm::run(seed, Size::Small).err()));
        // What breaks without it as well is not its doing.
        let found = found.filter(|failure| pogu_storm::run(failure.seed, Size::Small).is_ok());
        let seeds = found.as_ref().map_or(SEEDS_MAX, |failure| failure.seed + 1);
        let search = Search { plant, found, seeds, took: began.elapsed() };
        println!("{}: {}\n  {}", plant.name(), plant.mistake(), search.violation());
        search
    }

    fn violation(&self) -> String {
        self.found
            .as_ref()
            .map_or("not found".to_owned(), |failure| format!("seed {}: {}", failure.seed, failure.violation))
    }

    /// A line of the table in `docs/storms.md`.
    fn told(&self) -> String {
        let found = self.found.as_ref().map_or("nothing", |failure| failure.violation.name());
        format!("| {} | {} | {} | {found} |", self.plant.name(), self.plant.mistake(), self.seeds)
    }
}

/// What `docs/storms.md` says of a plant.
struct Row<'d> {
    name: &'d str,
    mistake: &'d str,
    seeds: u64,
}

/// The table there, in its order.
fn documented() -> Vec<Row<'static>> {
    let lines = include_str!("../../docs/storms.md").lines();
    let table =
        lines.skip_while(|line| !line.starts_with("| plant |")).skip(2).take_while(|line| line.starts_with('|'));
    table
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [name, mistake, seeds, _found_by] = cells[..] else { panic!("{line}: not four cells") };
            Row { name, mistake, seeds: seeds.parse().expect("a number of seeds") }
        })
        .collect()
}

/// Whether it took about as long to find a plant as the table says, or less: storms may change a little, and not grow blind.
fn is_as_told(search: &Search, rows: &[Row]) -> bool {
    rows.iter().any(|row| row.name == search.plant.name() && search.seeds <= SEEDS_FACTOR * row.seeds + SEEDS_MORE)
}

/// Does `work` for each of `count` numbers, on all processors.
fn on_all_processors(count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().expect("a number of processors").get();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(number) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < count) {
                    work(number);
                }
            });
        }
    });
}

/// An assertion of the engine that meets a planted bug is expected to: it says nothing.
fn silence_what_is_planted() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if plant::sown().is_none() {
            told(panic);
        }
    }));
}

#[test]
fn each_is_found_within_a_thousand_small_seeds() {
    silence_what_is_planted();
    let searches = Mutex::new(Vec::new());
    on_all_processors(Plant::ALL.len(), |number| {
        let search = Search::of(Plant::ALL[number]);
        searches.lock().expect("no panic holds it").push((number, search));
    });
    let mut searches = searches.into_inner().expect("no panic holds it");
    searches.sort_by_key(|(number, _)| *number);
    println!("\n| plant | the mistake | seeds | found by |\n|---|---|---:|---|");
    for (_, search) in &searches {
        println!("{}", search.told());
    }
    let slowest = searches.iter().max_by_key(|(_, search)| search.took);
    slowest.into_iter().for_each(|(_, search)| println!("{:?} for {}, the slowest", search.took, search.plant.name()));
    assert_eq!(searches.len(), Plant::ALL.len());
    let hidden: Vec<&str> =
        searches.iter().filter(|(_, search)| search.found.is_none()).map(|(_, search)| search.plant.name()).collect();
    assert!(hidden.is_empty(), "storms are blind to {hidden:?}");
    let rows = documented();
    let late = searches.iter().map(|(_, search)| search).filter(|search| !is_as_told(search, &rows));
    let late: Vec<&str> = late.map(|search| search.plant.name()).collect();
    assert!(late.is_empty(), "it takes many more seeds than `docs/storms.md` says to find {late:?}");
}

#[test]
fn a_plant_is_there_in_one_thread_and_only_as_long_as_it_is_wanted() {
    silence_what_is_planted();
    plant::with(Plant::MissedWake, || {
        assert!(plant::is(Plant::MissedWake) && !plant::is(Plant::LostCancel));
        assert_eq!(std::thread::spawn(plant::sown).join().expect("no panic"), None);
        let broken = std::panic::catch_unwind(|| plant::with(Plant::LostCancel, || panic!("it was met")));
        assert!(broken.is_err() && plant::is(Plant::MissedWake));
    });
    assert_eq!(plant::sown(), None);
}

#[test]
fn each_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = Plant::ALL.iter().map(|plant| plant.name()).collect();
    let mistakes: BTreeSet<&str> = Plant::ALL.iter().map(|plant| plant.mistake()).collect();
    assert!(names.len() == Plant::ALL.len() && mistakes.len() == Plant::ALL.len());
}

#[test]
fn the_documentation_has_a_row_for_each() {
    let rows: Vec<(&str, &str)> = documented().iter().map(|row| (row.name, row.mistake)).collect();
    let plants: Vec<(&str, &str)> = Plant::ALL.iter().map(|plant| (plant.name(), plant.mistake())).collect();
    assert_eq!(rows, plants);
}

#[test]
fn nothing_is_found_where_nothing_is_planted() {
    let failures = Mutex::new(Vec::new());
    on_all_processors(SEEDS_WITHOUT as usize, |seed| {
        let failure = pogu_storm::run(seed as u64, Size::Small).err();
        failures.lock().expect("no panic holds it").extend(failure);
    });
    let failures = failures.into_inner().expect("no panic holds it");
    assert!(failures.is_empty(), "{}", failures[0]);
}
