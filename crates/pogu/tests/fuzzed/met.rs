//! What a run has met: which faults, and which of the orders that an input can give. A corpus that has lost one of them tries less
//! than it says.

use std::collections::BTreeSet;

use pogu::sim::FaultCounts;

/// Something that bytes can ask for, by its number in the list of whoever obeys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Order {
    /// Of a session: `puppet.rs`.
    Puppet(usize),
    /// Of a room's state: `world.rs`.
    Hall(usize),
    /// Of the service's owner, and of peers: `session.rs`.
    Owner(usize),
    /// Of a schedule: `schedule.rs`.
    Step(usize),
}

#[derive(Default)]
pub struct Met {
    pub faults: FaultCounts,
    pub orders: BTreeSet<Order>,
}

impl Met {
    pub fn add(&mut self, other: Met) {
        self.faults += &other.faults;
        self.orders.extend(other.orders);
    }
}
