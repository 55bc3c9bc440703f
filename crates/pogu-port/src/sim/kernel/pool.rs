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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_buffers_as_there_were_and_of_full_size() {
        let mut pool = Pool::new(2, 100);
        for _ in 0..3 {
            let taken: Vec<Vec<u8>> = std::iter::from_fn(|| pool.take()).take(3).collect();
            assert_eq!((taken.len(), pool.total(), pool.free()), (2, 2, 0));
            for (index, mut buffer) in taken.into_iter().enumerate() {
                assert_eq!(buffer.len(), 100);
                buffer.truncate(7);
                pool.put(buffer);
                assert_eq!(pool.free(), index + 1);
            }
        }
    }
}
