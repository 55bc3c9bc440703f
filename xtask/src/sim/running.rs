//! Which seeds run, in a file: a program that aborts (the stack is full, a panic ends in another) says nothing any more.
//!
//! A line for each thread, written in place and of one length, so that each is whole at any time and no full disk is in its way:
//!
//! ```text
//!   small 4711
//!   small 4712
//! ```
//!
//! The program removes it when it comes to its end by itself, whatever it has found.

use std::fs::File;
use std::io::{ErrorKind, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use pogu_storm::Size;

/// One that runs.
pub type Seed = (Size, u64);

/// `large`, a space, the largest number of 64 bits, the end of the line.
const LINE_BYTES: usize = 27;

pub struct Running {
    path: PathBuf,
    size: Size,
    file: Mutex<File>,
}

impl Running {
    /// Nothing runs yet, on so many threads.
    pub fn open(path: &Path, size: Size, threads: usize) -> Result<Running> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = File::create(path)?;
        file.write_all(line("").repeat(threads).as_bytes())?;
        Ok(Running { path: path.to_owned(), size, file: Mutex::new(file) })
    }

    /// Before the thread begins with the seed.
    pub fn begins(&self, thread: usize, seed: u64) -> Result<()> {
        self.write(thread, &format!("{} {seed}", self.size))
    }

    /// The thread does nothing more.
    pub fn rests(&self, thread: usize) -> Result<()> {
        self.write(thread, "")
    }

    fn write(&self, thread: usize, text: &str) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start((thread * LINE_BYTES) as u64))?;
        file.write_all(line(text).as_bytes())
    }

    /// The program comes to its end.
    pub fn remove(&self) -> Result<()> {
        remove(&self.path)
    }
}

fn line(text: &str) -> String {
    format!("{text:<width$}\n", width = LINE_BYTES - 1)
}

/// Removes the file of a program, if there is one.
pub fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// What ran when a program was cut off. `None` if it was not.
pub fn left(path: &Path) -> Result<Option<Vec<Seed>>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let seed = |line: &str| {
        let (size, seed) = line.trim_end().split_once(' ')?;
        Some((size.parse().ok()?, seed.parse().ok()?))
    };
    Ok(Some(text.lines().filter_map(seed).collect()))
}

/// A path that no other test uses.
#[cfg(test)]
pub fn test_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("pogu-xtask-{name}-{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_stands_in_the_file_until_the_end() {
        let path = test_path("running");
        assert_eq!(left(&path).expect("no file is fine"), None);
        let running = Running::open(&path, Size::Large, 3).expect("a file");
        let now = || left(&path).expect("readable").expect("there");
        assert_eq!(now(), []);
        running.begins(2, u64::MAX).expect("written");
        running.begins(0, 17).expect("written");
        assert_eq!(now(), [(Size::Large, 17), (Size::Large, u64::MAX)]);
        running.begins(2, 3).expect("written");
        running.rests(0).expect("written");
        assert_eq!(now(), [(Size::Large, 3)]);
        assert_eq!(std::fs::metadata(&path).expect("there").len(), 3 * LINE_BYTES as u64);
        running.remove().expect("removed");
        running.remove().expect("it is gone already");
        assert_eq!(left(&path).expect("no file is fine"), None);
    }
}
