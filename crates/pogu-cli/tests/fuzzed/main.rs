//! Replays the corpora of the fuzz targets `configuration` and `command_line`, with the same checks.

mod command_line;
mod configuration;
#[path = "../../../../fuzz/replay.rs"]
mod replay;

#[test]
fn every_configuration_of_the_corpus_passes() {
    replay::replay("configuration", 177, |bytes| configuration::check(bytes, false));
}

#[test]
fn every_command_line_of_the_corpus_passes() {
    replay::replay("command_line", 109, |bytes| command_line::check(bytes, false));
}

#[test]
fn planted_bugs_are_noticed() {
    replay::notices("configuration", |bytes| configuration::check(bytes, true));
    replay::notices("command_line", |bytes| command_line::check(bytes, true));
}
