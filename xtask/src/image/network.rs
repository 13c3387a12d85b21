//! `[network]`: how the machine gets its address. Pure.

use std::net::{IpAddr, Ipv4Addr};

use pid1_init::config::{Network, NetworkMode, StaticAddress};

use super::raw::RawNetwork;

/// The C library asks as many name servers and ignores the rest: `MAXNS` in resolv.h.
const MAX_DNS: usize = 3;
/// The longest name of a link in bytes: `IFNAMSIZ` without the closing NUL.
const MAX_INTERFACE: usize = 15;

/// The checked network. What is returned beside problems does not count.
pub fn check(raw: &RawNetwork, problems: &mut Vec<String>) -> Network {
    if let Some(name) = &raw.interface {
        check_interface(name, problems);
    }
    let mode = match (&raw.address, raw.dhcp) {
        (Some(_), true) => {
            problems.push("`network` has both `dhcp = true` and `address`; delete one of them".to_owned());
            NetworkMode::Off
        }
        (None, false) => {
            problems.push(
                "`network` says neither `dhcp = true` nor `address`; add one of them, or delete `[network]`".to_owned(),
            );
            NetworkMode::Off
        }
        (None, true) => {
            for (key, is_there) in [("gateway", raw.gateway.is_some()), ("dns", !raw.dns.is_empty())] {
                if is_there {
                    problems.push(format!(
                        "`network.{key}` goes with `address`; with `dhcp = true` the server tells it, so delete it"
                    ));
                }
            }
            NetworkMode::Dhcp
        }
        (Some(address), false) => check_address(address, raw, problems).map_or(NetworkMode::Off, NetworkMode::Static),
    };
    Network { interface: raw.interface.clone(), mode }
}

fn check_interface(name: &str, problems: &mut Vec<String>) {
    let is_name = !name.is_empty() && name.len() <= MAX_INTERFACE && name != "." && name != "..";
    if !is_name || name.contains(['/', ':']) || name.contains(char::is_whitespace) {
        problems.push(format!(
            "`network.interface` is `{name}`, which is no link's name (at most {MAX_INTERFACE} bytes, no space, `/` or `:`); write one such as `eth0`"
        ));
    }
    if name == "lo" {
        problems.push("`network.interface` is `lo`, which never leaves the machine; name a network card".to_owned());
    }
}

fn check_address(text: &str, raw: &RawNetwork, problems: &mut Vec<String>) -> Option<StaticAddress> {
    let n_before = problems.len();
    let Some((address, prefix)) = address_and_prefix(text) else {
        problems.push(format!(
            "`network.address` is `{text}`; an IPv4 address with the length of its subnet is expected, as in `10.0.0.2/24`"
        ));
        return None;
    };
    if let Some(what) = unusable(address, prefix) {
        problems
            .push(format!("`network.address` is `{text}`, which is {what}; give an address that a machine can have"));
    }
    let gateway = raw.gateway.as_ref().and_then(|text| check_gateway(text, address, prefix, problems));
    let dns = check_dns(&raw.dns, problems);
    (problems.len() == n_before).then_some(StaticAddress { address, prefix, gateway, dns })
}

fn address_and_prefix(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    Some((address.parse().ok()?, prefix.parse().ok().filter(|prefix| (1..=32).contains(prefix))?))
}

/// The bits of an address that its subnet shares.
fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// Why no machine can have this address, in words.
fn unusable(address: Ipv4Addr, prefix: u8) -> Option<&'static str> {
    let host = address.to_bits() & !mask(prefix);
    match () {
        () if address.is_unspecified() => Some("no address at all"),
        () if address.is_loopback() => Some("a loopback address"),
        () if address.is_multicast() => Some("a multicast address"),
        () if address.is_broadcast() => Some("the broadcast address"),
        // A subnet of one or two addresses has neither: RFC 3021.
        () if prefix <= 30 && host == 0 => Some("the subnet's own address"),
        () if prefix <= 30 && host == !mask(prefix) => Some("the subnet's broadcast address"),
        () => None,
    }
}

fn check_gateway(text: &str, address: Ipv4Addr, prefix: u8, problems: &mut Vec<String>) -> Option<Ipv4Addr> {
    let Ok(gateway) = text.parse::<Ipv4Addr>() else {
        problems.push(format!(
            "`network.gateway` is `{text}`; an IPv4 address without a prefix is expected, as in `10.0.0.1`"
        ));
        return None;
    };
    if gateway == address {
        problems.push(format!("`network.gateway` is `{text}`, the machine's own address; give the router's"));
    } else if (gateway.to_bits() ^ address.to_bits()) & mask(prefix) != 0 {
        problems.push(format!(
            "`network.gateway` is `{text}`, outside the subnet `{}/{prefix}`, so that the machine could not reach it; mend one of the two",
            Ipv4Addr::from_bits(address.to_bits() & mask(prefix))
        ));
    } else if let Some(what) = unusable(gateway, prefix) {
        problems.push(format!("`network.gateway` is `{text}`, which is {what}; give the router's address"));
    }
    Some(gateway)
}

