//! A layer between a carrier and its frames: what comes is transformed before it is parsed, what leaves after it was framed.
//!
//! ```text
//!   port buffer --received--> [layer, in place] --> frames --> on_packet
//!   send --> frames --> send queue --flush--> [layer, in place] --> port
//! ```
//!
//! Frames stay frames until the flush, so that what waits can be dropped, replaced and shared; a layer sees each byte once,
//! in the order of the stream. Bytes that are shared with other sessions are copied before a layer changes them.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::session::Incoming;

/// Transforms the bytes of one connection in place. It lives in the session's worker, with the session.
///
/// A panic in one of its methods ends the session with [`Cause::HandlerPanicked`](crate::Cause::HandlerPanicked).
pub trait Layer: Any {
    /// Bytes came, in the order of the stream, each once. `bytes` is the port's own buffer.
    ///
    /// # Errors
    /// No honest peer sends this; what was expected and what came. The session ends with
    /// [`Misbehaviour::Layer`](crate::Misbehaviour::Layer).
    fn received(&mut self, bytes: &mut [u8]) -> Result<(), Cow<'static, str>>;

    /// Bytes leave, in the order of the stream, each once.
    fn leaving(&mut self, bytes: &mut [u8]);
}

impl Layer for Box<dyn Layer> {
    fn received(&mut self, bytes: &mut [u8]) -> Result<(), Cow<'static, str>> {
        (**self).received(bytes)
    }

    fn leaving(&mut self, bytes: &mut [u8]) {
        (**self).leaving(bytes);
    }
}

type MakeLayer = dyn Fn(&Incoming) -> Box<dyn Layer> + Send + Sync;

/// Makes the layer of each connection, refused ones included: what they are told goes through it too.
#[derive(Clone)]
pub(crate) struct LayerFactory(Arc<MakeLayer>);

impl LayerFactory {
    pub(crate) fn new<F, L>(factory: F) -> LayerFactory
    where
        F: Fn(&Incoming) -> L + Send + Sync + 'static,
        L: Layer,
    {
        LayerFactory(Arc::new(move |incoming| Box::new(factory(incoming))))
    }

    pub(crate) fn make(&self, incoming: &Incoming) -> Layered {
        Layered { layer: (self.0)(incoming), transformed_bytes: 0 }
    }
}

impl fmt::Debug for LayerFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LayerFactory")
    }
}

/// The layer of one connection, and how far it has come.
pub(crate) struct Layered {
    layer: Box<dyn Layer>,
    /// Bytes that the port has kept for us and that have been through the layer already: the first ones of the next delivery.
    transformed_bytes: usize,
}

impl Layered {
    /// Transforms what is new in a delivery.
    pub(crate) fn received(&mut self, bytes: &mut [u8]) -> Result<(), Cow<'static, str>> {
        let new = bytes.get_mut(self.transformed_bytes..).unwrap_or_default();
        if !new.is_empty() {
            self.layer.received(new)?;
        }
        self.transformed_bytes = self.transformed_bytes.max(bytes.len());
        Ok(())
    }

    /// The first `consumed` bytes of the delivery do not come again.
    pub(crate) fn consumed(&mut self, consumed: usize) {
        self.transformed_bytes = self.transformed_bytes.saturating_sub(consumed);
    }

    pub(crate) fn leaving(&mut self, bytes: &mut [u8]) {
        self.layer.leaving(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds a number that grows with every byte: a byte that is seen twice, or never, shows.
    struct Counting(u8);

    impl Layer for Counting {
        fn received(&mut self, bytes: &mut [u8]) -> Result<(), Cow<'static, str>> {
            for byte in bytes {
                *byte = byte.wrapping_add(self.0);
                self.0 = self.0.wrapping_add(1);
            }
            Ok(())
        }

        fn leaving(&mut self, _bytes: &mut [u8]) {}
    }

    #[test]
    fn what_is_shown_again_is_transformed_once() {
        let mut layered = Layered { layer: Box::new(Counting(0)), transformed_bytes: 0 };
        let mut seen = vec![0; 5];
        layered.received(&mut seen).unwrap();
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        layered.consumed(2);
        // Shown again: less than was kept, then all of it with more behind.
        let mut again = vec![2, 3];
        layered.received(&mut again).unwrap();
        layered.consumed(1);
        assert_eq!(again, [2, 3]);
        let mut all = vec![3, 4, 0, 0];
        layered.received(&mut all).unwrap();
        layered.consumed(4);
        assert_eq!(all, [3, 4, 5, 6]);
        let mut next = vec![0];
        layered.received(&mut next).unwrap();
        assert_eq!(next, [7]);
    }
}
