//! From host name to provider: exact names and whole-label suffixes only.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use regex_lite::Regex;

use super::catalogue::{Catalogue, Provider};
use super::path::segments;
use crate::decode::host_name::host_name;

/// What a host name says about the provider.
#[derive(Debug, Clone, Copy)]
pub enum HostMatch<'a> {
    /// It belongs to this provider alone.
    Provider(&'a Provider),
    /// It serves other things too: only the path of a request decides, see [`Catalogue::provider_at`].
    NeedsPath(&'a Provider),
    /// It belongs to no provider we know.
    Unknown,
}

/// Provider numbers by host.
#[derive(Debug, Clone, Default)]
pub(super) struct HostIndex {
    pub(super) exact: HashMap<String, usize>,
    /// Suffix to provider, and whether a known path is needed.
    pub(super) suffixes: HashMap<String, (usize, bool)>,
    pub(super) patterns: Vec<(Regex, usize)>,
    pub(super) sockets: HashMap<SocketAddr, usize>,
    pub(super) addresses: HashMap<IpAddr, usize>,
    pub(super) tokens: HashMap<String, usize>,
}

impl HostIndex {
    /// The provider of a normalised host, and whether a known path is needed.
    fn find(&self, host: &str) -> Option<(usize, bool)> {
        if let Some(provider) = self.exact.get(host) {
            return Some((*provider, false));
        }
        // From the longest suffix to the shortest, always cut at a dot.
        let dots = host.match_indices('.').filter_map(|(at, _)| host.get(at + 1..));
        let suffix = dots.filter_map(|suffix| self.suffixes.get(suffix)).next();
        suffix.copied().or_else(|| {
            let pattern = self.patterns.iter().find(|(regex, _)| regex.is_match(host));
            pattern.map(|(_, provider)| (*provider, false))
        })
    }
}

impl Catalogue {
    /// The provider of `host`, which may have capitals, a port or a trailing dot.
    pub fn host(&self, host: &str) -> HostMatch<'_> {
        let found = normalise(host).and_then(|host| self.hosts.find(&host));
        let Some((provider, shared)) = found.and_then(|(at, shared)| Some((self.providers.get(at)?, shared)))
        else {
            return HostMatch::Unknown;
        };
        if shared || !provider.path_prefixes.is_empty() {
            HostMatch::NeedsPath(provider)
        } else {
            HostMatch::Provider(provider)
        }
    }

    /// Whether model calls can go to `host`. Needs no path, so hosts that serve other things too are included.
    pub fn is_model_host(&self, host: &str) -> bool {
        normalise(host).is_some_and(|host| self.hosts.find(&host).is_some())
    }

    /// The provider for which `host` hands out tokens (and does nothing else), if any.
    pub fn token_host(&self, host: &str) -> Option<&Provider> {
        self.providers.get(*self.hosts.tokens.get(&normalise(host)?)?)
    }

    /// The provider of a request for `target` to `host`.
    pub fn provider_at(&self, host: &str, method: &str, target: &str) -> Option<&Provider> {
        let provider = match self.host(host) {
            HostMatch::Provider(provider) => return Some(provider),
            HostMatch::NeedsPath(provider) => provider,
            HostMatch::Unknown => return None,
        };
        let fits = if provider.path_prefixes.is_empty() {
            self.operation(Some(provider), method, target).is_some()
        } else {
            segments(target)
                .is_some_and(|path| provider.path_prefixes.iter().any(|prefix| prefix.starts(&path)))
        };
        fits.then_some(provider)
    }

    /// The self-hosted server that `address` usually is of: on this host or in a private network, at a port and with a
    /// request that only one such server has.
    pub fn self_hosted(&self, address: SocketAddr, method: &str, target: &str) -> Option<&Provider> {
        // A port that needs privileges is of anything.
        if !is_near(address.ip().to_canonical()) || address.port() < 1024 {
            return None;
        }
        let path = segments(target)?;
        let mut fitting = self.providers.iter().filter(|provider| {
            provider.entry.self_hosted
                && provider.entry.ports.contains(&address.port())
                && provider.operations.find(method, &path, false, false).is_some()
        });
        let only = fitting.next()?;
        fitting.next().is_none().then_some(only)
    }

    /// The provider that the user configured for an address; no built-in entry has one.
    pub fn address(&self, address: SocketAddr) -> Option<&Provider> {
        let ip = address.ip().to_canonical();
        let socket = self.hosts.sockets.get(&SocketAddr::new(ip, address.port()));
        self.providers.get(*socket.or_else(|| self.hosts.addresses.get(&ip))?)
    }
}

/// Whether an address is of this host, its link or a private network (RFC 1918, RFC 3927, RFC 4193).
fn is_near(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// `host` in lower case without port and trailing dot; nothing for what cannot be a host name, and for addresses.
pub fn normalise(host: &str) -> Option<String> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) => return None,
        None => host,
    };
    host_name(name.as_bytes())
}
