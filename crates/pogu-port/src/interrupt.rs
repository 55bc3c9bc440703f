//! Ctrl-C and its like: what asks a whole process to end.
//!
//! One handler per process, installed when a program asks for it and never by itself. What counts as an interrupt is the
//! system's affair; so is what happens to a process that does not end:
//!
//! | system | interrupts | afterwards |
//! |---|---|---|
//! | Unix | SIGINT, SIGTERM, SIGHUP | the process runs on until it ends by itself |
//! | Windows | Ctrl-C, Ctrl-Break | the same |
//! | Windows | console closed, logoff, shutdown | **the process is ended when the system's handler routine returns**, and after a time that the system grants at the latest: 5 s by default, 20 s for a service at a shutdown |
//! | Windows | logoff, told to a service | no interrupt: it may be anybody who logs off (HandlerRoutine) |
//!
//! So on Windows the routine keeps the system waiting while the program drains: until the [`Installed`] value is dropped. And
//! the handler is told how long that may take, for a drain that is longer is worth nothing.

use std::fmt;
use std::io;
use std::time::Duration;

/// The handler is installed. Keep it until the program has drained, then drop it: on Windows the end of the console, of the
/// user's session and of the machine wait for that. The handler itself stays for the life of the process.
#[must_use = "dropping it says that the program has drained"]
pub struct Installed(());

impl fmt::Debug for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installed").finish_non_exhaustive()
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        system::drained();
    }
}

/// Calls `handler` at every interrupt from now on, on a thread that belongs to nobody, with the time that the system grants before
/// it ends the process; `None`: as long as it takes. It should say what it has to say to another thread and return: the next
/// interrupt waits for it.
///
/// # Errors
/// There is a handler already ([`io::ErrorKind::AlreadyExists`]), or the system refused: sigaction(2), SetConsoleCtrlHandler.
pub fn on_interrupt(handler: impl FnMut(Option<Duration>) + Send + 'static) -> io::Result<Installed> {
    system::install(Box::new(handler))?;
    Ok(Installed(()))
}

#[cfg(unix)]
mod system {
    use std::io;

    use std::time::Duration;

    pub(super) fn install(mut handler: Box<dyn FnMut(Option<Duration>) + Send>) -> io::Result<()> {
        ctrlc::set_handler(move || handler(None)).map_err(|error| match error {
            ctrlc::Error::System(error) => error,
            already_there => io::Error::new(io::ErrorKind::AlreadyExists, already_there),
        })
    }

    /// Nobody waits for it.
    pub(super) const fn drained() {}
}

#[cfg(windows)]
mod system {
    use std::io;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
    use std::time::Duration;

    use windows_sys::Win32::System::Console::{
        CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT, SetConsoleCtrlHandler,
    };
    use windows_sys::Win32::System::RemoteDesktop::ProcessIdToSessionId;
    use windows_sys::core::BOOL;

    const TRUE: BOOL = 1;

    type Handler = Box<dyn FnMut(Option<Duration>) + Send>;

    /// The system's own settings, unless somebody has changed them: HungAppTimeout and WaitToKillAppTimeout.
    const GRANTED: Duration = Duration::from_secs(5);
    /// The same for services at a shutdown: WaitToKillServiceTimeout is the least that has been in use.
    const GRANTED_TO_SERVICES: Duration = Duration::from_secs(20);

