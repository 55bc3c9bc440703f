//! The proxy's thread and its handle.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use pogu_port::{
    Completion, DriverChoice, ListenOptions, ListenerId, OpenError, OsError, Port, PortConfig, PortSeed, Poster,
    Selection, SubmitError, Unavailable, resolve,
};

use crate::account::Account;
use crate::mistreatment::Mistreatment;
use crate::relay::{PROXY, Relay};

/// Why a proxy could not be started, or did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The driver that was asked for cannot run here.
    #[error(transparent)]
    Driver(#[from] Unavailable),
    /// The port could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The target's name could not be looked up.
    #[error("the target {target} cannot be looked up: {error}")]
    Unresolved {
        /// The name.
        target: String,
        /// Why.
        error: io::Error,
    },
    /// The system refused a step.
    #[error(transparent)]
    Os(#[from] OsError),
    /// The port refused the listener.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The system gave the proxy no thread.
    #[error("the proxy has no thread: {0}")]
    Thread(io::Error),
    /// The proxy's thread panicked.
    #[error("the proxy panicked")]
    Panicked,
}

/// What a proxy is told.
enum Order {
    /// What has been done so far is wanted.
    Tell(Sender<Account>),
    Stop,
}

/// A proxy on a thread of its own. Dropped, it stops, as [`Proxy::stop`] does.
pub struct Proxy {
    address: SocketAddr,
    driver: String,
    orders: Poster<Order>,
    may_cut: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Account, ProxyError>>>,
}

impl Proxy {
    /// Starts a proxy for `target` (an address or a name with its port) at a free port of the loopback address.
    ///
    /// # Errors
    /// The target's name cannot be looked up, the driver cannot run here, or the system refuses.
    pub fn start(target: &str, driver: DriverChoice, mistreatment: Mistreatment) -> Result<Proxy, ProxyError> {
        let unresolved = |error| ProxyError::Unresolved { target: target.to_owned(), error };
        let found = resolve(target).map_err(unresolved)?;
        let target = found.first().copied().ok_or_else(|| unresolved(io::ErrorKind::NotFound.into()))?;
        let selection = Selection::choose(driver)?;
        let seed = PortSeed::<Order>::open(&selection, &PortConfig::default())?;
        let orders = seed.poster();
        let bound = selection.bind((Ipv4Addr::LOCALHOST, 0).into(), &ListenOptions::default())?;
        let address = bound.local_address();
        let may_cut = Arc::new(AtomicBool::new(true));
        let relay = Relay::new(target, mistreatment, Arc::clone(&may_cut));
        let run = move || {
            let mut port = seed.start()?;
            let listener = port.operations().listen(PROXY, bound).map_err(|refused| refused.error)?;
            run(port, listener, relay)
        };
        let thread = std::thread::Builder::new().name("pogu-chaos".to_owned()).spawn(run);
        let thread = Some(thread.map_err(ProxyError::Thread)?);
        Ok(Proxy { address, driver: selection.kind().to_string(), orders, may_cut, thread })
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The driver that it runs on.
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// Whether connections may be cut from now on; at the start they may. Whoever is about to judge forbids it, and then waits
    /// for what is under way: delays, pieces and stalls go on, and so does a half-close that has begun.
    pub fn allow_cuts(&self, allowed: bool) {
        self.may_cut.store(allowed, Ordering::Release);
    }

    /// What it has done so far; `None` if it does not work any more, which [`Proxy::stop`] explains.
    pub fn account(&self) -> Option<Account> {
        let (sender, account) = channel();
        self.orders.post(PROXY, Order::Tell(sender)).ok()?;
        account.recv().ok()
    }

    /// Stops accepting, resets the pairs that are still there, waits until everything has come back, and says what was done.
    ///
    /// # Errors
    /// Its port failed, or its thread panicked.
    pub fn stop(mut self) -> Result<Account, ProxyError> {
        self.join()
    }

    fn join(&mut self) -> Result<Account, ProxyError> {
        // Refused only if the thread has ended, and then it has said why.
        let _ = self.orders.post(PROXY, Order::Stop);
        let thread = self.thread.take().ok_or(ProxyError::Panicked)?;
        thread.join().unwrap_or(Err(ProxyError::Panicked))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // Nobody is there who wants to know.
            let _ = self.join();
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).field("driver", &self.driver).finish_non_exhaustive()
    }
}

/// The proxy's thread: until it is told to stop and nothing is left.
fn run(mut port: Port<Order>, listener: ListenerId, mut relay: Relay) -> Result<Account, ProxyError> {
    let mut stops = false;
    loop {
        port.dispatch(relay.wakes_at(), |operations, completion| match completion {
            Completion::Posted { value: Order::Tell(sender), .. } => drop(sender.send(relay.account.clone())),
            Completion::Posted { value: Order::Stop, .. } => {
                stops = true;
                // Refused only if it is closed already.
                let _ = operations.close_listener(listener);
                relay.abort(operations);
            }
            // Came while the listener was being closed.
            Completion::Accepted { stream, .. } if stops => stream.reset(),
            other => relay.complete(operations, other),
        })?;
        relay.wake(&mut port.operations());
        if stops && relay.is_empty() && port.operations().open() == 0 {
            return Ok(std::mem::take(&mut relay.account));
        }
    }
}
