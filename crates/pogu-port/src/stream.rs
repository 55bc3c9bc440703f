//! Sockets that no port owns: a bound listener before `listen`, a stream between `Accepted` and `adopt`.
//!
//! Both are owned values, `Send`, and close on drop, so a connection that is lost on its way between two ports is
//! closed, never leaked. Each is of one of two kinds: a socket of the operating system, which every driver of the system
//! takes, or one of a [simulation](crate::sim), which that simulation's ports take. A port gives back what is not of its
//! kind.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::{Operation, OsError, Refused, SubmitError};
use crate::gather::Gather;
use crate::options::{ListenOptions, StreamOptions};
use crate::sim::{ListeningSocket, StreamSocket};

/// A socket that is bound and listening, not yet registered with a port. Bound by
/// [`Selection::bind`](crate::Selection::bind), or here.
#[derive(Debug)]
pub struct BoundListener(Bound);

#[derive(Debug)]
enum Bound {
    System(SystemListener),
    Simulated(ListeningSocket),
}

/// What the system's drivers hold of a listener.
#[derive(Debug)]
pub(crate) struct SystemListener {
    pub(crate) socket: Socket,
    address: SocketAddr,
    /// Whether accepted streams inherit its options: asked of the first.
    #[cfg(unix)]
    hands_on: Option<bool>,
}

#[cfg(unix)]
impl SystemListener {
    /// A stream that was just accepted.
    pub(crate) fn accepted(&mut self, socket: Socket, peer: Option<SocketAddr>) -> Detached {
        let is_as_accepted = *self.hands_on.get_or_insert_with(|| socket.tcp_nodelay().unwrap_or(false));
        Detached { is_as_accepted, ..Detached::new(socket, peer) }
    }
}

/// The options of a stream that was accepted where they are inherited: what [`BoundListener::bind`] sets, and nothing else.
const INHERITED: StreamOptions =
    StreamOptions { nodelay: true, reset_on_close: false, send_buffer_bytes: None, receive_buffer_bytes: None };

#[cfg(windows)]
impl SystemListener {
    /// The address that it is bound to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl From<SystemListener> for BoundListener {
    fn from(listener: SystemListener) -> BoundListener {
        BoundListener(Bound::System(listener))
    }
}

impl From<ListeningSocket> for BoundListener {
    fn from(listener: ListeningSocket) -> BoundListener {
        BoundListener(Bound::Simulated(listener))
    }
}

/// How a system is told the length of a backlog.
#[cfg(unix)]
fn backlog(clients: u32) -> i32 {
    i32::try_from(clients).unwrap_or(i32::MAX)
}

/// Windows takes a plain number for 200 at most; a longer backlog is asked for by a negative one (SOMAXCONN_HINT), of 65,535 at
/// most.
#[cfg(windows)]
fn backlog(clients: u32) -> i32 {
    let clients = i32::try_from(clients.min(65_535)).unwrap_or(200);
    if clients > 200 { -clients } else { clients }
}

impl BoundListener {
    /// Binds `address` of the operating system (port 0 lets it choose) and listens on it. From here on clients can connect;
    /// they wait in the backlog until a port takes the listener.
    ///
    /// # Errors
    /// The system's refusal, with the step that it refused: see socket(2), bind(2), listen(2).
    pub fn bind(address: SocketAddr, options: &ListenOptions) -> Result<BoundListener, OsError> {
        let failed = |operation| move |error: std::io::Error| OsError::from_io(operation, &error);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
            .map_err(failed(Operation::OpenSocket))?;
        #[cfg(unix)]
        socket.set_reuse_address(options.reuse_address).map_err(failed(Operation::SetOption))?;
        #[cfg(windows)]
        crate::iocp::set_exclusive_address_use(&socket).map_err(failed(Operation::SetOption))?;
        // Linux hands it on to each accepted stream, which is then as most services want it.
        #[cfg(unix)]
        socket.set_tcp_nodelay(true).map_err(failed(Operation::SetOption))?;
        socket.bind(&address.into()).map_err(failed(Operation::Bind))?;
        socket.listen(backlog(options.backlog)).map_err(failed(Operation::Listen))?;
        socket.set_nonblocking(true).map_err(failed(Operation::SetOption))?;
        let address = socket.local_addr().map_err(failed(Operation::Bind))?.as_socket().unwrap_or(address);
        Ok(SystemListener {
            socket,
            address,
            #[cfg(unix)]
            hands_on: None,
        }
        .into())
    }

