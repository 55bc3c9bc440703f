//! Asks the kernel, on a scratch ring and a socket pair, which operation forms it knows.

use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::io::Errno;

use super::buffers::Buffers;
use super::features::{Features, SetUp};
use super::receive::Forms;
use super::ring::{Event, Ring, Wait, build};
use super::token::Token;
use crate::faults::Faults;
use crate::identity::Name;

const ENTRIES: u32 = 8;
const BUFFERS: u16 = 4;
const BUFFER_BYTES: u32 = 64;
const GREETING: &[u8] = b"pogu";

/// Tries of a tenth of a second until an answer counts as missing.
const TRIES: usize = 20;

/// What the kernel knows, or why the driver cannot run.
pub(crate) fn probe() -> Result<Features, String> {
    let features = ask_kernel()?;
    #[cfg(feature = "masks")]
    let features = super::masks::apply(features)?;
    Ok(features)
}

fn ask_kernel() -> Result<Features, String> {
    let set_up = accepted_set_up()?;
    let mut features = Features { set_up, multishot: false, length_cap: false, no_iowait: false };
    let mut ring = Ring::open(ENTRIES, ENTRIES * 2, &features, Faults::default())
        .map_err(|error| format!("io_uring_setup: {error}"))?;
    let parameters = ring.io().params();
    for (known, name) in [
        (parameters.is_feature_ext_arg(), "EXT_ARG"),
        (parameters.is_feature_nodrop(), "NODROP"),
        (parameters.is_feature_submit_stable(), "SUBMIT_STABLE"),
        (parameters.is_feature_fast_poll(), "FAST_POLL"),
    ] {
        if !known {
            return Err(format!("the kernel's io_uring has no IORING_FEAT_{name}"));
        }
    }
    features.no_iowait = parameters.is_feature_no_iowait();
    ring.enable().map_err(|error| format!("enabling a ring: {error}"))?;
    let mut buffers = Buffers::register(ring.io(), BUFFERS, BUFFER_BYTES, false, Faults::default())
        .map_err(|error| format!("registering receive buffers: {error}"))?;
    for (multishot, length_cap) in [(true, true), (true, false), (false, false)] {
        let forms = Forms { multishot, cap: if length_cap { BUFFER_BYTES } else { 0 }, buffer_bytes: BUFFER_BYTES };
        match try_receive(&mut ring, &mut buffers, &forms) {
            Ok(true) => return Ok(Features { multishot, length_cap, ..features }),
            Ok(false) => {}
            Err(reason) => {
                // The kernel may still write to a buffer.
                std::mem::forget((ring, buffers));
                return Err(reason);
            }
        }
    }
    Err("the kernel refused every form of receive into provided buffers".to_owned())
}

/// The newest set-up that the kernel accepts. Only EINVAL speaks of the flags; anything else would refuse every form.
fn accepted_set_up() -> Result<SetUp, String> {
    for set_up in SetUp::FORMS {
        match build(ENTRIES, ENTRIES * 2, set_up) {
            Ok(_) => return Ok(set_up),
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {}
            Err(error) => return Err(format!("io_uring_setup: {error}")),
        }
    }
    Err("io_uring_setup refused every set of flags (EINVAL)".to_owned())
}

/// Whether a form of receive works: `Err` only if the operation did not end.
fn try_receive(ring: &mut Ring, buffers: &mut Buffers, forms: &Forms) -> Result<bool, String> {
    let pair = UnixStream::pair().map_err(|error| format!("a socket pair: {error}"))?;
    let (receiver, mut sender) = pair;
    let entry = forms.receive(receiver.as_raw_fd(), true);
    let token = Token::receive(Name { slot: 0, generation: 1 });
    // SAFETY: the entry points to nothing; the buffers stay mapped until the operation has ended, or for ever.
    unsafe { ring.push(entry.user_data(token.encode())) };
    sender.write_all(GREETING).map_err(|error| format!("a socket pair: {error}"))?;
    let Some(first) = next_event(ring)? else { return Err("a receive did not complete".to_owned()) };
    let received = usize::try_from(first.result).unwrap_or(0);
    let loan = first.buffer().and_then(|id| buffers.lend(id, received));
    let arrived = loan.is_some_and(|mut loan| loan.bytes() == GREETING);
    let works = arrived && first.more() == forms.multishot;
    drop(sender);
    let mut last = first;
    while last.more() {
        last = next_event(ring)?.ok_or("a multishot receive did not end with its stream")?;
        drop(last.buffer().and_then(|id| buffers.lend(id, 0)));
    }
    Ok(works)
}

fn next_event(ring: &mut Ring) -> Result<Option<Event>, String> {
    let mut events = VecDeque::new();
    for _ in 0..TRIES {
        ring.enter(Wait::AtMost(Duration::from_millis(100))).map_err(|error| error.to_string())?;
        ring.take_completions(&mut events);
        if let Some(event) = events.pop_front() {
            return Ok(Some(event));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_features_are_named() {
        let Some(features) = super::super::tests::if_allowed(probe()) else { return };
        assert!(features.without_multishot().refused().contains("multishot receive"));
        assert!(features.without_defer_taskrun().refused().contains("deferred task work"));
        assert!(features.without_no_iowait().refused().contains("iowait"));
        assert!(features.without_no_sqarray().refused().contains("index array"));
    }
}
