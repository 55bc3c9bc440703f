//! The configuration of `pogu serve`: a TOML file with a key for every limit and option of every service.
//!
//! ```toml
//! [core]
//! workers = 2
//!
//! [service.game]
//! listen = "0.0.0.0:7777"
//! idle_timeout = "2m"
//! message_rate = { per_second = 50, burst = 100 }
//! ```
//!
//! `docs/serve.toml` has all keys with their defaults. What a file does not say is the default, what a flag says wins over
//! the file. Times are texts with their units, because a bare number would be a guess; bytes are numbers, or texts with KiB,
//! MiB or GiB; a limit that may be absent is `"off"`. Every `[service.NAME]` is a service of its own with limits of its own,
//! and all run on one core; without one there is a service with the defaults.

mod codec;
mod key;
mod keys;

use std::fmt;
use std::path::Path;

use toml::de::DeTable;

use crate::failure::Failure;
use crate::logging::LogOptions;
use crate::serve::{self, CoreOptions, ServiceOptions};
pub(crate) use key::nearest;
use key::{Entry, Fault, entries, print_comment, print_table, read_table};
pub(crate) use keys::{ADDRESSES, is_address};

/// What a file says, over the defaults. Its `Display` is a file that says the same.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// What is logged, and how.
    pub log: LogOptions,
    /// What is served.
    pub serve: serve::Options,
}

impl Configuration {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or something in it has no meaning: one sentence with its line.
    pub fn load(path: &Path) -> Result<Configuration, Failure> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("the configuration {name} cannot be read: {error}")))?;
        Configuration::parse(&name, &text)
    }

    /// Reads the text of a file; `name` is for errors.
    ///
    /// # Errors
    /// As [`Configuration::load`].
    pub fn parse(name: &str, text: &str) -> Result<Configuration, Failure> {
        document(text).map_err(|fault| {
            let before = text.as_bytes().get(..fault.offset).unwrap_or(text.as_bytes());
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            Failure::Usage(format!("{name}:{line}: {}", fault.sentence))
        })
    }
}

fn document(text: &str) -> Result<Configuration, Fault> {
    let document = DeTable::parse(text).map_err(|error| {
        let message = error.message().trim().replace('\n', ", ");
        Fault::at(error.span().map_or(0, |span| span.start), format!("this is no TOML: {message}"))
    })?;
    let mut configuration = Configuration::default();
    for (offset, name, entry) in entries(document.get_ref(), "") {
        match name {
            "log" => read_table(table(&entry)?, name, &[keys::LOG], &mut configuration.log)?,
            "core" => read_table(table(&entry)?, name, keys::CORE, &mut configuration.serve.core)?,
            "service" => configuration.serve.services = services(table(&entry)?)?,
            _ => return Err(unknown_table(offset, name)),
        }
    }
    Ok(configuration)
}

fn unknown_table(offset: usize, name: &str) -> Fault {
    match keys::table_of(name) {
        Some(table) => Fault::at(offset, format!("{name:?} stands in no table (it belongs into [{table}])")),
        None => {
            let neighbour = nearest(name, &["log", "core", "service"]).unwrap_or_default();
            Fault::at(offset, format!("unknown table [{name}] (did you mean [{neighbour}]?)"))
        }
    }
}

fn services(table: &DeTable<'_>) -> Result<Vec<ServiceOptions>, Fault> {
    let mut services = Vec::new();
    for (offset, name, entry) in entries(table, "service") {
        if !is_service_name(name) {
            let sentence = format!("{name:?} cannot be the name of a service: up to 64 letters, digits, - and _ can");
            return Err(Fault::at(offset, sentence));
        }
        let mut service = ServiceOptions { name: name.to_owned(), ..ServiceOptions::default() };
        read_table(self::table(&entry)?, &entry.path, keys::SERVICE, &mut service)?;
        services.push(service);
    }
    match services.is_empty() {
        true => Ok(serve::Options::default().services),
        false => Ok(services),
    }
}

fn is_service_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

fn table<'a>(entry: &'a Entry<'a>) -> Result<&'a DeTable<'a>, Fault> {
    let header = if entry.path == "service" { "[service.NAME]".to_owned() } else { format!("[{}]", entry.path) };
    entry.value().as_table().ok_or_else(|| match keys::table_of(entry.path.trim_start_matches("service.")) {
        Some(table) if entry.path.starts_with("service.") => {
            entry.fault(format!("{} stands in no service (it belongs into [{table}])", entry.path))
        }
        _ => entry.refuse(&format!("a table: {header}")),
    })
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        print_comment(
            &mut text,
            "Configuration of `pogu serve --config FILE`. What it leaves out is the default; flags win.",
        );
        print_comment(
            &mut text,
            "Times are texts with units: ns, us, ms, s, m, h. Bytes are numbers, or texts with KiB, MiB, GiB.",
        );
        print_table(&mut text, "log", &[keys::LOG], &self.log, &LogOptions::default());
        print_table(&mut text, "core", keys::CORE, &self.serve.core, &CoreOptions::default());
        for service in &self.serve.services {
            let path = format!("service.{}", service.name);
            print_table(&mut text, &path, keys::SERVICE, service, &ServiceOptions::default());
        }
        f.write_str(text.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::Configuration;

    /// Cut off anywhere, and with any byte altered: a meaning or one sentence with a line, never a panic.
    #[test]
    fn a_damaged_file_is_one_sentence() {
        let whole = include_str!("../../tests/support/every_key.toml");
        let damaged = |at: usize| {
            let (before, after) = (whole.get(..at), whole.get(at + 1..));
            let altered = ["", "\"", "\n", "[", "]", "}", "=", "-", "9", ".", "\u{0}", "한"];
            before.zip(after).map(|(before, after)| {
                let altered = altered.map(|other| format!("{before}{other}{after}"));
                [altered.to_vec(), vec![before.to_owned()]].concat()
            })
        };
        for text in (0..whole.len()).filter_map(damaged).flatten() {
            if let Err(failure) = Configuration::parse("server.toml", &text) {
                let sentence = failure.to_string();
                assert!(sentence.starts_with("server.toml:") && sentence.lines().count() == 1, "{sentence:?}");
            }
        }
    }
}