    /// The address that it is bound to, with the port that the system chose.
    pub fn local_address(&self) -> SocketAddr {
        match &self.0 {
            Bound::System(listener) => listener.address,
            Bound::Simulated(listener) => listener.local_address(),
        }
    }

    /// For the system's drivers: a simulated listener comes back.
    pub(crate) fn into_system(self) -> Result<SystemListener, Refused<BoundListener>> {
        match self.0 {
            Bound::System(listener) => Ok(listener),
            foreign => Err(Refused { error: SubmitError::Foreign, returned: BoundListener(foreign) }),
        }
    }

    /// For the simulated driver: a listener of the system comes back.
    pub(crate) fn into_simulated(self) -> Result<ListeningSocket, Refused<BoundListener>> {
        match self.0 {
            Bound::Simulated(listener) => Ok(listener),
            foreign => Err(Refused { error: SubmitError::Foreign, returned: BoundListener(foreign) }),
        }
    }
}

/// A connected stream that no port owns: fresh from `accept`, or taken out of a port with `detach`.
#[derive(Debug)]
pub struct Detached {
    pub(crate) stream: Stream,
    pub(crate) peer: Option<SocketAddr>,
    /// Bytes that a port had already received and nobody consumed; delivered first after `adopt`.
    pub(crate) received: Vec<u8>,
    /// Bytes that were given to a port and had not left; sent first after `adopt`.
    pub(crate) unsent: Gather,
    /// True only while its options are [`INHERITED`] for certain: what is so need not be asked for.
    pub(crate) is_as_accepted: bool,
}

/// The socket of a stream.
#[derive(Debug)]
pub(crate) enum Stream {
    System(Socket),
    /// Boxed, so that a stream of the system is no larger for it.
    Simulated(Box<StreamSocket>),
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Stream {
        Stream::System(socket)
    }
}

impl From<Box<StreamSocket>> for Stream {
    fn from(socket: Box<StreamSocket>) -> Stream {
        Stream::Simulated(socket)
    }
}

impl Detached {
    pub(crate) fn new(stream: impl Into<Stream>, peer: Option<SocketAddr>) -> Detached {
        let stream = stream.into();
        Detached { stream, peer, received: Vec::new(), unsent: Gather::new(), is_as_accepted: false }
    }

    /// The peer's address, asked of the system (getpeername(2)) unless the accept already told it.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.peer.or_else(|| match &self.stream {
            Stream::System(socket) => socket.peer_addr().ok()?.as_socket(),
            Stream::Simulated(socket) => socket.peer_address(),
        })
    }

    /// This side's address (getsockname(2)).
    pub fn local_address(&self) -> Option<SocketAddr> {
        match &self.stream {
            Stream::System(socket) => socket.local_addr().ok()?.as_socket(),
            Stream::Simulated(socket) => Some(socket.local_address()),
        }
    }

    /// Bytes received and not consumed before the stream was detached.
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// Bytes not sent when the stream was detached.
    pub fn unsent_bytes(&self) -> usize {
        self.unsent.len()
    }

    /// Closes at once with a reset: the peer learns that nothing more comes, and no TIME_WAIT remains here.
    pub fn reset(self) {
        match &self.stream {
            // A failure leaves the ordinary close of the drop.
            Stream::System(socket) => drop(socket.set_linger(Some(Duration::ZERO))),
            Stream::Simulated(socket) => socket.set_linger(Some(Duration::ZERO)),
        }
    }

    /// For the system's drivers.
    pub(crate) fn apply(&mut self, options: &StreamOptions) -> Result<(), SubmitError> {
        match &self.stream {
            Stream::System(_) if self.is_as_accepted && *options == INHERITED => Ok(()),
            Stream::System(socket) => {
                self.is_as_accepted = false;
                Ok(apply_stream_options(socket, options)?)
            }
            Stream::Simulated(_) => Err(SubmitError::Foreign),
        }
    }
}

