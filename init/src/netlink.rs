//! The few messages of rtnetlink that a machine with one network card needs (rtnetlink(7)), as bytes. Pure.
//! A library for all of them would cost more than the rest of init's network.

use std::net::Ipv4Addr;

use crate::ipv4::{Route, Settings, broadcast};

/// RTMGRP_LINK: the group that hears of changes of links.
pub const LINK_GROUP: u32 = 1;

const HEADER: usize = 16;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_DUMP: u16 = 0x300;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;

const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;
const IFF_RUNNING: u32 = 0x40;
const IFF_LOWER_UP: u32 = 0x1_0000;
const ARPHRD_ETHER: u16 = 1;

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const RT_TABLE_MAIN: u8 = 254;
/// Who made a route: somebody at boot.
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RT_SCOPE_NOWHERE: u8 = 255;
const RTN_UNICAST: u8 = 1;
const RTNH_F_ONLINK: u32 = 4;

/// A network card, or what passes for one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name, such as `eth0`.
    pub name: String,
    /// Its address on the wire, if it has an Ethernet one.
    pub mac: Option<[u8; 6]>,
    /// The longest packet, in bytes.
    pub mtu: u32,
    /// Packets to it come back.
    pub is_loopback: bool,
    /// Somebody wants it to work.
    pub is_up: bool,
    /// It does work: there is a carrier, and the kernel sends.
    pub is_running: bool,
}

/// What the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A link is there, or changed.
    Link(Link),
    /// The link with this number is gone.
    LinkGone(u32),
    /// The outcome of a request: 0, or the number of an error.
    Outcome(i32),
}

/// Asks for all links.
pub fn list_links() -> Vec<u8> {
    Message::new(RTM_GETLINK, NLM_F_DUMP, &link_body(0, 0)).finish()
}

/// Switches a link on.
pub fn set_up(index: u32) -> Vec<u8> {
    Message::new(RTM_NEWLINK, NLM_F_ACK, &link_body(index, IFF_UP)).finish()
}

/// Sets the longest packet of a link.
pub fn set_mtu(index: u32, mtu: u32) -> Vec<u8> {
    Message::new(RTM_NEWLINK, NLM_F_ACK, &link_body(index, 0)).attribute(IFLA_MTU, &mtu.to_ne_bytes()).finish()
}

/// Gives a link an address; one that it has already is no error.
pub fn add_address(index: u32, settings: &Settings) -> Vec<u8> {
    let message = address(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, index, settings);
    match broadcast(settings.address, settings.prefix) {
        Some(broadcast) => message.attribute(IFA_BROADCAST, &broadcast.octets()).finish(),
        None => message.finish(),
    }
}

/// Takes an address from a link. Linux removes the route to the address's own network with it.
pub fn remove_address(index: u32, settings: &Settings) -> Vec<u8> {
    address(RTM_DELADDR, NLM_F_ACK, index, settings).finish()
}

/// Adds a route through a link for packets from `source`; one that is there already is no error.
pub fn add_route(index: u32, route: &Route, source: Ipv4Addr) -> Vec<u8> {
    let scope = if route.gateway.is_some() { RT_SCOPE_UNIVERSE } else { RT_SCOPE_LINK };
    let message = self::route(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, scope, index, route);
    message.attribute(RTA_PREFSRC, &source.octets()).finish()
}

/// Removes a route.
pub fn remove_route(index: u32, route: &Route) -> Vec<u8> {
    self::route(RTM_DELROUTE, NLM_F_ACK, RT_SCOPE_NOWHERE, index, route).finish()
}

fn link_body(index: u32, flags: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    for word in [index, flags, flags] {
        body.extend(word.to_ne_bytes());
    }
    body
}

fn address(kind: u16, flags: u16, index: u32, settings: &Settings) -> Message {
    let mut body = vec![AF_INET, settings.prefix, 0, 0];
    body.extend(index.to_ne_bytes());
    let octets = settings.address.octets();
    Message::new(kind, flags, &body).attribute(IFA_LOCAL, &octets).attribute(IFA_ADDRESS, &octets)
}

fn route(kind: u16, flags: u16, scope: u8, index: u32, route: &Route) -> Message {
    let mut body = vec![AF_INET, route.prefix, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST];
    let hop = if route.is_gateway_on_wire { RTNH_F_ONLINK } else { 0 };
    body.extend(hop.to_ne_bytes());
    let message = Message::new(kind, flags, &body)
        .attribute(RTA_DST, &route.destination.octets())
        .attribute(RTA_OIF, &index.to_ne_bytes());
    match route.gateway {
        Some(gateway) => message.attribute(RTA_GATEWAY, &gateway.octets()),
        None => message,
    }
}

/// A message being written. Numbers are in the machine's own byte order.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        Self(bytes)
    }

    /// Every attribute in use here is a multiple of four bytes long, as the format wants it.
    fn attribute(mut self, kind: u16, value: &[u8; 4]) -> Self {
        self.0.extend(8_u16.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(0);
        if let Some(place) = self.0.first_chunk_mut() {
            *place = length.to_ne_bytes();
        }
        self.0
    }
}

