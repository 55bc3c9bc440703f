//! Who has how many connections, and how often new ones come: by address, for services that limit it.
//!
//! One table per service, looked at once per connection and not at all by services without such limits. An entry lives while
//! its address has connections or has used up part of its rate. IPv6 is counted by /64, of which one customer has 2^64
//! addresses. The map is ordered, because keys are chosen by peers: there is nothing to collide.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pogu_port::Time;

use crate::limits::Rate;
use crate::metering::Meter;

/// Entries that are kept for their rate alone. When there are more they are all forgotten: a flood from that many addresses is
/// not one that a rate per address could stop, and memory stays bounded (some 5 MiB).
const RATED_MAX: usize = 65_536;

/// Entries beyond twice what the last sweep left, after which the table is swept again: a sweep costs each of them little.
const SWEEP_MIN: usize = 1_024;

#[derive(Debug, Default)]
pub(crate) struct Addresses {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<u128, Entry>,
    /// Connections of all entries.
    connections: usize,
    /// Entries that the last sweep left.
    swept: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    connections: u32,
    rate: Meter,
}

/// Why a connection of an address is not wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TooMuch {
    Connections,
    Rate,
}

/// One connection of an address; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct AddressSeat {
    addresses: Arc<Addresses>,
    key: u128,
}

impl Addresses {
    /// Counts one more connection of `address`, unless that is too much.
    pub(crate) fn admit(
        self: &Arc<Addresses>,
        address: IpAddr,
        now: Time,
        connections_max: Option<u32>,
        rate: Option<Rate>,
    ) -> Result<AddressSeat, TooMuch> {
        let key = key_of(address);
        let mut table = self.lock();
        table.sweep(now);
        let mut entry = table.entries.get(&key).copied().unwrap_or_default();
        if connections_max.is_some_and(|maximum| entry.connections >= maximum) {
            return Err(TooMuch::Connections);
        }
        if let Some(rate) = rate {
            if !entry.rate.has(rate, now) {
                return Err(TooMuch::Rate);
            }
            entry.rate.take(rate, now, 1);
        }
        entry.connections = entry.connections.saturating_add(1);
        table.entries.insert(key, entry);
        table.connections += 1;
        Ok(AddressSeat { addresses: Arc::clone(self), key })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Throws out what nobody needs, when it has become much.
    fn sweep(&mut self, now: Time) {
        let crowded = self.entries.len() >= self.connections + RATED_MAX;
        if !crowded && self.entries.len() <= 2 * self.swept + SWEEP_MIN {
            return;
        }
        self.entries.retain(|_, entry| entry.connections > 0 || !crowded && !entry.rate.is_full(now));
        self.swept = self.entries.len();
    }
}

impl Drop for AddressSeat {
    fn drop(&mut self) {
        let mut table = self.addresses.lock();
        table.connections = table.connections.saturating_sub(1);
        if let Some(entry) = table.entries.get_mut(&self.key) {
            entry.connections = entry.connections.saturating_sub(1);
            if entry.connections == 0 && entry.rate.is_unused() {
                table.entries.remove(&self.key);
            }
        }
    }
}

/// An IPv4 address, also one written as IPv6, by itself; an IPv6 address by its /64.
fn key_of(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()) | 0xffff << 32,
        IpAddr::V6(address) => address.to_bits() & !u128::from(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Duration::from_millis(milliseconds)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_so_many_connections_and_gets_them_back() {
        let addresses = Arc::new(Addresses::default());
        let admit = |address| addresses.admit(ip(address), at(0), Some(2), None);
        let one = admit("10.0.0.1").unwrap();
        let _two = admit("::ffff:10.0.0.1").unwrap();
        assert_eq!(admit("10.0.0.1").unwrap_err(), TooMuch::Connections);
        assert!(admit("10.0.0.2").is_ok(), "another address is another matter");
        drop(one);
        assert!(admit("10.0.0.1").is_ok());
    }

    #[test]
    fn one_customer_of_ipv6_is_one_address() {
        let addresses = Arc::new(Addresses::default());
        let admit = |address| addresses.admit(ip(address), at(0), Some(1), None);
        let _one = admit("2001:db8:1:2::1").unwrap();
        assert_eq!(admit("2001:db8:1:2:ffff::9").unwrap_err(), TooMuch::Connections);
        assert!(admit("2001:db8:1:3::1").is_ok());
    }

    #[test]
    fn connections_come_at_a_rate() {
        let addresses = Arc::new(Addresses::default());
        let rate = Some(Rate { per_second: 2, burst: 3 });
        let admitted = |now| addresses.admit(ip("10.0.0.1"), at(now), None, rate).is_ok();
        assert_eq!([admitted(0), admitted(0), admitted(0), admitted(0)], [true, true, true, false]);
        assert_eq!([admitted(499), admitted(500), admitted(500)], [false, true, false]);
        assert_eq!([admitted(10_000), admitted(10_000), admitted(10_000), admitted(10_000)], [true, true, true, false]);
    }

    #[test]
    fn a_flood_of_addresses_leaves_nothing_that_grows() {
        let addresses = Arc::new(Addresses::default());
        let rate = Some(Rate { per_second: 1, burst: 1 });
        for index in 0..300_000_u32 {
            let address = IpAddr::from(std::net::Ipv4Addr::from(index));
            drop(addresses.admit(address, at(0), None, rate));
        }
        assert!(addresses.lock().entries.len() <= RATED_MAX + SWEEP_MIN);
    }

    #[test]
    fn who_has_gone_and_owes_nothing_is_forgotten() {
        let addresses = Arc::new(Addresses::default());
        let rate = Some(Rate { per_second: 1, burst: 1 });
        for index in 0..=SWEEP_MIN as u32 {
            let address = IpAddr::from(std::net::Ipv4Addr::from(index));
            drop(addresses.admit(address, at(0), None, rate));
        }
        drop(addresses.admit(ip("10.0.0.1"), at(2_000), None, rate));
        assert_eq!(addresses.lock().entries.len(), 1, "after their second they are as good as new");
        let seats: Vec<_> = (0..5).map(|_| addresses.admit(ip("10.9.9.9"), at(9_000), Some(5), None)).collect();
        drop(seats);
        assert_eq!(addresses.lock().connections, 0);
    }
}
