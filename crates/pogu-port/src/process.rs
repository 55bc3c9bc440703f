//! Processes that are started.

use std::process::Command;

/// Keeps what a terminal sends to its foreground, Ctrl-C above all, from the process that `command` will start: it could
/// come before that process has a handler. Whoever starts it decides what an interrupt means to it. Does nothing where
/// there are no process groups.
pub fn keep_from_terminal(command: &mut Command) -> &mut Command {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    command
}
