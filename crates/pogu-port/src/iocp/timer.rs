//! The period of the system's timer.
//!
//! Waits end with a tick of the timer, which comes every 15.6 ms unless somebody asks for more. A port asks for one every
//! millisecond while it lives: then a wait is late by a millisecond or two, instead of by a tick.
//!
//! The functions are looked up when the first port is made, in kernel32, where Windows 10 has come to have them, and only then
//! in winmm: that library brings the one of windows (user32) into the process on some systems, and a console program with user32
//! hears of no shutdown (SetConsoleCtrlHandler).

use std::ffi::CStr;
use std::sync::OnceLock;

use windows_sys::Win32::System::LibraryLoader::{GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExA};

const MILLISECONDS: u32 = 1;

/// timeBeginPeriod and timeEndPeriod.
type SetPeriod = unsafe extern "system" fn(u32) -> u32;

/// Both, or neither. What they lie in stays loaded.
fn functions() -> Option<(SetPeriod, SetPeriod)> {
    static FUNCTIONS: OnceLock<Option<(SetPeriod, SetPeriod)>> = OnceLock::new();
    *FUNCTIONS.get_or_init(|| {
        let of = |library| Some((look_up(library, c"timeBeginPeriod")?, look_up(library, c"timeEndPeriod")?));
        of(c"kernel32.dll").or_else(|| of(c"winmm.dll"))
    })
}

fn look_up(library: &CStr, name: &CStr) -> Option<SetPeriod> {
    // SAFETY: the name ends with a zero; only the system's own folder is looked into (LoadLibraryExA).
    let library =
        unsafe { LoadLibraryExA(library.as_ptr().cast(), std::ptr::null_mut(), LOAD_LIBRARY_SEARCH_SYSTEM32) };
    if library.is_null() {
        return None;
    }
    // SAFETY: the name ends with a zero, and the library was loaded and stays (GetProcAddress).
    let function = unsafe { GetProcAddress(library, name.as_ptr().cast()) }?;
    // SAFETY: both functions take an UINT and answer with one (timeapi.h).
    Some(unsafe { std::mem::transmute::<unsafe extern "system" fn() -> isize, SetPeriod>(function) })
}

/// A tick every millisecond, for as long as this lives.
pub(super) struct FineTimer {
    /// What ends it, if it was granted.
    end: Option<SetPeriod>,
}

impl FineTimer {
    pub(super) fn begin() -> FineTimer {
        let granted = functions().filter(|(begin, _)| {
            // SAFETY: it takes a number, and is answered by a number: 0 if it was granted (timeBeginPeriod).
            unsafe { begin(MILLISECONDS) == 0 }
        });
        if granted.is_none() {
            tracing::debug!("the timer keeps its period: waits may be late by 16 ms");
        }
        FineTimer { end: granted.map(|(_, end)| end) }
    }
}

impl Drop for FineTimer {
    fn drop(&mut self) {
        if let Some(end) = self.end {
            // SAFETY: the same number as at the beginning, once for it (timeEndPeriod).
            unsafe { end(MILLISECONDS) };
        }
    }
}
