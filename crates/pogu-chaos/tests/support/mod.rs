//! A client, a proxy and a target, on every driver that can run here.
#![allow(dead_code)] // each test file uses its own part

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use pogu_chaos::{DriverChoice, Mistreatment, Proxy};
use pogu_port::Selection;

/// Nothing under test takes so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

const DRIVERS: [DriverChoice; 3] = [DriverChoice::Uring, DriverChoice::Readiness, DriverChoice::Iocp];

/// Runs a test once per driver that can run here.
pub fn on_each_driver(test: impl Fn(DriverChoice)) {
    let here: Vec<DriverChoice> = DRIVERS.into_iter().filter(|driver| Selection::choose(*driver).is_ok()).collect();
    assert!(!here.is_empty());
    for driver in here {
        println!("driver {driver:?}");
        test(driver);
    }
}

/// A target that the test itself is.
pub struct Target(TcpListener);

impl Target {
    pub fn bind() -> Target {
        Target(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    pub fn name(&self) -> String {
        self.0.local_addr().expect("bound").to_string()
    }

    pub fn accept(&self) -> TcpStream {
        impatient(self.0.accept().expect("the proxy dials").0)
    }
}

pub fn connect(proxy: &Proxy) -> TcpStream {
    impatient(TcpStream::connect(proxy.address()).expect("the proxy listens"))
}

/// What a client that says nothing hears of the proxy. It may be reset before the call that connects it has returned.
pub fn hear(proxy: &Proxy) -> (Vec<u8>, Ended) {
    match TcpStream::connect(proxy.address()) {
        Ok(stream) => read_all(&mut impatient(stream)),
        Err(error) if is_reset(&error) => (Vec::new(), Ended::Reset),
        Err(error) => panic!("the proxy listens: {error}"),
    }
}

fn impatient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream.set_write_timeout(Some(PATIENCE)).expect("an option");
    stream
}

/// A proxy, and both ends of one connection through it.
pub fn pair(driver: DriverChoice, mistreatment: Mistreatment) -> (Proxy, TcpStream, TcpStream) {
    let target = Target::bind();
    let proxy = Proxy::start(&target.name(), driver, mistreatment).expect("a proxy");
    let client = connect(&proxy);
    let server = target.accept();
    (proxy, client, server)
}

/// Bytes that differ from their neighbours, so that a wrong order is seen.
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    Finished,
    Reset,
}

/// Reads to the end.
pub fn read_all(stream: &mut TcpStream) -> (Vec<u8>, Ended) {
    let mut all = Vec::new();
    let mut some = [0; 4096];
    loop {
        match stream.read(&mut some) {
            Ok(0) => return (all, Ended::Finished),
            Ok(count) => all.extend_from_slice(&some[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_reset(&error) => return (all, Ended::Reset),
            Err(error) => panic!("neither bytes nor an end, after {} bytes: {error}", all.len()),
        }
    }
}

fn is_reset(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}

pub fn finish(stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).expect("connected");
}

/// Closes with a reset.
pub fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
}

/// Writes until the other side is gone; tells how much was written.
pub fn write_until_refused(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    let mut written = 0;
    while let Ok(count) = stream.write(&bytes[written..]) {
        if count == 0 {
            break;
        }
        written += count;
    }
    written
}
