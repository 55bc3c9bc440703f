//! The receive buffers of one port.
//!
//! ```text
//!   free --- a receive takes one ---> queued, with its completion --- the driver takes it ---> lent
//!    ^------------------------------------- the callback has returned, or unwound ---------------/
//! ```

/// See the [module](self). A buffer has memory from its first use on.
#[derive(Debug)]
pub(in crate::sim) struct Pool {
    free: Vec<Vec<u8>>,
    total: usize,
    buffer_bytes: usize,
    pub(in crate::sim) lent: usize,
}

impl Pool {
    pub(super) fn new(total: usize, buffer_bytes: usize) -> Pool {
        Pool { free: (0..total).map(|_| Vec::new()).collect(), total, buffer_bytes, lent: 0 }
    }

    pub(in crate::sim) fn total(&self) -> usize {
        self.total
    }

    pub(in crate::sim) fn free(&self) -> usize {
        self.free.len()
    }

    /// A buffer of full size, if one is free.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let mut buffer = self.free.pop()?;
        buffer.resize(self.buffer_bytes, 0);
        Some(buffer)
    }

    /// A buffer comes back.
    pub(super) fn put(&mut self, buffer: Vec<u8>) {
        self.free.push(buffer);
    }
}
