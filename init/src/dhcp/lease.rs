//! What a server's answer means: settings for the card, and for how long. What makes no sense is left out; names are
//! let through only if they are names, for they end up in files and in the kernel.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::message::{Answer, option};
use crate::ipv4::{Route, Settings, prefix_of};

/// What a server that names no time is taken to mean.
const DEFAULT_TIME: u32 = 3600;
/// A shorter lease would be nothing but renewals.
const SHORTEST_TIME: u32 = 10;
/// RFC 2131 section 3.3: for ever.
const FOR_EVER: u32 = u32::MAX;
/// A card that takes no more than this could not take a DHCP message (RFC 2131 section 2).
const SMALLEST_MTU: u16 = 576;
/// Linux's `__NEW_UTS_LEN`.
const LONGEST_HOST_NAME: usize = 64;
/// RFC 1035 section 2.3.4.
const LONGEST_DOMAIN: usize = 253;

/// Settings for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What the card is set to.
    pub settings: Settings,
    /// Whose address it is.
    pub server: Ipv4Addr,
    /// How long it may be used, or `None` for ever.
    pub times: Option<Times>,
}

/// The times of a lease, from the moment in which it was asked for. T1 < T2 < the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// T1: from here on its server is asked for more time.
    pub renew: Duration,
    /// T2: from here on any server is asked.
    pub rebind: Duration,
    /// The end.
    pub expire: Duration,
}

impl Lease {
    /// The lease in an answer. `None` if there is no server in it, or no address that a machine can have.
    pub fn of(answer: &Answer) -> Option<Self> {
        let server = answer.server()?;
        let address = Some(answer.address).filter(is_usable)?;
        let mask = answer.addresses(option::SUBNET_MASK).next();
        let prefix = mask.and_then(prefix_of).filter(|prefix| *prefix > 0).unwrap_or_else(|| class_prefix(address));
        let mut settings = Settings::new(address, prefix);
        settings.set_routes(routes(answer));
        settings.dns = answer.addresses(option::NAME_SERVER).filter(is_host).map(IpAddr::from).collect();
        settings.search = search(answer);
        settings.hostname = answer.option(option::HOST_NAME).and_then(host_name);
        settings.mtu = answer.short(option::INTERFACE_MTU).filter(|mtu| *mtu >= SMALLEST_MTU);
        Some(Self { settings, server, times: times(answer) })
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, server, times } = self;
        write!(f, "{}/{} from {server}, ", settings.address, settings.prefix)?;
        match settings.gateway() {
            Some(gateway) => write!(f, "gateway {gateway}, ")?,
            None => f.write_str("no gateway, ")?,
        }
        match times {
            Some(times) => write!(f, "lease {} s", times.expire.as_secs()),
            None => f.write_str("for ever"),
        }
    }
}

/// Options 51, 58 and 59. Times of the server's that are not in order are not used (RFC 2131 section 4.4.5).
fn times(answer: &Answer) -> Option<Times> {
    let expire = answer.long(option::LEASE_TIME).unwrap_or(DEFAULT_TIME).max(SHORTEST_TIME);
    if expire == FOR_EVER {
        return None;
    }
    let rebind = answer.long(option::REBINDING_TIME).filter(|rebind| (2..expire).contains(rebind));
    let expire = Duration::from_secs(expire.into());
    let rebind = rebind.map_or(expire * 7 / 8, |rebind| Duration::from_secs(rebind.into()));
    let renew = answer.long(option::RENEWAL_TIME).map(|renew| Duration::from_secs(renew.into()));
    let renew = renew.filter(|renew| !renew.is_zero() && *renew < rebind);
    Some(Times { renew: renew.unwrap_or((expire / 2).min(rebind * 4 / 7)), rebind, expire })
}

/// Option 121, or where that is missing the first router of option 3 (RFC 3442).
fn routes(answer: &Answer) -> Vec<Route> {
    match answer.option(option::CLASSLESS_ROUTES).map(classless_routes) {
        Some(routes) if !routes.is_empty() => routes,
        _ => answer.addresses(option::ROUTER).find(is_host).map(Route::default).into_iter().collect(),
    }
}

