//! Sends that wait until their socket takes more.
//!
//! They do not wait in the kernel's own hands: io_uring always waits for the end of the incoming stream too, so that the
//! send to a peer that has finished and does not read would be tried again and again, or hold a kernel thread. An epoll
//! instance waits for exactly what is meant, and the ring for the epoll instance:
//!
//! ```text
//!   Sending::Stalled -- EPOLLOUT, once --> epoll instance -- one POLL_ADD per ring --> completion -> tried again
//! ```
//!
//! A stalled send is in nobody's hands: it ends without a cancel.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use io_uring::{opcode, types};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use socket2::Socket;

use super::connection::{Phase, Sending};
use super::table::{Table, cancelled};
use super::token::Token;
use crate::error::{Operation, OsError};
use crate::identity::Name;

/// Sockets told of by one system call.
const READY_MAX: usize = 64;

/// See the [module](self).
pub(super) struct Writable {
    epoll: OwnedFd,
    /// The ring waits for it.
    pub(super) armed: bool,
}

impl Writable {
    pub(super) fn open() -> Result<Writable, OsError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|errno| OsError::from_code(Operation::OpenPort, errno.raw_os_error()))?;
        Ok(Writable { epoll, armed: false })
    }

    /// Tells of `socket` once, as soon as it takes bytes or fails. `known`: it was watched before.
    fn watch(&self, socket: &Socket, name: Name, known: bool) -> rustix::io::Result<()> {
        let data = epoll::EventData::new_u64(u64::from(name.generation) << 32 | u64::from(name.slot));
        let once = epoll::EventFlags::OUT | epoll::EventFlags::ONESHOT;
        if known { epoll::modify(&self.epoll, socket, data, once) } else { epoll::add(&self.epoll, socket, data, once) }
    }

    /// Takes out a socket that was watched, before it is closed or handed on.
    pub(super) fn forget(&self, socket: &Socket) {
        // It can fail only for a descriptor that is not known, and then it is forgotten already.
        let _ = epoll::delete(&self.epoll, socket);
    }

    /// Some of the sockets that take bytes; each is told of once.
    fn ready(&self, names: &mut Vec<Name>) {
        let mut events = [std::mem::MaybeUninit::<epoll::Event>::uninit(); READY_MAX];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut events, Some(&at_once)) else { return };
        names.extend(events.iter().map(|event| {
            let key = event.data.u64();
            // The halves of the key: both casts keep exactly the bits that `watch` put there.
            Name { slot: key as u32, generation: (key >> 32) as u32 }
        }));
    }
}

impl Table {
    /// The socket takes no more now: the send waits, in nobody's hands.
    pub(super) fn stall(&mut self, name: Name) {
        let Some(connection) = self.connections.get_mut(name) else { return };
        let Sending::Leaving(mut operation) = std::mem::replace(&mut connection.sending, Sending::Idle) else { return };
        let watched = self.writable.watch(&connection.socket, name, connection.watched);
        match watched {
            Ok(()) => {
                connection.watched = true;
                connection.sending = Sending::Stalled(operation);
                self.arm_writable();
            }
            Err(errno) => {
                operation.error = Some(OsError::from_code(Operation::Send, errno.raw_os_error()));
                connection.sending = Sending::Leaving(operation);
                self.send_left(name);
            }
        }
    }

    /// Ends a send that waits, for its connection is ending: nothing has to be asked back.
    pub(super) fn end_stalled(&mut self, name: Name) {
        let Some(connection) = self.connections.get_mut(name) else { return };
        match std::mem::replace(&mut connection.sending, Sending::Idle) {
            Sending::Stalled(mut operation) => {
                if !matches!(connection.phase, Phase::Detaching) {
                    operation.error = Some(cancelled(Operation::Send));
                }
                connection.sending = Sending::Leaving(operation);
                self.send_left(name);
            }
            other => connection.sending = other,
        }
    }

    fn arm_writable(&mut self) {
        if self.draining || self.writable.armed {
            return;
        }
        let descriptor = types::Fd(self.writable.epoll.as_fd().as_raw_fd());
        let entry = opcode::PollAdd::new(descriptor, libc::POLLIN.unsigned_abs().into()).build();
        // SAFETY: the entry points to nothing.
        unsafe { self.ring.push(entry.user_data(Token::WRITABLE.encode())) };
        self.writable.armed = true;
    }

    /// Sockets take bytes again: their sends are continued with the next entry into the kernel.
    pub(super) fn writable_completed(&mut self, result: i32) {
        self.writable.armed = false;
        if result < 0 && result != -Errno::CANCELED.raw_os_error() {
            let error = OsError::from_code(Operation::Dispatch, -result);
            tracing::warn!(%error, "waiting for sockets that take bytes");
        }
        // What is not told of now keeps the epoll instance ready, and the next wait short.
        let mut names = Vec::new();
        self.writable.ready(&mut names);
        for name in names {
            let Some(connection) = self.connections.get_mut(name) else { continue };
            match std::mem::replace(&mut connection.sending, Sending::Idle) {
                Sending::Stalled(operation) => {
                    connection.sending = Sending::Leaving(operation);
                    self.push_send(name);
                }
                other => connection.sending = other,
            }
        }
        self.arm_writable();
    }
}
