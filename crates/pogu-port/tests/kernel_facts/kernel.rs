//! A bare ring with provided buffers, as small as a question to the kernel needs.
//!
//! What operations point to is leaked, so that a kernel that behaves unlike what a test expects cannot write to memory that
//! is something else by then.

use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::types::{BufRingEntry, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use pogu_port::{DriverChoice, Selection};

/// Nothing that is asked takes so long.
pub const PATIENCE: Duration = Duration::from_secs(5);

pub const GROUP: u16 = 0;
/// `IORING_RECVSEND_POLL_FIRST` and `IORING_RECV_MULTISHOT` (io_uring_enter(2)).
pub const POLL_FIRST: u16 = 1 << 0;
pub const MULTISHOT: u16 = 1 << 1;

/// The user data of the operation that only pushes others out.
const NOTHING: u64 = u64::MAX;

/// Leaks a value, in a place that a search for leaks finds.
pub fn keep<T>(value: T) -> &'static mut T {
    static KEPT: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let kept = Box::leak(Box::new(value));
    KEPT.lock().expect("no panic holds it").push(std::ptr::from_mut(kept).addr());
    kept
}

/// A set-up that the driver may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetUp {
    Plain,
    Deferred,
}

/// Asks the question on every set-up that the kernel accepts. Where io_uring is refused, says so and passes, unless
/// `POGU_REQUIRE_URING` is set.
pub fn ask(name: &str, question: impl Fn(SetUp)) {
    if let Err(unavailable) = Selection::choose(DriverChoice::Uring) {
        assert!(std::env::var_os("POGU_REQUIRE_URING").is_none(), "{unavailable}");
        // Not `eprintln`, which the test harness would hide.
        let _ = writeln!(io::stderr(), "SKIPPED {name}: {unavailable}");
        return;
    }
    question(SetUp::Plain);
    match build(8, 8, SetUp::Deferred) {
        Ok(_) => question(SetUp::Deferred),
        Err(error) => say(&format!("{name}: not asked on a ring with deferred task work: {error}")),
    }
}

/// A line about this kernel, whether or not the test passes.
pub fn say(line: &str) {
    // In one piece, however many tests speak.
    let line = format!("kernel {}: {line}\n", release());
    let _ = io::stderr().write_all(line.as_bytes());
}

pub fn release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").map_or("?".to_owned(), |text| text.trim().to_owned())
}

pub fn build(submissions: u32, completions: u32, set_up: SetUp) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_submit_all().setup_cqsize(completions);
    if set_up == SetUp::Deferred {
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
    }
    builder.build(submissions)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completed {
    pub user_data: u64,
    pub result: i32,
    pub more: bool,
    pub buffer: Option<u16>,
}

pub struct Kernel {
    pub ring: IoUring,
    buffers: Option<Buffers>,
}

impl Kernel {
    pub fn new(set_up: SetUp) -> Kernel {
        Kernel::with_completions(set_up, 64)
    }

    pub fn with_completions(set_up: SetUp, completions: u32) -> Kernel {
        let ring = build(completions.min(64), completions, set_up).expect("a ring");
        Kernel { ring, buffers: None }
    }

    /// Provides a ring for `entries` buffers, and no buffer.
    pub fn provide(&mut self, entries: u16, bytes: usize) {
        let buffers = Buffers::new(entries, bytes);
        let address = buffers.ring.as_ptr() as u64;
        // SAFETY: the area is aligned to a page, has `entries` entries, and is never freed.
        let registered = unsafe { self.ring.submitter().register_buf_ring_with_flags(address, entries, GROUP, 0) };
        registered.expect("a buffer ring");
        self.buffers = Some(buffers);
    }

    pub fn offer(&mut self, id: u16) {
        self.buffers.as_mut().expect("provided").offer(id);
    }

    /// What the kernel wrote into the buffer that a completion carried.
    pub fn bytes(&self, completed: &Completed) -> Vec<u8> {
        let id = completed.buffer.expect("a buffer");
        let length = usize::try_from(completed.result).expect("received bytes");
        self.buffers.as_ref().expect("provided").read(id, length)
    }

