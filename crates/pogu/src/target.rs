//! Where a service is: what it was told, and what that has turned out to be.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

/// What is known of an address before anything is: no address at all.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The address of a service.
#[derive(Debug)]
pub(crate) struct Target {
    /// For people, and for the resolver.
    text: String,
    /// There if nothing needs to be looked up.
    literal: Option<SocketAddr>,
    /// What was dialled last.
    dialled: Mutex<Option<SocketAddr>>,
}

impl Target {
    pub(crate) fn bound(address: SocketAddr) -> Target {
        Target { text: address.to_string(), literal: Some(address), dialled: Mutex::new(None) }
    }

    /// # Errors
    /// The text is neither an address nor a name with a port.
    pub(crate) fn parse(text: &str) -> Result<Target> {
        let literal = text.parse().ok();
        let is_name =
            || text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if literal.is_none() && !is_name() {
            let reason = "it is neither an address nor a name with a port".to_owned();
            return Err(Error::Address { address: text.to_owned(), reason });
        }
        Ok(Target { text: text.to_owned(), literal, dialled: Mutex::new(None) })
    }

    pub(crate) fn literal(&self) -> Option<SocketAddr> {
        self.literal
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn note_dialled(&self, address: SocketAddr) {
        if self.literal.is_none() {
            *self.dialled.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
        }
    }

    /// The address as far as it is known.
    pub(crate) fn address(&self) -> SocketAddr {
        let dialled = || *self.dialled.lock().unwrap_or_else(PoisonError::into_inner);
        self.literal.or_else(dialled).unwrap_or(UNKNOWN)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_told_apart() {
        for (text, literal) in [("10.0.0.1:80", true), ("[::1]:80", true), ("db.example:80", false)] {
            assert_eq!(Target::parse(text).expect(text).literal().is_some(), literal, "{text}");
        }
        for text in ["nowhere", "", ":80", "db.example:", "db.example:http", "db.example:65536"] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_address_of_a_name_is_the_one_dialled_last() {
        let target = Target::parse("db.example:80").expect("a name");
        assert_eq!(target.address(), UNKNOWN);
        let address = SocketAddr::from(([10, 0, 0, 1], 80));
        target.note_dialled(address);
        assert_eq!(target.address(), address);
    }
}