/// Sets `options` on a connected or connecting socket. What another port may have set is set back; the sizes of the buffers
/// cannot be left to the system again.
pub(crate) fn apply_stream_options(socket: &Socket, options: &StreamOptions) -> Result<(), OsError> {
    let apply = || {
        socket.set_tcp_nodelay(options.nodelay)?;
        socket.set_linger(options.reset_on_close.then_some(Duration::ZERO))?;
        if let Some(bytes) = options.send_buffer_bytes {
            socket.set_send_buffer_size(bytes as usize)?;
        }
        if let Some(bytes) = options.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes as usize)?;
        }
        Ok(())
    };
    apply().map_err(|error: std::io::Error| OsError::from_io(Operation::SetOption, &error))
}

/// A non-blocking stream socket for `address`, options applied, not yet connected.
pub(crate) fn open_stream(address: SocketAddr, options: &StreamOptions) -> Result<Socket, OsError> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        .map_err(|error| OsError::from_io(Operation::OpenSocket, &error))?;
    socket.set_nonblocking(true).map_err(|error| OsError::from_io(Operation::SetOption, &error))?;
    apply_stream_options(&socket, options)?;
    Ok(socket)
}

/// The addresses that `address` (`"127.0.0.1:7777"`, `"[::1]:7777"`, `"localhost:7777"`) stands for, in the system's order
/// of preference. Blocks while a name is looked up: never call it on a thread that dispatches.
///
/// # Errors
/// The text is no address, or the name could not be looked up: getaddrinfo(3).
pub fn resolve(address: &str) -> std::io::Result<Vec<SocketAddr>> {
    use std::net::ToSocketAddrs;
    address.to_socket_addrs().map(Iterator::collect)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They are inherited from the listener: no call sets them.
    #[test]
    #[cfg(target_os = "linux")]
    fn an_accepted_stream_inherits_what_most_want() {
        let anywhere = "127.0.0.1:0".parse().expect("an address");
        let listener = BoundListener::bind(anywhere, &ListenOptions::default()).expect("bound");
        let address = listener.local_address();
        let mut listener = listener.into_system().expect("one of the system");
        let client = std::net::TcpStream::connect(address).expect("in the backlog");
        listener.socket.set_nonblocking(false).expect("set");
        let (socket, _) = listener.socket.accept().expect("a client");
        let options = |stream: &Detached| match &stream.stream {
            Stream::System(socket) => (socket.tcp_nodelay().expect("got"), socket.linger().expect("got")),
            Stream::Simulated(_) => unreachable!("of the system"),
        };
        let mut stream = listener.accepted(socket, None);
        assert!(stream.is_as_accepted);
        assert_eq!(StreamOptions::default(), INHERITED);
        assert_eq!(options(&stream), (INHERITED.nodelay, None));
        let other = StreamOptions { nodelay: false, reset_on_close: true, ..StreamOptions::default() };
        stream.apply(&other).expect("set");
        assert!(!stream.is_as_accepted);
        assert_eq!(options(&stream), (false, Some(Duration::ZERO)));
        stream.apply(&StreamOptions::default()).expect("set");
        assert_eq!(options(&stream), (true, None));
        drop(client);
    }

    /// A stream may come from a port that had set other ones.
    #[test]
    fn options_are_set_to_what_is_asked_for() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
        for (nodelay, reset_on_close) in [(true, true), (false, false), (true, false), (false, true)] {
            let options = StreamOptions { nodelay, reset_on_close, ..StreamOptions::default() };
            apply_stream_options(&socket, &options).expect("they are set");
            assert_eq!(socket.tcp_nodelay().expect("an option"), nodelay);
            let linger = socket.linger().expect("an option");
            assert_eq!(linger, reset_on_close.then_some(Duration::ZERO));
        }
    }
}
