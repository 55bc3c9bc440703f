//! Which connections have something to be read, or take more: one epoll, level-triggered.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

/// Connections that one wait tells of.
pub const READY_MAX: usize = 1024;

/// A set of connections, known by their numbers.
pub struct Poller {
    epoll: OwnedFd,
    ready: Vec<Event>,
}

/// A connection at which something has happened.
#[derive(Clone, Copy)]
pub struct Ready {
    pub number: usize,
    /// There is something to be read, if it is the end.
    pub reads: bool,
    /// It takes more. Until it is connected, it does not.
    pub writes: bool,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    Reading,
    ReadingAndWriting,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Interest::Reading => EventFlags::IN,
            Interest::ReadingAndWriting => EventFlags::IN | EventFlags::OUT,
        }
    }
}

impl Poller {
    pub fn new() -> io::Result<Poller> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Poller { epoll, ready: Vec::with_capacity(READY_MAX) })
    }

    /// A connection is watched until it is closed.
    pub fn add(&self, stream: &TcpStream, number: usize, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, stream, data(number), interest.flags())?)
    }

    pub fn change(&self, stream: &TcpStream, number: usize, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, stream, data(number), interest.flags())?)
    }

    /// Waits, at most so long, and says at how many connections something has happened.
    pub fn wait(&mut self, most: Duration) -> io::Result<usize> {
        self.ready.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.ready), Some(&timespec(most))) {
            Ok(_) | Err(Errno::INTR) => Ok(self.ready.len()),
            Err(error) => Err(error.into()),
        }
    }

    /// One of those that the last wait has told of.
    pub fn ready(&self, place: usize) -> Option<Ready> {
        let &Event { flags, data } = self.ready.get(place)?;
        Some(Ready {
            number: data.u64() as usize,
            reads: !flags.difference(EventFlags::OUT).is_empty(),
            writes: flags.contains(EventFlags::OUT) && !flags.intersects(EventFlags::ERR | EventFlags::HUP),
        })
    }
}

fn data(number: usize) -> EventData {
    EventData::new_u64(number as u64)
}

pub fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}
