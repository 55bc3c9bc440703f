//! `leash PROGRAM ARGUMENTS...`: runs a Windows program so that another can end it in good order. Each line on standard input
//! becomes an event of the console for it: `ctrl-c`, `ctrl-break`, `close` or `shutdown`. At the end of standard input the
//! program is ended at once: nobody holds the leash any more. The exit code is the program's. What tests use where there are no
//! signals; nobody needs a console for it.

#[cfg(not(windows))]
fn main() {
    eprintln!("leash: for Windows only; elsewhere there are signals");
}

#[cfg(windows)]
fn main() -> std::io::Result<()> {
    use std::io::{BufRead, Error, stdin};
    use std::process::{Command, Stdio, exit};

    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().ok_or_else(|| Error::other("leash PROGRAM ARGUMENTS..."))?;
    let mut child = Command::new(program).args(arguments).stdin(Stdio::null()).spawn()?;
    let target = console::Target::of(&child)?;
    std::thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            if let Err(error) = target.tell(line.trim()) {
                eprintln!("leash: {line}: {error}");
            }
        }
        target.end();
    });
    exit(child.wait()?.code().unwrap_or(1))
}

#[cfg(windows)]
mod console {
    use std::ffi::c_void;
    use std::io::{Error, Result};
    use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle};
    use std::process::Child;
    use std::ptr::{null, null_mut, without_provenance};

    use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_SHUTDOWN_EVENT};
    use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
    use windows_sys::Win32::System::Threading::{CreateRemoteThread, TerminateProcess};

    /// The program at the end of the leash.
    pub struct Target {
        process: OwnedHandle,
    }

    impl Target {
        pub fn of(child: &Child) -> Result<Target> {
            Ok(Target { process: child.as_handle().try_clone_to_owned()? })
        }

        /// Ends it, in no good order. If it has ended by itself there is nothing to do.
        pub fn end(&self) {
            // SAFETY: the handle is of a live process or one that has ended, which is refused (TerminateProcess).
            unsafe { TerminateProcess(self.process.as_raw_handle(), 1) };
        }

        /// What a console does: it starts the system's routine for events in the process. Not every event may be generated
        /// otherwise, and the one that may needs a console and a group of processes, whose members Wine deafens to all.
        pub fn tell(&self, event: &str) -> Result<()> {
            let event = match event {
                "ctrl-c" => CTRL_C_EVENT,
                "ctrl-break" => CTRL_BREAK_EVENT,
                "close" => CTRL_CLOSE_EVENT,
                "shutdown" => CTRL_SHUTDOWN_EVENT,
                _ => return Err(Error::other("there is no such event")),
            };
            // SAFETY: the name ends with a zero. That library is in every process, and stays.
            let library = unsafe { GetModuleHandleA(c"kernel32.dll".as_ptr().cast()) };
            // SAFETY: the name ends with a zero, and the library was found or is null, which is refused.
            let routine = unsafe { GetProcAddress(library, c"CtrlRoutine".as_ptr().cast()) };
            let routine = routine.ok_or_else(Error::last_os_error)?;
            // SAFETY: both are addresses of functions that take one argument of the size of a pointer, which the routine reads as a
            // number, and answer with 32 bits.
            let routine = unsafe {
                std::mem::transmute::<unsafe extern "system" fn() -> isize, unsafe extern "system" fn(*mut c_void) -> u32>(
                    routine,
                )
            };
            let argument = without_provenance::<c_void>(event as usize);
            // SAFETY: the handle is of a live process or one that has ended, which is refused. Its kernel32 lies where it lies here.
            let thread = unsafe {
                CreateRemoteThread(self.process.as_raw_handle(), null(), 0, Some(routine), argument, 0, null_mut())
            };
            if thread.is_null() {
                return Err(Error::last_os_error());
            }
            // SAFETY: it was just made, and is nobody else's.
            drop(unsafe { OwnedHandle::from_raw_handle(thread) });
            Ok(())
        }
    }
}