/// The routes of RFC 3442, up to the first that makes no sense: where the next would begin is unknown then.
fn classless_routes(mut bytes: &[u8]) -> Vec<Route> {
    let mut routes = Vec::new();
    while let Some((route, rest)) = classless_route(bytes) {
        routes.push(route);
        bytes = rest;
    }
    routes
}

fn classless_route(bytes: &[u8]) -> Option<(Route, &[u8])> {
    let (&prefix, rest) = bytes.split_first().filter(|(prefix, _)| **prefix <= 32)?;
    let (significant, rest) = rest.split_at_checked(usize::from(prefix).div_ceil(8))?;
    let (gateway, rest) = rest.split_first_chunk::<4>()?;
    let mut destination = [0; 4];
    for (to, from) in destination.iter_mut().zip(significant) {
        *to = *from;
    }
    let gateway = Ipv4Addr::from(*gateway);
    Some((Route::new(destination.into(), prefix, Some(gateway).filter(|gateway| !gateway.is_unspecified())), rest))
}

/// Option 119 (RFC 3397); else option 15, in which many servers put several domains.
fn search(answer: &Answer) -> Vec<String> {
    let mut domains = answer.option(option::DOMAIN_SEARCH).map(domain_list).unwrap_or_default();
    if domains.is_empty() {
        let words = answer.option(option::DOMAIN_NAME).unwrap_or_default();
        domains = words.split(|byte| matches!(byte, b' ' | b',' | 0)).filter_map(domain).collect();
    }
    domains
}

/// Names as DNS writes them, with pointers back into the same bytes for endings that were there before.
fn domain_list(bytes: &[u8]) -> Vec<String> {
    let mut domains = Vec::new();
    let mut start = 0;
    while let Some((name, end)) = domain_at(bytes, start) {
        if let Some(name) = domain(&name).filter(|name| !domains.contains(name)) {
            domains.push(name);
        }
        start = end;
    }
    domains
}

/// The name that starts at `at`, and where the bytes after it start.
fn domain_at(bytes: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut name = Vec::new();
    let mut end = None;
    // Pointers may only lead back, so that no two can send each other in circles.
    let mut barrier = at;
    loop {
        let length = *bytes.get(at)?;
        let next = at + 1;
        match length {
            0 => return Some((name, end.unwrap_or(next))),
            1..=63 => {
                let label = bytes.get(next..next + usize::from(length))?;
                if !name.is_empty() {
                    name.push(b'.');
                }
                name.extend(label);
                at = next + label.len();
                if name.len() > LONGEST_DOMAIN {
                    return None;
                }
            }
            192.. => {
                let low = *bytes.get(next)?;
                let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                end = end.or(Some(next + 1));
                if target >= barrier {
                    return None;
                }
                (at, barrier) = (target, target);
            }
            _ => return None,
        }
    }
}

fn host_name(bytes: &[u8]) -> Option<String> {
    // Some servers end it as C does.
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.get(..end).and_then(domain).filter(|name| name.len() <= LONGEST_HOST_NAME)
}

/// A name of letters, digits, hyphens and underscores, in parts; without the dot that may end it.
fn domain(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
    let is_part = |part: &[u8]| {
        let is_plain = part.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        is_plain && (1..=63).contains(&part.len()) && !part.starts_with(b"-")
    };
    let is_name = bytes.len() <= LONGEST_DOMAIN && bytes.split(|byte| *byte == b'.').all(is_part);
    String::from_utf8(bytes.to_vec()).ok().filter(|_| is_name)
}

/// An address that one machine can have, though perhaps not for itself.
fn is_host(address: &Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && !address.is_multicast() && !address.is_broadcast()
}

/// An address that this machine can have on a network card.
fn is_usable(address: &Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    is_host(address) && first < 224 && !address.is_loopback()
}

/// How networks were cut before masks: the best guess when the server gives none (RFC 950).
fn class_prefix(address: Ipv4Addr) -> u8 {
    match address.octets() {
        [..128, _, _, _] => 8,
        [..192, _, _, _] => 16,
        _ => 24,
    }
}

#[cfg(test)]
mod tests;