fn check_dns(servers: &[String], problems: &mut Vec<String>) -> Vec<IpAddr> {
    if servers.len() > MAX_DNS {
        problems.push(format!(
            "`network.dns` names {} servers; programs ask the first {MAX_DNS}, so delete the others",
            servers.len()
        ));
    }
    let mut checked = Vec::new();
    for text in servers {
        match text.parse::<IpAddr>() {
            Ok(server) if server.is_unspecified() || server.is_multicast() => problems
                .push(format!("`network.dns` holds `{text}`, which is no machine's address; give a server's")),
            Ok(server) if checked.contains(&server) => {
                problems.push(format!("`network.dns` names `{text}` twice; delete one of the two"));
            }
            Ok(server) => checked.push(server),
            Err(_) => problems.push(format!(
                "`network.dns` holds `{text}`; IPv4 and IPv6 addresses are expected, as in `1.1.1.1`, for there is nobody yet who could look a name up"
            )),
        }
    }
    checked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_all(text: &str) -> (Network, Vec<String>) {
        let mut problems = Vec::new();
        (check(&toml::from_str(text).unwrap(), &mut problems), problems)
    }

    #[track_caller]
    fn refuse(text: &str, expect: &[&str]) {
        let (_, problems) = check_all(text);
        assert_eq!(problems.len(), expect.len(), "{problems:?}");
        assert!(problems.iter().zip(expect).all(|(problem, part)| problem.contains(part)), "{problems:?}");
    }

    #[test]
    fn a_good_network_is_taken_as_it_is() {
        let (network, problems) = check_all("dhcp = true\ninterface = \"eth1\"");
        assert_eq!(problems, [""; 0]);
        assert_eq!(network, Network { interface: Some("eth1".into()), mode: NetworkMode::Dhcp });
        let (network, problems) =
            check_all("address = \"10.0.2.15/24\"\ngateway = \"10.0.2.2\"\ndns = [\"1.1.1.1\", \"fe80::1\"]");
        assert_eq!(problems, [""; 0]);
        let NetworkMode::Static(address) = network.mode else { panic!("{network:?}") };
        assert_eq!((address.prefix, address.gateway, address.dns.len()), (24, Some([10, 0, 2, 2].into()), 2));
        refuse("address = \"10.0.0.0/31\"\ngateway = \"10.0.0.1\"", &[]);
    }

    #[test]
    fn exactly_one_way_to_an_address() {
        refuse("", &["neither `dhcp = true` nor `address`"]);
        refuse("dhcp = false", &["neither"]);
        refuse("dhcp = true\naddress = \"10.0.0.2/24\"", &["both"]);
        refuse("dhcp = true\ngateway = \"10.0.0.1\"\ndns = [\"1.1.1.1\"]", &["`network.gateway`", "`network.dns`"]);
    }

    #[test]
    fn an_address_has_a_prefix_and_is_a_machines() {
        for text in ["10.0.0.2", "10.0.0.2/33", "10.0.0.2/0", "10.0.0/24", "fe80::2/64", "host/24", ""] {
            refuse(&format!("address = \"{text}\""), &["as in `10.0.0.2/24`"]);
        }
        refuse("address = \"10.0.0.0/24\"", &["the subnet's own address"]);
        refuse("address = \"10.0.0.255/24\"", &["the subnet's broadcast address"]);
        refuse("address = \"127.0.0.2/8\"", &["a loopback address"]);
        refuse("address = \"224.0.0.2/8\"", &["a multicast address"]);
    }

    #[test]
    fn all_that_is_wrong_with_the_way_out_is_told_at_once() {
        refuse(
            "address = \"10.0.0.2/24\"\ngateway = \"10.0.1.1\"\ndns = [\"one.one\", \"0.0.0.0\", \"1.1.1.1\", \"1.1.1.1\"]\ninterface = \"a/b\"",
            &[
                "`network.interface` is `a/b`",
                "outside the subnet `10.0.0.0/24`",
                "names 4 servers",
                "holds `one.one`",
                "no machine's address",
                "names `1.1.1.1` twice",
            ],
        );
        refuse("address = \"10.0.0.2/24\"\ngateway = \"10.0.0.2\"", &["the machine's own address"]);
        refuse("address = \"10.0.0.2/24\"\ngateway = \"10.0.0.1/24\"", &["without a prefix"]);
        refuse("dhcp = true\ninterface = \"lo\"", &["never leaves the machine"]);
    }
}
