//! The ring: set-up, the way in (submission), the wait, and the way out (completions).
//!
//! Submit calls never enter the kernel. They put entries into the submission queue, and into a backlog when the queue is
//! full; a turn moves the backlog in, in order, so that neither an operation nor a cancel is ever lost for want of space.
//!
//! ```text
//!   push -> [ submission queue ] -- enter --> kernel -- enter --> [ completion queue ] -> take_completions
//!        \> [ backlog ........ ] ^ refilled while the kernel takes entries
//! ```
//!
//! Every enter asks for events: only then does the kernel run deferred work and flush an overflown completion queue.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, opcode, squeue};
use rustix::io::Errno;

use super::features::{Features, SetUp};
use super::inject::{Altered, Injector};
use super::token::Token;
use crate::error::{Operation, OsError};
use crate::faults::{FaultPoint, Faults};

/// One completion, copied out of the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) user_data: u64,
    pub(super) result: i32,
    pub(super) flags: u32,
}

impl Event {
    /// True if further completions of the same operation follow.
    pub(super) fn more(&self) -> bool {
        io_uring::cqueue::more(self.flags)
    }

    /// The number of the provided buffer that the completion carries.
    pub(super) fn buffer(&self) -> Option<u16> {
        io_uring::cqueue::buffer_select(self.flags)
    }
}

/// How long an enter may sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    No,
    AtMost(Duration),
    Forever,
    Gather(Gathering),
}

/// How long an enter goes on although something has completed already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Gathering {
    pub(super) budget: Duration,
    /// So many completions end it before its time: that is a turn full, and who has completed holds a receive buffer.
    pub(super) completions_max: u32,
}

/// How long to wait before submitting again what the kernel had no memory, or no room, for.
const SHORTAGE_WAIT: Duration = Duration::from_millis(5);

/// See the [module](self).
pub(super) struct Ring {
    io: IoUring,
    backlog: VecDeque<squeue::Entry>,
    /// Operations pushed whose last completion has not been taken: what the kernel may still touch memory of, and cancels.
    in_flight: usize,
    no_iowait: bool,
    /// The ring waits for [`Ring::enable`].
    disabled: bool,
    pub(super) injector: Injector,
    /// The completion queue was in overflow when last looked at.
    overflown: bool,
    pub(super) waits: u64,
    pub(super) overflows: u64,
}

impl Ring {
    /// Creates a ring with the set-up that `features` says the kernel knows.
    pub(super) fn open(submissions: u32, completions: u32, features: &Features, faults: Faults) -> io::Result<Ring> {
        let set_up = features.set_up();
        let io = build(submissions, completions, set_up)?;
        Ok(Ring {
            io,
            backlog: VecDeque::new(),
            in_flight: 0,
            no_iowait: features.no_iowait(),
            disabled: set_up.defer_taskrun,
            injector: Injector::new(faults),
            overflown: false,
            waits: 0,
            overflows: 0,
        })
    }

    /// Binds the ring to the calling thread.
    pub(super) fn enable(&mut self) -> io::Result<()> {
        if self.disabled {
            self.io.submitter().register_enable_rings()?;
            self.disabled = false;
        }
        Ok(())
    }

    pub(super) fn io(&self) -> &IoUring {
        &self.io
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// True if the next turn has something to handle without waiting.
    pub(super) fn has_answers(&self) -> bool {
        self.injector.has_answers()
    }

    /// How long a wait may be at most: what the kernel has not taken is offered again after a while, without spinning.
    pub(super) fn patience(&self) -> Option<Duration> {
        (!self.backlog.is_empty()).then_some(SHORTAGE_WAIT)
    }

    /// Queues an operation.
    ///
    /// # Safety
    /// Everything that `entry` points to stays where it is, and is not used otherwise, until a completion with its user data
    /// and without `MORE` has been taken.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry) {
        self.in_flight += 1;
        if self.injector.refuses(entry.get_user_data()) {
            return;
        }
        if !self.backlog.is_empty() || self.injector.queue_is_full() {
            self.backlog.push_back(entry);
            return;
        }
        // SAFETY: the caller promises what io_uring_enter(2) asks for the memory of the entry.
        let pushed = unsafe { self.io.submission().push(&entry) };
        if pushed.is_err() {
            self.backlog.push_back(entry);
        }
    }

    /// True if the form of an operation counts as refused, for tests: its answer will come.
    pub(super) fn refuses_form(&mut self, user_data: u64) -> bool {
        let refused = self.injector.refuses_form(user_data);
        self.in_flight += usize::from(refused);
        refused
    }

    /// Moves the backlog into the kernel, as far as the kernel takes it. What is left then has to wait.
    pub(super) fn flush_backlog(&mut self) -> Result<(), OsError> {
        loop {
            self.refill();
            if self.backlog.is_empty() {
                return Ok(());
            }
            let before = self.io.submission().len();
            self.enter(Wait::No)?;
            if self.io.submission().len() >= before {
                return Ok(());
            }
        }
    }

    fn refill(&mut self) {
        let mut queue = self.io.submission();
        while !self.backlog.is_empty() && !queue.is_full() && !self.injector.queue_is_full() {
            let Some(entry) = self.backlog.pop_front() else { return };
            // SAFETY: whoever pushed it into the backlog promised the same (`Ring::push`).
            let pushed = unsafe { queue.push(&entry) };
            if pushed.is_err() {
                self.backlog.push_front(entry);
                return;
            }
        }
    }

