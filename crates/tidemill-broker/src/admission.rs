//! How many connections there may be, in all and from one address, and how much memory their requests may take together.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::settings::Values;

/// What one permit of the requests' memory stands for: a permit is 32 bits, and memory may be more bytes.
const PERMIT_BYTES: usize = 1024;

/// A connection that is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("max.connections ({0}) are open")]
    All(usize),
    #[error("max.connections.per.ip ({0}) are open from its address")]
    Address(usize),
}

/// The connections that are open, by address.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    // Guards the counts; short.
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
    refused: u64,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    address: IpAddr,
    open: Arc<Mutex<Open>>,
}

impl Admission {
    /// Takes a place for a connection from `address`, if the settings leave one.
    pub(crate) fn admit(&self, address: IpAddr, values: &Values) -> Result<Admitted, Full> {
        let all_max = count(values, "max.connections");
        let address_max = per_address(values, address);
        let mut open = lock(&self.open);
        let here = open.by_address.get(&address).copied().unwrap_or(0);
        let full = if open.all >= all_max {
            Some(Full::All(all_max))
        } else {
            (here >= address_max).then_some(Full::Address(address_max))
        };
        if let Some(full) = full {
            open.refused += 1;
            return Err(full);
        }
        open.all += 1;
        open.by_address.insert(address, here + 1);
        Ok(Admitted {
            address,
            open: Arc::clone(&self.open),
        })
    }

    /// How many connections are open, and how many were refused so far.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let open = lock(&self.open);
        (open.all, open.refused)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.all -= 1;
        if let Some(here) = open.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(values: &Values, name: &'static str) -> usize {
    usize::try_from(values.number(name)).unwrap_or(0)
}

/// `max.connections.per.ip`, or what `max.connections.per.ip.overrides` says of this address.
fn per_address(values: &Values, address: IpAddr) -> usize {
    let overrides = values.list("max.connections.per.ip.overrides");
    let own = overrides.iter().find_map(|part| {
        let (ip, max) = part.rsplit_once(':')?;
        (ip.trim().parse::<IpAddr>().ok()? == address).then_some(max)
    });
    let own = own.and_then(|max| max.trim().parse().ok());
    own.unwrap_or_else(|| count(values, "max.connections.per.ip"))
}

/// The memory that requests may take together.
#[derive(Debug, Clone)]
pub(crate) struct RequestMemory {
    permits: Arc<Semaphore>,
    permits_max: usize,
}

impl RequestMemory {
    /// Room for `bytes`; `None` is no limit.
    pub(crate) fn new(bytes: Option<usize>) -> RequestMemory {
        let permits_max = bytes.map_or(Semaphore::MAX_PERMITS, |bytes| {
            (bytes / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS)
        });
        RequestMemory {
            permits: Arc::new(Semaphore::new(permits_max)),
            permits_max,
        }
    }

    /// Waits until there is room for a request of `bytes`. One that is larger than all there is takes all.
    pub(crate) async fn take(&self, bytes: usize) -> OwnedSemaphorePermit {
        let wanted = bytes.div_ceil(PERMIT_BYTES).min(self.permits_max);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let permits = Arc::clone(&self.permits).acquire_many_owned(wanted);
        permits.await.expect("the semaphore is never closed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_all_and_by_address_and_given_back() {
        let mut values = Values::default();
        values.set("max.connections", "3").unwrap();
        values.set("max.connections.per.ip", "2").unwrap();
        values
            .set("max.connections.per.ip.overrides", "10.0.0.9:1, ::1:0")
            .unwrap();
        let admission = Admission::default();
        let admit = |address: &str| admission.admit(address.parse().unwrap(), &values);
        let first = admit("10.0.0.1").unwrap();
        let _second = admit("10.0.0.1").unwrap();
        assert_eq!(admit("10.0.0.1").unwrap_err(), Full::Address(2));
        assert_eq!(admit("::1").unwrap_err(), Full::Address(0));
        let _third = admit("10.0.0.9").unwrap();
        assert_eq!(admit("10.0.0.2").unwrap_err(), Full::All(3));
        drop(first);
        assert_eq!(admit("10.0.0.9").unwrap_err(), Full::Address(1));
        let _fourth = admit("10.0.0.1").unwrap();
        assert_eq!(admission.counts(), (3, 4));
    }

    #[tokio::test]
    async fn a_request_waits_for_room_and_the_largest_takes_all_of_it() {
        let memory = RequestMemory::new(Some(10 * PERMIT_BYTES));
        let all = memory.take(usize::MAX).await;
        let mut waiting = Box::pin(memory.take(1));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(all);
        drop(waiting.await);
    }
}
