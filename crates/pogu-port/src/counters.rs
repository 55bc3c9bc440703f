//! What a port counts: nothing that it does is invisible.

use std::ops::AddAssign;

/// Totals since the port was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Turns of `dispatch`.
    pub turns: u64,
    /// System calls that waited for or submitted operations.
    pub waits: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Accepts that failed: the peer had gone, or the system ran out of something.
    pub accept_failures: u64,
    /// Times that a listener began to pause.
    pub accept_pauses: u64,
    /// Clients that were accepted and reset at once because the shortage of descriptors lasted.
    pub accept_sheds: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Sends that the system took only in part, and that the driver continued.
    pub short_sends: u64,
    /// Times that a receive waited because all buffers that circulate were in use.
    pub buffer_starvations: u64,
    /// Receives that the system refused to arm for now, for want of memory, and that the driver arms later (iocp only).
    pub refused_arms: u64,
    /// Multishot receives that the kernel ended and the driver armed again.
    pub receive_rearms: u64,
    /// Bytes that a receiver did not consume and the port kept.
    pub kept_bytes: u64,
    /// Posts that found the inbox full or closed, or were dropped because they came while it was being closed.
    pub refused_posts: u64,
    /// Late completions: bytes of a connection that its owner had ended, clients of a listener that is closing, reports of
    /// what has gone. What they carried (a receive buffer, a descriptor) has been returned.
    pub late_completions: u64,
    /// Of these, the ones that carried a descriptor, which has been closed: a client that the system had accepted before it
    /// heard that the listener closes, or when the listener had gone (io_uring only: elsewhere such clients stay in the
    /// backlog and are told when it goes).
    pub late_descriptors: u64,
    /// Completion-queue overflows noticed (io_uring only).
    pub completion_overflows: u64,
    /// Newer forms of an operation that the kernel refused at run time; the older one is used since (io_uring only).
    pub refused_forms: u64,
    /// Operations that the kernel ended because it could not touch their memory (EFAULT). Never anything but 0: it
    /// counts bugs, which [guarded](crate::PortConfig::guarded) memory makes visible.
    pub memory_faults: u64,
}

impl AddAssign for Counters {
    /// Adds what another port counts.
    fn add_assign(&mut self, other: Counters) {
        let Counters {
            turns,
            waits,
            accepted,
            accept_failures,
            accept_pauses,
            accept_sheds,
            received_bytes,
            sent_bytes,
            short_sends,
            buffer_starvations,
            refused_arms,
            receive_rearms,
            kept_bytes,
            refused_posts,
            late_completions,
            late_descriptors,
            completion_overflows,
            refused_forms,
            memory_faults,
        } = other;
        self.turns += turns;
        self.waits += waits;
        self.accepted += accepted;
        self.accept_failures += accept_failures;
        self.accept_pauses += accept_pauses;
        self.accept_sheds += accept_sheds;
        self.received_bytes += received_bytes;
        self.sent_bytes += sent_bytes;
        self.short_sends += short_sends;
        self.buffer_starvations += buffer_starvations;
        self.refused_arms += refused_arms;
        self.receive_rearms += receive_rearms;
        self.kept_bytes += kept_bytes;
        self.refused_posts += refused_posts;
        self.late_completions += late_completions;
        self.late_descriptors += late_descriptors;
        self.completion_overflows += completion_overflows;
        self.refused_forms += refused_forms;
        self.memory_faults += memory_faults;
    }
}
