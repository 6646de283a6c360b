//! Names that DNS answers gave to addresses, for each cgroup.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// Addresses remembered over all cgroups; the oldest answers make room.
const MAX_ENTRIES: usize = 16_384;
/// Names remembered for one address; with more than one unexpired the address proves no name.
const MAX_NAMES: usize = 4;
/// Shortest time an answer is used, seconds: a client may connect right after a TTL of 0.
const MIN_TTL_S: u32 = 30;
/// Longest time an answer is used, seconds.
const MAX_TTL_S: u32 = 3600;
const SECOND_NS: u64 = 1_000_000_000;

type Key = (u64, IpAddr);

/// Which names an address was given to whom.
#[derive(Debug, Default)]
pub struct Names {
    entries: HashMap<Key, Vec<(String, u64)>>,
    order: VecDeque<Key>,
}

impl Names {
    /// Addresses remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Cgroup `cgroup_id` was told at `now_ns` that `name` has `address` for `ttl_s` seconds.
    pub fn learn(&mut self, cgroup_id: u64, address: IpAddr, name: &str, ttl_s: u32, now_ns: u64) {
        let key = (cgroup_id, address.to_canonical());
        let until = now_ns.saturating_add(u64::from(ttl_s.clamp(MIN_TTL_S, MAX_TTL_S)) * SECOND_NS);
        if !self.entries.contains_key(&key) {
            while self.entries.len() >= MAX_ENTRIES {
                let Some(oldest) = self.order.pop_front() else { break };
                self.entries.remove(&oldest);
            }
            self.order.push_back(key);
        }
        let names = self.entries.entry(key).or_default();
        names.retain(|(known, expiry)| known != name && *expiry > now_ns);
        if names.len() >= MAX_NAMES {
            names.remove(0);
        }
        names.push((name.to_owned(), until));
    }

    /// The name of `address` for this cgroup, if its answers leave exactly one.
    pub fn name(&self, cgroup_id: u64, address: IpAddr, now_ns: u64) -> Option<&str> {
        let names = self.entries.get(&(cgroup_id, address.to_canonical()))?;
        let mut fresh = names.iter().filter(|(_, until)| *until > now_ns);
        match (fresh.next(), fresh.next()) {
            (Some((name, _)), None) => Some(name),
            _ => None,
        }
    }

    /// The name of `address` when it cannot be that of `host`: this cgroup's answers gave it only another name, and
    /// gave `host` other addresses. An address that several names share is thus never held against any of them, nor
    /// is one whose answer was not seen.
    pub fn other_name(&self, cgroup_id: u64, address: IpAddr, host: &str, now_ns: u64) -> Option<&str> {
        let name = self.name(cgroup_id, address, now_ns).filter(|name| *name != host)?;
        let is_host = |(name, until): &(String, u64)| name == host && *until > now_ns;
        let elsewhere =
            self.entries.iter().any(|((cgroup, _), names)| *cgroup == cgroup_id && names.iter().any(is_host));
        elsewhere.then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_name_counts_for_the_cgroup_that_asked_and_until_it_expires() {
        let mut names = Names::default();
        names.learn(1, ip(1), "api.example", 60, 0);
        assert_eq!(names.name(1, ip(1), 59 * SECOND_NS), Some("api.example"));
        assert_eq!(names.name(1, ip(1), 60 * SECOND_NS), None);
        assert_eq!(names.name(2, ip(1), 0), None);
    }

    #[test]
    fn an_address_with_two_names_proves_neither() {
        let mut names = Names::default();
        names.learn(1, ip(1), "a.example", 60, 0);
        names.learn(1, ip(1), "b.example", 300, 0);
        assert_eq!(names.name(1, ip(1), 1), None);
        assert_eq!(names.name(1, ip(1), 61 * SECOND_NS), Some("b.example"));
    }

    #[test]
    fn another_name_counts_only_when_the_own_one_has_other_addresses() {
        let mut names = Names::default();
        let other = |names: &Names| names.other_name(1, ip(1), "a.example", 1).map(str::to_owned);
        names.learn(1, ip(1), "b.example", 60, 0);
        // Its own answer may have come another way.
        assert_eq!(other(&names), None);
        names.learn(2, ip(2), "a.example", 60, 0);
        assert_eq!(other(&names), None);
        names.learn(1, ip(2), "a.example", 60, 0);
        assert_eq!(other(&names).as_deref(), Some("b.example"));
        // Both are served from there.
        names.learn(1, ip(1), "a.example", 60, 0);
        assert_eq!(other(&names), None);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes() {
        let mut names = Names::default();
        for cgroup in 0..MAX_ENTRIES as u64 + 5 {
            names.learn(cgroup, ip(1), "a.example", 60, 0);
        }
        assert_eq!(names.len(), MAX_ENTRIES);
        assert_eq!(names.name(0, ip(1), 1), None);
        assert!(names.name(MAX_ENTRIES as u64, ip(1), 1).is_some());
    }
}