    /// Submits what is in the queue and waits as long as `wait` says for a completion.
    ///
    /// If the kernel has no memory for operations (EAGAIN), what it has not taken stays in the queue; the wait is then for
    /// what it has taken before, and short, so that trying again does not spin.
    pub(super) fn enter(&mut self, wait: Wait) -> Result<(), OsError> {
        let queue = self.io.submission();
        let submit = u32::try_from(queue.len()).unwrap_or(u32::MAX);
        let overflown = queue.cq_overflow();
        drop(queue);
        self.note_overflow(overflown);
        let entered = match self.injector.faults.at_call(FaultPoint::Wait) {
            Some(code) => Err(io::Error::from_raw_os_error(code)),
            None => self.enter_once(submit, wait),
        };
        match entered {
            Err(error) if is(&error, Errno::AGAIN) => self.enter_once(0, Wait::AtMost(SHORTAGE_WAIT)),
            entered => entered,
        }
        .or_else(unless_transient)
    }

    /// True if something has completed and was not taken.
    pub(super) fn has_completed(&mut self) -> bool {
        self.has_answers() || !self.io.completion().is_empty()
    }

    /// True if the last enter has left deferred work over: since Linux 6.13 it does at most twenty pieces of it before it waits
    /// and twenty behind, whatever is ready.
    pub(super) fn has_deferred(&mut self) -> bool {
        self.io.submission().taskrun()
    }

    /// Lets the kernel do some of the deferred work, and nothing else.
    pub(super) fn do_deferred(&mut self) -> Result<(), OsError> {
        self.enter_once(0, Wait::No).or_else(unless_transient)
    }

    fn enter_once(&mut self, submit: u32, wait: Wait) -> io::Result<()> {
        self.waits += 1;
        let mut flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if self.no_iowait {
            flags |= EnterFlags::NO_IOWAIT;
        }
        let (least, timespec) = match wait {
            Wait::No => (0, None),
            Wait::AtMost(duration) => (1, Some(Timespec::from(duration))),
            Wait::Forever => (1, None),
            Wait::Gather(Gathering { budget, completions_max }) => (completions_max, Some(Timespec::from(budget))),
        };
        let arguments = match &timespec {
            Some(timespec) => SubmitArgs::new().timespec(timespec),
            None => SubmitArgs::new(),
        };
        // SAFETY: `SubmitArgs` is the getevents argument that EXT_ARG announces (io_uring_enter2(2)); it and the timespec
        // that it points to outlive the call.
        let entered = unsafe { self.io.submitter().enter(submit, least, flags.bits(), Some(&arguments)) };
        match self.injector.faults.at_result(FaultPoint::Wait) {
            Some(code) => entered.and(Err(io::Error::from_raw_os_error(code))),
            None => entered.map(|_| ()),
        }
    }

    fn note_overflow(&mut self, overflown: bool) {
        self.overflows += u64::from(overflown && !self.overflown);
        self.overflown = overflown;
    }

    /// Copies out what the completion queue holds now. What comes later waits for the next turn.
    pub(super) fn take_completions(&mut self, events: &mut VecDeque<Event>) {
        let overflown = self.io.submission().cq_overflow();
        self.note_overflow(overflown);
        while let Some(answer) = self.injector.next_answer() {
            self.in_flight = self.in_flight.saturating_sub(1);
            events.push_back(answer);
        }
        let mut to_cancel = Vec::new();
        for entry in self.io.completion() {
            let event = Event { user_data: entry.user_data(), result: entry.result(), flags: entry.flags() };
            let event = match self.injector.alter(event) {
                Altered::Event(event) => event,
                Altered::AndCancel(event) => {
                    to_cancel.push(event.user_data);
                    event
                }
            };
            if !event.more() {
                self.in_flight = self.in_flight.saturating_sub(1);
            }
            events.push_back(event);
        }
        for target in to_cancel.into_iter().filter_map(Token::decode) {
            self.push_cancel(target);
        }
    }

    /// Asks the kernel to give an operation back. The operation's own completion says when it does.
    pub(super) fn push_cancel(&mut self, target: Token) {
        let target = Token { cancels: false, ..target };
        let cancel = Token { cancels: true, ..target };
        let entry = opcode::AsyncCancel::new(target.encode()).build().user_data(cancel.encode());
        // SAFETY: the entry points to nothing.
        unsafe { self.push(entry) };
    }
}

/// Waits end early by a signal, by their timeout, or because the kernel wants completions to be taken or memory to be
/// freed first. In each case the entries that were not taken stay in the queue, and the next turn submits them.
fn is_transient(error: &io::Error) -> bool {
    [Errno::INTR, Errno::TIME, Errno::AGAIN, Errno::BUSY].iter().any(|&errno| is(error, errno))
}

fn unless_transient(error: io::Error) -> Result<(), OsError> {
    if is_transient(&error) { Ok(()) } else { Err(OsError::from_io(Operation::Dispatch, &error)) }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// Asks the kernel for a ring with exactly this set-up.
pub(super) fn build(submissions: u32, completions: u32, set_up: SetUp) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.dontfork().setup_submit_all().setup_clamp().setup_cqsize(completions.max(submissions));
    if set_up.defer_taskrun {
        // The flag tells whether an enter has left work over; whoever knows the one knows the other.
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_r_disabled();
    } else if set_up.coop_taskrun {
        builder.setup_coop_taskrun().setup_taskrun_flag();
    }
    if set_up.no_sqarray {
        builder.setup_no_sqarray();
    }
    builder.build(submissions)
}
