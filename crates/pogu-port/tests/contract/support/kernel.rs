//! The world of the operating system: its sockets and its time.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use pogu_port::{
    BoundListener, Clock, DriverChoice, DriverKind, Faults, ListenOptions, OpenError, OsError, PortConfig, PortSeed,
    Selection, Time,
};
use socket2::{Domain, SockRef, Socket, Type};

use super::Post;
use super::world::{Capability, Line, PATIENCE, Silence, World, localhost};

/// See the [module](self).
pub struct Kernel {
    selection: Selection,
    clock: Clock,
    faults: Faults,
    /// Bound and not listening: refuses, and nobody else can take the address meanwhile.
    nobody: Socket,
}

impl Kernel {
    pub fn new(selection: Selection) -> Kernel {
        let nobody = stream_socket();
        nobody.bind(&localhost().into()).expect("an address is free");
        Kernel { selection, clock: Clock::monotonic(), faults: Faults::new(), nobody }
    }

    /// With the driver that runs on every machine with this system.
    pub fn plain() -> Kernel {
        let choice = if cfg!(windows) { DriverChoice::Iocp } else { DriverChoice::Readiness };
        Kernel::new(Selection::choose(choice).expect("it runs everywhere"))
    }
}

impl World for Kernel {
    fn lacks(&self, capability: Capability) -> Option<&'static str> {
        let (linux, kind) = (cfg!(target_os = "linux"), self.selection.kind());
        match capability {
            Capability::Vanishing if !linux => Some("only Linux lets us drop what reaches a socket"),
            Capability::Rings if kind != DriverKind::Uring => {
                Some("nothing is queued between this driver and the system")
            }
            Capability::ShortSends if kind == DriverKind::Iocp => {
                Some("a send waits in the system until it has taken everything")
            }
            Capability::Detaching if kind == DriverKind::Iocp => {
                Some("a socket belongs to its completion port until it is closed")
            }
            _ => None,
        }
    }

    /// What a busy machine may take to let a thread run that has slept.
    fn lateness_max(&self) -> Duration {
        Duration::from_millis(100)
    }

    fn clock(&self) -> Clock {
        self.clock.clone()
    }

    fn advance(&self, _: Duration) {
        // Time passes by itself; others may use it.
        thread::yield_now();
    }

    fn pass(&self, _: Time) {}

    fn faults(&self) -> Faults {
        self.faults.clone()
    }

    fn open(&self, config: &PortConfig) -> Result<PortSeed<Post>, OpenError> {
        PortSeed::open(&self.selection, config)
    }

    fn bind(&self, address: SocketAddr) -> Result<BoundListener, OsError> {
        BoundListener::bind(address, &ListenOptions::default())
    }

    fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Line>> {
        // The backlog answers, not the port: this does not wait for anybody's turn.
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Box::new(stream))
    }

    fn nobody(&self) -> SocketAddr {
        self.nobody.local_addr().expect("it is bound").as_socket().expect("an address")
    }

    /// A listener whose backlog is full, so that further handshakes get no answer.
    fn silence(&self) -> Silence {
        let listener = stream_socket();
        listener.bind(&localhost().into()).expect("an address is free");
        listener.listen(0).expect("it is bound");
        let address = listener.local_addr().expect("it is bound").as_socket().expect("an address");
        // The first fills the queue of those who wait for an accept. Connected means that it is in there.
        let first = TcpStream::connect(address).expect("there is room for one");
        let more = (0..4).map(|_| {
            let socket = stream_socket();
            socket.set_nonblocking(true).expect("an option");
            // In progress for as long as it takes.
            let _ = socket.connect(&address.into());
            socket
        });
        let sockets: Vec<Socket> = more.chain([Socket::from(first), listener]).collect();
        Silence { address, _kept: Box::new(sockets) }
    }
}

fn stream_socket() -> Socket {
    Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket")
}

/// Attaches a filter that lets nothing through.
#[cfg(target_os = "linux")]
fn drop_what_comes(stream: &TcpStream) {
    use std::os::fd::AsRawFd;
    // BPF_RET | BPF_K: accept so many bytes of the packet, none.
    let mut nothing = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 };
    let program = libc::sock_fprog { len: 1, filter: &raw mut nothing };
    let length = libc::socklen_t::try_from(size_of_val(&program)).expect("a few bytes");
    let (socket, option) = (stream.as_raw_fd(), libc::SO_ATTACH_FILTER);
    // SAFETY: the kernel copies the program, whose length is that of the one instruction that it points to, during the call.
    let answer = unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, (&raw const program).cast(), length) };
    assert_eq!(answer, 0, "anybody may attach a filter: {}", io::Error::last_os_error());
}

impl Line for TcpStream {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match Read::read(self, space) {
            // Wine may have told somebody else that the other side had reset it: then not even no bytes can be sent.
            Ok(0) if cfg!(windows) => match Write::write(self, &[]) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(error),
                _ => Ok(0),
            },
            read => read,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn shut(&mut self) {
        // Refused only if the other side has reset it meanwhile.
        let _ = self.shutdown(Shutdown::Write);
    }

    fn reset(self: Box<Self>) {
        SockRef::from(&*self).set_linger(Some(Duration::ZERO)).expect("an option");
    }

    /// Whatever reaches the socket is dropped before TCP sees it, so that nothing is acknowledged, answered or reset: all that
    /// the other side can tell of a machine that is gone.
    fn vanish(self: Box<Self>) -> Option<Box<dyn Line>> {
        #[cfg(target_os = "linux")]
        drop_what_comes(&self);
        Some(self)
    }

    fn local_address(&self) -> SocketAddr {
        self.local_addr().expect("it is connected")
    }

    fn peer_address(&self) -> SocketAddr {
        self.peer_addr().expect("it is connected")
    }
}
