//! Processes that are started.

use std::process::Command;

/// Keeps what a terminal sends to its foreground, Ctrl-C above all, from the process that `command` will start: it could
/// come before that process has a handler. Whoever starts it decides what an interrupt means to it. On Windows such a
/// process hears of no Ctrl-C at all, but of a Ctrl-Break that is sent to it, and of the end of the console
/// (CREATE_NEW_PROCESS_GROUP).
pub fn keep_from_terminal(command: &mut Command) -> &mut Command {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(windows)]
    std::os::windows::process::CommandExt::creation_flags(command, CREATE_NEW_PROCESS_GROUP);
    command
}

/// Of CreateProcess. (Its home in the declarations of the system would bring along all of System_Threading.)
#[cfg(windows)]
const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
