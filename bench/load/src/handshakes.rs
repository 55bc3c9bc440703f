//! What the system had to do again to connect, of all connections in its network namespace.

use std::fs::read_to_string;
use std::io;

use crate::kernel_text::column_number;

#[derive(Clone, Copy, Debug)]
pub struct Handshakes {
    /// Beginnings of connections that were sent again, by either side.
    pub retried: u64,
    /// Connections that a full queue of a listener turned away for now.
    pub listen_overflows: u64,
}

impl Handshakes {
    pub fn look() -> io::Result<Handshakes> {
        let text = read_to_string("/proc/net/netstat")?;
        Ok(Handshakes {
            retried: column_number(&text, "TcpExt", "TCPSynRetrans")?,
            listen_overflows: column_number(&text, "TcpExt", "ListenOverflows")?,
        })
    }

    pub fn since(self, before: Handshakes) -> Handshakes {
        Handshakes {
            retried: self.retried - before.retried,
            listen_overflows: self.listen_overflows - before.listen_overflows,
        }
    }
}