    /// What an event asks for.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Asked {
        /// To end in good order, in the time that it takes.
        InGoodTime,
        /// To end within this time, at whose end, or when the routine returns, the system ends the process.
        Within(Duration),
        Nothing,
    }

    fn asked(event: u32, is_service: bool) -> Asked {
        match event {
            CTRL_C_EVENT | CTRL_BREAK_EVENT => Asked::InGoodTime,
            CTRL_LOGOFF_EVENT if is_service => Asked::Nothing,
            CTRL_SHUTDOWN_EVENT if is_service => Asked::Within(GRANTED_TO_SERVICES),
            // Closed, logged off, shut down, or what else may come to be.
            _ => Asked::Within(GRANTED),
        }
    }

    /// Services live in a session of their own, the one of number 0, in which nobody logs on.
    fn is_service() -> bool {
        let mut session = u32::MAX;
        // SAFETY: the system writes one number during the call (ProcessIdToSessionId).
        let answer = unsafe { ProcessIdToSessionId(std::process::id(), &raw mut session) };
        answer != 0 && session == 0
    }

    static HANDLER: Mutex<Option<Handler>> = Mutex::new(None);
    static DRAINED: Mutex<bool> = Mutex::new(false);
    static DRAIN: Condvar = Condvar::new();

    fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn install(handler: Handler) -> io::Result<()> {
        let mut installed = locked(&HANDLER);
        if installed.is_some() {
            let reason = "the process has an interrupt handler already";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
        }
        // SAFETY: the routine is a function of the program, which is there for as long as the process (SetConsoleCtrlHandler).
        let answer = unsafe { SetConsoleCtrlHandler(Some(routine), TRUE) };
        if answer == 0 {
            return Err(io::Error::last_os_error());
        }
        *installed = Some(handler);
        Ok(())
    }

    pub(super) fn drained() {
        *locked(&DRAINED) = true;
        DRAIN.notify_all();
    }

    /// Called by the system on a thread that it makes for each event.
    extern "system" fn routine(event: u32) -> BOOL {
        match asked(event, is_service()) {
            Asked::InGoodTime => handle(None),
            Asked::Within(granted) => {
                handle(Some(granted));
                wait_for_drain();
            }
            Asked::Nothing => {}
        }
        TRUE
    }

    fn handle(granted: Option<Duration>) {
        let mut handler = locked(&HANDLER);
        if let Some(handler) = &mut *handler {
            // Nothing may unwind into the system; the panic itself has been reported by its hook.
            let _ = catch_unwind(AssertUnwindSafe(|| handler(granted)));
        }
    }

    /// The process ends when this returns, or when the system has waited long enough.
    fn wait_for_drain() {
        let drained = locked(&DRAINED);
        drop(DRAIN.wait_while(drained, |drained| !*drained).unwrap_or_else(PoisonError::into_inner));
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::sync::atomic::{AtomicBool, Ordering};
        use std::sync::mpsc::channel;

        use windows_sys::Win32::System::Console::CTRL_CLOSE_EVENT;

        #[test]
        fn a_service_has_more_time_and_does_not_end_when_somebody_logs_off() {
            for (event, program, service) in [
                (CTRL_C_EVENT, Asked::InGoodTime, Asked::InGoodTime),
                (CTRL_BREAK_EVENT, Asked::InGoodTime, Asked::InGoodTime),
                (CTRL_CLOSE_EVENT, Asked::Within(GRANTED), Asked::Within(GRANTED)),
                (CTRL_LOGOFF_EVENT, Asked::Within(GRANTED), Asked::Nothing),
                (CTRL_SHUTDOWN_EVENT, Asked::Within(GRANTED), Asked::Within(GRANTED_TO_SERVICES)),
            ] {
                assert_eq!((asked(event, false), asked(event, true)), (program, service), "{event}");
            }
        }

        /// One test for all: the handler is one of the process.
        #[test]
        fn the_end_of_the_console_waits_for_the_drain() {
            let (sender, interrupts) = channel();
            let told = move |granted| sender.send(granted).expect("the test listens");
            let first = super::super::on_interrupt(told).expect("none yet");
            let second = super::super::on_interrupt(|_| {}).expect_err("there is one");
            assert_eq!(second.kind(), io::ErrorKind::AlreadyExists);
            for event in [CTRL_C_EVENT, CTRL_BREAK_EVENT] {
                assert_eq!(routine(event), TRUE);
                assert_eq!(interrupts.recv().expect("it was called"), None, "it may take its time");
            }
            let has_drained = AtomicBool::new(false);
            std::thread::scope(|scope| {
                for event in [CTRL_CLOSE_EVENT, CTRL_SHUTDOWN_EVENT].repeat(10) {
                    let has_drained = &has_drained;
                    scope.spawn(move || {
                        assert_eq!(routine(event), TRUE);
                        assert!(has_drained.load(Ordering::Acquire), "the process would have ended amid the drain");
                    });
                }
                (0..20).for_each(|_| assert_eq!(interrupts.recv().expect("it was called"), Some(GRANTED)));
                has_drained.store(true, Ordering::Release);
                drop(first);
            });
        }
    }
}
