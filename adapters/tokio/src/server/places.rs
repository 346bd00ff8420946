//! The places for connections: so many in total, and so many for each address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All places.
pub(super) struct Places {
    free: Arc<Semaphore>,
    per_address: usize,
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

/// A place for a connection whose address is not known yet.
pub(super) type Reserved = OwnedSemaphorePermit;

/// A place that is taken until it is dropped.
pub(super) struct Place {
    address: IpAddr,
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
    _reserved: Reserved,
}

impl Places {
    pub(super) fn new(total: usize, per_address: usize) -> Self {
        let total = total.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(total)), per_address: per_address.max(1), taken: Arc::default() }
    }

    /// Waits for a place.
    pub(super) async fn reserve(&self) -> Reserved {
        self.free.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Takes the place, unless the address has as many as it may have.
    pub(super) fn take(&self, reserved: Reserved, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut counts = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= self.per_address {
            return None;
        }
        *count += 1;
        Some(Place { address, taken: self.taken.clone(), _reserved: reserved })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// The address that counts: of IPv6 the first 64 bits, since a host has all addresses below them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_has_its_own_limit() {
        let places = Places::new(5, 2);
        for (own, same, other) in [
            ("10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2"),
            ("2001:db8::1", "2001:db8:0:0:ffff::", "2001:db8:0:1::1"),
        ] {
            let [own, same, other] = [own, same, other].map(|address| address.parse().unwrap());
            let first = places.take(places.reserve().await, own);
            let second = places.take(places.reserve().await, same);
            assert!(first.is_some() && second.is_some());
            assert!(places.take(places.reserve().await, own).is_none(), "{own}");
            let third = places.take(places.reserve().await, other);
            assert!(third.is_some(), "{other}");
            drop(first);
            assert!(places.take(places.reserve().await, same).is_some(), "{own}");
        }
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
