//! Where and when: figures without that say nothing.

use std::fs;

use serde_json::{Value, json};

use super::contender::{LOAD_PROCESSOR, SERVER_PROCESSOR};

/// Processes that wanted a processor over the last minute, above which figures are marked: server and load of an earlier run
/// are two of them.
const LOAD_AVERAGE_MAX: f64 = 2.5;

pub struct Machine {
    kernel: String,
    processor: String,
    processors: usize,
    /// The processors that share a core with the server's, the server's own among them, as the kernel lists them (`0-1`). Of
    /// a virtual machine it is what the host pretends.
    siblings: Option<String>,
    /// Of the last minute, before anything was measured.
    load_average: f64,
    command: Vec<String>,
    unix_seconds: u64,
}

impl Machine {
    pub fn look() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let information = read("/proc/cpuinfo");
        let model = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Machine {
            kernel: version_of(read("/proc/sys/kernel/osrelease").trim()).to_owned(),
            processor: model.map_or("unknown", |(_, model)| model).to_owned(),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            siblings: siblings_of(SERVER_PROCESSOR),
            load_average: read("/proc/loadavg").split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0),
            command: std::env::args().skip(1).collect(),
            unix_seconds: since_epoch.as_secs(),
        }
    }

    /// True if others were at work when it began.
    pub fn is_disturbed(&self) -> bool {
        self.load_average > LOAD_AVERAGE_MAX
    }

    /// What was asked of `cargo xtask`.
    pub fn command(&self) -> String {
        self.command.join(" ")
    }

    /// A line for people.
    pub fn line(&self) -> String {
        let Machine { kernel, processor, processors, load_average, .. } = self;
        let disturbed = if self.is_disturbed() { ", DISTURBED: others are at work" } else { "" };
        let placement = self.placement();
        format!("{processors} x {processor}, {placement}, Linux {kernel}, load average {load_average}{disturbed}")
    }

    /// Whether server and load share a core: then an idle load makes the server faster, and costs compare less well.
    fn placement(&self) -> String {
        let pair = format!("server on {SERVER_PROCESSOR}, load on {LOAD_PROCESSOR}");
        match self.siblings.as_deref().map(|list| lists(list, LOAD_PROCESSOR)) {
            Some(true) => format!("{pair}: SIBLINGS of one core"),
            Some(false) => format!("{pair}: of two cores"),
            None => format!("{pair}: whether siblings of one core is not known"),
        }
    }

    pub fn told(&self) -> Value {
        json!({
            "kernel": self.kernel,
            "processor": self.processor,
            "processors": self.processors,
            "server_processor": SERVER_PROCESSOR,
            "load_processor": LOAD_PROCESSOR,
            "siblings_of_server_processor": self.siblings,
            "load_average": self.load_average,
            "disturbed": self.is_disturbed(),
            "command": self.command,
            "unix_seconds": self.unix_seconds,
        })
    }
}

/// Without the name that whoever built it has put behind.
fn version_of(release: &str) -> &str {
    release.split_once('-').map_or(release, |(version, _)| version)
}

fn siblings_of(processor: u32) -> Option<String> {
    let path = format!("/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list");
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// True if a list of the kernel's (`0,4-6`) has this processor.
fn lists(list: &str, processor: u32) -> bool {
    list.split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let [first, last] = [first, last].map(|bound| bound.trim().parse::<u32>());
        first.is_ok_and(|first| first <= processor) && last.is_ok_and(|last| processor <= last)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_read_as_the_kernel_writes_them() {
        assert!([("0-1", 1), ("0,64", 64), ("0,4-6", 5), ("1", 1)].iter().all(|(list, number)| lists(list, *number)));
        assert!(![("0", 1), ("0,2", 1), ("2-5", 1), ("", 0)].iter().any(|(list, number)| lists(list, *number)));
    }

    #[test]
    fn it_is_said_whether_server_and_load_share_a_core() {
        let told = |siblings: Option<&str>| Machine { siblings: siblings.map(str::to_owned), ..Machine::look() }.line();
        assert!(told(Some("0-1")).contains("server on 0, load on 1: SIBLINGS of one core"));
        assert!(told(Some("0,2")).contains("of two cores"));
        assert!(told(None).contains("not known"));
    }
}