    /// Submits one operation. What it points to must be leaked.
    pub fn submit(&mut self, entry: squeue::Entry, user_data: u64) {
        // SAFETY: receives write to provided buffers, everything else that these tests point to is leaked.
        unsafe { self.ring.submission().push(&entry.user_data(user_data)) }.expect("room in the queue");
        let submitted = self.ring.submit().expect("submits");
        assert_eq!(submitted, 1, "kernel {}", release());
    }

    pub fn receive(&mut self, descriptor: i32, how: u16, length: u32, user_data: u64) {
        let entry = opcode::Recv::new(types::Fd(descriptor), std::ptr::null_mut(), length)
            .ioprio(how)
            .buf_group(GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        self.submit(entry, user_data);
    }

    pub fn cancel(&mut self, target: u64, user_data: u64) {
        self.submit(opcode::AsyncCancel::new(target).build(), user_data);
    }

    /// The next completion; there must be one.
    pub fn next(&mut self) -> Completed {
        self.next_within(PATIENCE).unwrap_or_else(|| panic!("kernel {}: nothing completed", release()))
    }

    pub fn next_within(&mut self, patience: Duration) -> Option<Completed> {
        let taken = self.take();
        if taken.is_some() {
            return taken;
        }
        let timespec = Timespec::from(patience);
        match self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timespec)) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ETIME), "kernel {}: {error}", release()),
        }
        self.take()
    }

    fn take(&mut self) -> Option<Completed> {
        self.ring.completion().next().map(|entry| Completed {
            user_data: entry.user_data(),
            result: entry.result(),
            more: cqueue::more(entry.flags()),
            buffer: cqueue::buffer_select(entry.flags()),
        })
    }

    /// Everything that has completed by now: what comes before an operation that does nothing.
    pub fn all_by_now(&mut self) -> Vec<Completed> {
        self.submit(opcode::Nop::new().build(), NOTHING);
        let mut all = Vec::new();
        loop {
            match self.next() {
                Completed { user_data: NOTHING, .. } => return all,
                completed => all.push(completed),
            }
        }
    }
}

/// Provided buffers in leaked memory.
struct Buffers {
    ring: &'static Area,
    memory: &'static Area,
    entries: u16,
    bytes: usize,
    tail: u16,
}

/// Memory that only raw pointers touch: the kernel reads and writes it too.
#[repr(C, align(4096))]
struct Area(std::cell::UnsafeCell<[u8; 64 * 1024]>);

impl Area {
    fn leaked() -> &'static Area {
        keep(Area(std::cell::UnsafeCell::new([0; 64 * 1024])))
    }

    fn as_ptr(&self) -> *mut u8 {
        self.0.get().cast()
    }
}

impl Buffers {
    fn new(entries: u16, bytes: usize) -> Buffers {
        assert!(usize::from(entries) * bytes <= size_of::<Area>() && entries <= 4096);
        Buffers { ring: Area::leaked(), memory: Area::leaked(), entries, bytes, tail: 0 }
    }

    fn address(&self, id: u16) -> *mut u8 {
        assert!(id < self.entries);
        self.memory.as_ptr().wrapping_add(usize::from(id) * self.bytes)
    }

    fn offer(&mut self, id: u16) {
        let first = self.ring.as_ptr().cast::<BufRingEntry>();
        let index = usize::from(self.tail % self.entries);
        // SAFETY: the entry lies in the leaked area, and the kernel reads it only once the tail says so.
        let entry = unsafe { &mut *first.wrapping_add(index) };
        entry.set_addr(self.address(id) as u64);
        entry.set_len(u32::try_from(self.bytes).expect("small"));
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `first` points to the first entry of the ring.
        let tail = unsafe { BufRingEntry::tail(first) };
        // SAFETY: the tail lies in the leaked area, is aligned, and is shared as an atomic.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    fn read(&self, id: u16, length: usize) -> Vec<u8> {
        assert!(length <= self.bytes);
        let start = self.address(id);
        // SAFETY: inside the leaked area; the kernel gave the buffer up with the completion that carried its number.
        unsafe { std::slice::from_raw_parts(start, length) }.to_vec()
    }
}
