//! Log lines on stderr: from which level, and in which form.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// What is logged, and how.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogOptions {
    /// A level, or directives per module as `tracing_subscriber` reads them: `warn,pogu=debug`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions { level: "warn".to_owned(), format: LogFormat::Text }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object per line
    Json,
}

/// The flags of every command.
#[derive(Clone, Debug, Default, Args)]
pub struct LogArguments {
    /// Log lines to show on stderr: off, error, warn, info, debug, trace, or by module as in warn,pogu=debug; wins over
    /// RUST_LOG [default: warn]
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    log: Option<String>,
    /// How log lines look [default: text]
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
}

impl LogArguments {
    /// What holds: the flags, else `RUST_LOG`, else `configured`.
    ///
    /// # Errors
    /// `RUST_LOG` means nothing.
    pub fn over(&self, configured: &LogOptions) -> Result<LogOptions, Failure> {
        let level = match (&self.log, environment()?) {
            (Some(level), _) => level.clone(),
            (None, Some(level)) => level,
            (None, None) => configured.level.clone(),
        };
        Ok(LogOptions { level, format: self.log_format.unwrap_or(configured.format) })
    }
}

/// What `RUST_LOG` says. There it is usual to name a module without a level, which means all of it.
fn environment() -> Result<Option<String>, Failure> {
    let Some(text) = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty()) else { return Ok(None) };
    let explicit = |directive: &str| match is_level(directive) {
        true => directive.to_owned(),
        false => format!("{directive}=trace"),
    };
    let level = text.split(',').filter(|directive| !directive.is_empty()).map(explicit).collect::<Vec<_>>().join(",");
    match is_level(&level) {
        true => Ok(Some(level)),
        false => Err(Failure::Usage(format!("RUST_LOG is {text:?}, allowed is {LEVELS}"))),
    }
}

/// What [`is_level`] accepts.
pub(crate) const LEVELS: &str = "off, error, warn, info, debug or trace, also by module as in \"warn,pogu=debug\"";

/// True if it says which lines to log.
pub(crate) fn is_level(text: &str) -> bool {
    let known = |directive: &str| {
        let level = directive.rsplit('=').next().unwrap_or(directive).trim();
        level.parse::<tracing_subscriber::filter::LevelFilter>().is_ok() && !level.is_empty()
    };
    // The filter itself takes a bare word for the name of a module: a misspelt level would silence everything. And it panics
    // (tracing-subscriber 0.3.23) where it cuts through a character of several bytes; names of modules have none here.
    let is_plain = text.chars().all(|character| matches!(character, ' '..='~'));
    is_plain && text.split(',').all(known) && EnvFilter::builder().parse(text).is_ok()
}

fn level(text: &str) -> Result<String, String> {
    if is_level(text) { Ok(text.to_owned()) } else { Err(format!("allowed is {LEVELS}")) }
}

/// From now on log lines go to stderr.
pub(crate) fn start(options: &LogOptions) {
    let filter = EnvFilter::builder().parse(&options.level).unwrap_or_else(|_| EnvFilter::new("warn"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(options.format == LogFormat::Text && std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // A second call in one process keeps the first subscriber.
    let _ = match options.format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.json().try_init(),
    };
}