/// What is said in bytes that came from the kernel.
pub fn parse(mut bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some((kind, body, rest)) = next_message(bytes) {
        events.extend(event(kind, body));
        bytes = rest;
    }
    events
}

fn next_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(word_at(bytes, 0)?).ok()?;
    let body = bytes.get(HEADER..length)?;
    Some((short_at(bytes, 4)?, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn event(kind: u16, body: &[u8]) -> Option<Event> {
    match kind {
        // Another family's view of a link: a card that leaves a bridge is "gone" only from there.
        RTM_NEWLINK | RTM_DELLINK if body.first() != Some(&AF_UNSPEC) => None,
        RTM_NEWLINK => link(body).map(Event::Link),
        RTM_DELLINK => word_at(body, 4).map(Event::LinkGone),
        // The number is negative; a request that went well has 0.
        NLMSG_ERROR => word_at(body, 0).map(|number| Event::Outcome(number.cast_signed().saturating_neg())),
        NLMSG_DONE => Some(Event::Outcome(0)),
        _ => None,
    }
}

fn link(body: &[u8]) -> Option<Link> {
    let flags = word_at(body, 8)?;
    let is_ethernet = short_at(body, 2)? == ARPHRD_ETHER;
    let mut link = Link {
        index: word_at(body, 4)?,
        is_loopback: flags & IFF_LOOPBACK != 0,
        is_up: flags & IFF_UP != 0,
        is_running: [IFF_UP, IFF_RUNNING, IFF_LOWER_UP].iter().all(|flag| flags & flag != 0),
        ..Link::default()
    };
    let mut attributes = body.get(16..)?;
    while let Some((kind, value, rest)) = next_attribute(attributes) {
        match kind {
            IFLA_IFNAME => link.name = String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned(),
            IFLA_ADDRESS if is_ethernet => link.mac = value.try_into().ok(),
            IFLA_MTU => link.mtu = word_at(value, 0)?,
            _ => {}
        }
        attributes = rest;
    }
    Some(link)
}

fn next_attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::from(short_at(bytes, 0)?);
    let value = bytes.get(4..length)?;
    Some((short_at(bytes, 2)?, value, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

fn short_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|word| u16::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn link_message(kind: u16, flags: u32, hardware: u16) -> Vec<u8> {
        let mut body = vec![0, 0];
        body.extend(hardware.to_ne_bytes());
        for word in [7, flags, 0] {
            body.extend(word.to_ne_bytes());
        }
        let mut message = Message::new(kind, 0, &body).attribute(IFLA_MTU, &1500_u32.to_ne_bytes());
        message.0.extend([9, 0, 3, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0]);
        message.0.extend([10, 0, 1, 0, 2, 0, 0, 0, 0, 5, 0, 0]);
        message.finish()
    }

    #[test]
    fn links_are_understood() {
        let flags = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;
        let mut bytes = link_message(RTM_NEWLINK, flags, ARPHRD_ETHER);
        bytes.extend(link_message(RTM_NEWLINK, IFF_UP | IFF_LOOPBACK, 772));
        bytes.extend(link_message(RTM_DELLINK, 0, ARPHRD_ETHER));
        bytes.extend(Message::new(NLMSG_ERROR, 0, &(-17_i32).to_ne_bytes()).finish());
        let eth0 = Link {
            index: 7,
            name: "eth0".to_owned(),
            mac: Some([2, 0, 0, 0, 0, 5]),
            mtu: 1500,
            is_loopback: false,
            is_up: true,
            is_running: true,
        };
        let lo = Link { mac: None, is_loopback: true, is_running: false, ..eth0.clone() };
        assert_eq!(parse(&bytes), [Event::Link(eth0), Event::Link(lo), Event::LinkGone(7), Event::Outcome(17)]);
    }

    #[test]
    fn a_card_that_leaves_a_bridge_is_not_gone() {
        const AF_BRIDGE: u8 = 7;
        for kind in [RTM_NEWLINK, RTM_DELLINK] {
            let mut bytes = link_message(kind, IFF_UP, ARPHRD_ETHER);
            bytes[HEADER] = AF_BRIDGE;
            assert_eq!(parse(&bytes), []);
        }
    }

    #[test]
    fn a_request_has_its_length_in_front() {
        let settings = Settings::new(Ipv4Addr::new(10, 0, 0, 2), 24);
        for message in [list_links(), set_up(3), set_mtu(3, 1400), add_address(3, &settings)] {
            assert_eq!(word_at(&message, 0).and_then(|length| usize::try_from(length).ok()), Some(message.len()));
            assert_eq!(message.len() % 4, 0);
        }
    }

    proptest! {
        #[test]
        fn no_input_stops_it(bytes in prop::collection::vec(any::<u8>(), 0..200), start in 0..4_u8, kind in 0..26_u16) {
            parse(&bytes);
            parse(&Message::new(kind, 0, &bytes).finish());
            parse(&[&[start * 8, 0, 0, 0, 16, 0][..], &bytes].concat());
        }
    }
}
