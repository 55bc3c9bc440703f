//! `leash PROGRAM ARGUMENTS...`: runs a Windows program so that another can interrupt it. Every line on standard input becomes a
//! Ctrl-Break for the program; the exit code is the program's. What tests use where there are no signals.

#[cfg(windows)]
fn main() -> std::io::Result<()> {
    use std::io::{BufRead, Error, stdin};
    use std::process::{Command, Stdio, exit};

    use windows_sys::Win32::System::Console::{AllocConsole, CTRL_BREAK_EVENT, GenerateConsoleCtrlEvent, GetConsoleCP};

    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().ok_or_else(|| Error::other("leash PROGRAM ARGUMENTS..."))?;
    // Events travel by a console, which a program that nobody sees may not have.
    // SAFETY: it has no conditions.
    let page = unsafe { GetConsoleCP() };
    if page == 0 {
        // SAFETY: it has no conditions.
        let made = unsafe { AllocConsole() };
        assert!(made != 0, "no console: {}", Error::last_os_error());
    }
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    // A group of its own: the event is for it, and not for this program.
    let mut child = pogu_port::keep_from_terminal(&mut command).spawn()?;
    let group = child.id();
    std::thread::spawn(move || {
        for _line in stdin().lock().lines().map_while(Result::ok) {
            // SAFETY: it has no conditions. The group lives as long as the child is not waited for, and afterwards nobody has
            // that number, or whoever has it is not in this console.
            let sent = unsafe { GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, group) };
            if sent == 0 {
                eprintln!("leash: {}", Error::last_os_error());
            }
        }
    });
    exit(child.wait()?.code().unwrap_or(1))
}

#[cfg(not(windows))]
fn main() {
    eprintln!("leash: for Windows only; elsewhere there are signals");
}
