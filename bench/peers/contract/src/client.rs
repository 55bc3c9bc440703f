//! One side of a connection to the program under test.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::{Failure, Verdict, ensure};

pub const JOIN: u16 = 1;
pub const SAY: u16 = 2;
pub const ECHO: u16 = 3;

/// The longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn frame(id: u16, body: &[u8]) -> Vec<u8> {
    let size = u16::try_from(4 + body.len()).expect("it fits in a frame");
    [&size.to_le_bytes(), &id.to_le_bytes(), body].concat()
}

pub fn join(room: u32) -> Vec<u8> {
    frame(JOIN, &room.to_le_bytes())
}

pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Result<Client, Failure> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { stream })
    }

    /// A client that is in a room.
    pub fn joined(address: SocketAddr, room: u32) -> Result<Client, Failure> {
        let mut client = Client::connect(address)?;
        client.ask(&join(room))?;
        Ok(client)
    }

    /// In one write.
    pub fn send(&mut self, bytes: &[u8]) -> Verdict {
        Ok(self.stream.write_all(bytes)?)
    }

    pub fn receive(&mut self, count_bytes: usize) -> Result<Vec<u8>, Failure> {
        let mut received = vec![0; count_bytes];
        self.stream.read_exact(&mut received).map_err(|error| format!("of {count_bytes} bytes: {error}"))?;
        Ok(received)
    }

    /// The next bytes are these.
    pub fn expect(&mut self, bytes: &[u8]) -> Verdict {
        let received = self.receive(bytes.len())?;
        let same = received.iter().zip(bytes).take_while(|(one, other)| one == other).count();
        ensure(same == bytes.len(), || format!("{} bytes were expected, from the {same}th on they differ", bytes.len()))
    }

    /// What is sent is what is answered.
    pub fn ask(&mut self, bytes: &[u8]) -> Verdict {
        self.send(bytes)?;
        self.expect(bytes)
    }

    pub fn finish_sending(&self) -> Verdict {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// Reads to the end, be it a reset; how many bytes there were. Fails if there is no end.
    pub fn bytes_to_the_end(&mut self) -> Result<usize, Failure> {
        let mut buffer = vec![0; 64 * 1024];
        let mut total_bytes = 0;
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(total_bytes),
                Ok(read_bytes) => total_bytes += read_bytes,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(total_bytes),
                Err(error) => return Err(format!("the session goes on behind {total_bytes} bytes: {error}").into()),
            }
        }
    }
}
