//! What a network card is set to, wherever it was learned: address, routes, name servers. Pure; `net` carries it out.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use crate::config::StaticAddress;

/// glibc and musl ask three name servers and no more.
const MOST_NAME_SERVERS: usize = 3;

/// The settings of one network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The card's own address.
    pub address: Ipv4Addr,
    /// How many of its bits are the network's, 0 to 32.
    pub prefix: u8,
    /// The ways out, those to neighbours first, for the others may need them. The address's own network is not among
    /// them: Linux adds that route itself.
    pub routes: Vec<Route>,
    /// Name servers, the preferred one first.
    pub dns: Vec<IpAddr>,
    /// Domains in which a name without dots is looked up.
    pub search: Vec<String>,
    /// What the network calls this machine.
    pub hostname: Option<String>,
    /// The longest packet, in bytes, if the network says it.
    pub mtu: Option<u16>,
}

/// Where packets for a part of the world go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The first address of that part; its bits beyond the prefix are zero.
    pub destination: Ipv4Addr,
    /// How many bits of the destination count, 0 to 32.
    pub prefix: u8,
    /// Who passes them on. Without one the addresses are on the card's own wire.
    pub gateway: Option<Ipv4Addr>,
    /// The gateway is on the wire though no other route says so, as in clouds that hand out single addresses.
    pub is_gateway_on_wire: bool,
}

impl Route {
    /// The way to `destination`/`prefix`.
    pub fn new(destination: Ipv4Addr, prefix: u8, gateway: Option<Ipv4Addr>) -> Self {
        let prefix = prefix.min(32);
        Self { destination: network(destination, prefix), prefix, gateway, is_gateway_on_wire: false }
    }

    /// The way to everywhere.
    pub fn default(gateway: Ipv4Addr) -> Self {
        Self::new(Ipv4Addr::UNSPECIFIED, 0, Some(gateway))
    }
}

impl Settings {
    /// An address and nothing else.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        let (routes, dns, search) = (Vec::new(), Vec::new(), Vec::new());
        Self { address, prefix, routes, dns, search, hostname: None, mtu: None }
    }

    /// Takes `routes` in the order in which Linux accepts them. Of two to the same place the first counts.
    pub fn set_routes(&mut self, routes: impl IntoIterator<Item = Route>) {
        self.routes.clear();
        for mut route in routes {
            route.gateway = route.gateway.filter(|gateway| *gateway != self.address);
            let is_known = self.routes.iter().any(|known| same_place(known, &route));
            if !is_known && !self.is_own_network(&route) {
                self.routes.push(route);
            }
        }
        let (on_wire, beyond): (Vec<Route>, Vec<Route>) = self.routes.iter().partition(|route| route.gateway.is_none());
        self.routes = [on_wire.as_slice(), &beyond].concat();
        for route in &mut self.routes {
            let is_reached = |gateway| {
                self.prefix < 32 && network(gateway, self.prefix) == network(self.address, self.prefix)
                    || on_wire.iter().any(|wire| network(gateway, wire.prefix) == wire.destination)
            };
            route.is_gateway_on_wire = route.gateway.is_some_and(|gateway| !is_reached(gateway));
        }
    }

    /// The gateway to everywhere.
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        self.routes.iter().find(|route| route.prefix == 0).and_then(|route| route.gateway)
    }

    /// The text of /etc/resolv.conf, or `None` if the network names no server.
    pub fn resolv_conf(&self) -> Option<String> {
        if self.dns.is_empty() {
            return None;
        }
        let mut text = String::new();
        if !self.search.is_empty() {
            let _ = writeln!(text, "search {}", self.search.join(" "));
        }
        for server in self.dns.iter().take(MOST_NAME_SERVERS) {
            let _ = writeln!(text, "nameserver {server}");
        }
        Some(text)
    }

    fn is_own_network(&self, route: &Route) -> bool {
        route.gateway.is_none() && same_place(route, &Route::new(self.address, self.prefix, None))
    }
}

impl From<&StaticAddress> for Settings {
    fn from(fixed: &StaticAddress) -> Self {
        let mut settings = Self::new(fixed.address, fixed.prefix);
        settings.set_routes(fixed.gateway.map(Route::default));
        settings.dns.clone_from(&fixed.dns);
        settings
    }
}

/// The last address of the network, which all of its hosts listen to. None in networks of one or two (RFC 3021).
pub fn broadcast(address: Ipv4Addr, prefix: u8) -> Option<Ipv4Addr> {
    (prefix < 31).then(|| address | !mask(prefix))
}

/// The number of leading ones of a netmask, or `None` if ones follow zeros.
pub fn prefix_of(mask: Ipv4Addr) -> Option<u8> {
    let ones = mask.to_bits().leading_ones();
    let is_contiguous = mask.to_bits().count_ones() == ones;
    u8::try_from(ones).ok().filter(|_| is_contiguous)
}

fn network(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    address & mask(prefix)
}

fn mask(prefix: u8) -> Ipv4Addr {
    let host_bits = 32_u32.saturating_sub(prefix.into());
    Ipv4Addr::from_bits(u32::MAX.checked_shl(host_bits).unwrap_or(0))
}

fn same_place(a: &Route, b: &Route) -> bool {
    (a.destination, a.prefix) == (b.destination, b.prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);

    #[test]
    fn masks_and_prefixes_agree() {
        for (mask, expect) in [
            ([255, 255, 255, 0], Some(24)),
            ([255, 255, 255, 255], Some(32)),
            ([0, 0, 0, 0], Some(0)),
            ([255, 0, 255, 0], None),
        ] {
            assert_eq!(prefix_of(mask.into()), expect);
        }
        for prefix in 0..=32 {
            assert_eq!(prefix_of(mask(prefix)), Some(prefix));
        }
        assert_eq!(broadcast(ADDRESS, 8), Some(Ipv4Addr::new(10, 255, 255, 255)));
        assert_eq!(broadcast(ADDRESS, 31), None);
    }

    #[test]
    fn routes_to_neighbours_come_first_and_the_own_network_not_at_all() {
        let far = Ipv4Addr::new(192, 168, 0, 1);
        let mut settings = Settings::new(ADDRESS, 24);
        settings.set_routes([
            Route::default(far),
            Route::new(Ipv4Addr::new(10, 1, 2, 99), 24, None),
            Route::new(far, 32, None),
            Route::default(Ipv4Addr::new(10, 1, 2, 1)),
        ]);
        assert_eq!(settings.routes, [Route::new(far, 32, None), Route::default(far)]);
        assert_eq!(settings.gateway(), Some(far));
    }

    #[test]
    fn a_gateway_outside_of_all_networks_is_taken_to_be_on_the_wire() {
        let gateway = Ipv4Addr::new(10, 1, 2, 1);
        for (prefix, expect) in [(24, false), (32, true)] {
            let mut settings = Settings::new(ADDRESS, prefix);
            settings.set_routes([Route::default(gateway)]);
            assert_eq!(settings.routes.iter().map(|route| route.is_gateway_on_wire).collect::<Vec<_>>(), [expect]);
        }
    }

    #[test]
    fn resolv_conf_names_what_resolvers_use() {
        let mut settings = Settings::new(ADDRESS, 24);
        assert_eq!(settings.resolv_conf(), None);
        settings.dns = (1..9).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        settings.search = vec!["a.example".to_owned(), "b.example".to_owned()];
        let expect = "search a.example b.example\nnameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n";
        assert_eq!(settings.resolv_conf().as_deref(), Some(expect));
    }
}
