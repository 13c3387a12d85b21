//! IPv4 and UDP headers (RFC 791, RFC 768) around a DHCP message. While the machine has no address, Linux neither sends
//! from 0.0.0.0 nor takes what a server sends to the address it has just offered; so the client does both itself.

use std::net::Ipv4Addr;

use super::{CLIENT_PORT, SERVER_PORT};

const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const UDP: u8 = 17;
/// What most systems use; a relay on the way does not count as a hop.
const TIME_TO_LIVE: u8 = 64;
/// "More fragments" and the offset: anything here means that this is not the whole datagram.
const FRAGMENT: u16 = 0x3fff;

/// The packet that carries `message` from `source` to every DHCP server on the wire, beginning with its IPv4 header.
/// `None` if the message is too long for one.
pub fn broadcast(source: Ipv4Addr, message: &[u8]) -> Option<Vec<u8>> {
    let udp_length = u16::try_from(message.len().checked_add(UDP_HEADER)?).ok()?;
    let total_length = udp_length.checked_add(20)?;
    let destination = Ipv4Addr::BROADCAST;

    let mut udp = Vec::with_capacity(udp_length.into());
    for word in [CLIENT_PORT, SERVER_PORT, udp_length] {
        udp.extend(word.to_be_bytes());
    }
    let sum = udp_sum(source, destination, &[&udp, &[0, 0], message]);
    // 0 would say "no checksum"; its other form is the same number to the receiver.
    let checksum = if sum == 0 { u16::MAX } else { sum };
    udp.extend(checksum.to_be_bytes());

    let [length_high, length_low] = total_length.to_be_bytes();
    let mut packet = vec![0x45, 0, length_high, length_low, 0, 0, 0, 0, TIME_TO_LIVE, UDP, 0, 0];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let header_checksum = checksum_of(&[&packet]).to_be_bytes();
    if let Some(place) = packet.get_mut(10..12) {
        place.copy_from_slice(&header_checksum);
    }
    packet.extend(udp);
    packet.extend(message);
    Some(packet)
}

/// The DHCP message in an IPv4 packet, if the packet is whole, undamaged and for a DHCP client.
///
/// A packet from another machine on the same host may come without the checksum of its content: the card was to add
/// it, and there is no card. The kernel says so, and `is_checked` is false then.
pub fn message_in(packet: &[u8], is_checked: bool) -> Option<&[u8]> {
    let (first, _) = packet.split_first()?;
    let header_length = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header_length < IP_HEADER {
        return None;
    }
    // What follows the packet's own length is the padding of a short Ethernet frame.
    let packet = packet.get(..word_at(packet, 2)?.into())?;
    let (header, datagram) = packet.split_at_checked(header_length)?;
    if checksum_of(&[header]) != 0 || word_at(header, 6)? & FRAGMENT != 0 || *header.get(9)? != UDP {
        return None;
    }
    let (source, destination) = (address_at(header, 12)?, address_at(header, 16)?);

    let datagram = datagram.get(..word_at(datagram, 4)?.into())?;
    let (udp, message) = datagram.split_at_checked(UDP_HEADER)?;
    let is_damaged = is_checked && word_at(udp, 6)? != 0 && udp_sum(source, destination, &[datagram]) != 0;
    (word_at(udp, 2)? == CLIENT_PORT && !is_damaged).then_some(message)
}

/// The checksum of a UDP datagram given in parts, each but the last of an even length. Over a datagram with its
/// checksum in it the result is 0.
fn udp_sum(source: Ipv4Addr, destination: Ipv4Addr, datagram: &[&[u8]]) -> u16 {
    let length: usize = datagram.iter().map(|part| part.len()).sum();
    let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let (source, destination) = (source.octets(), destination.octets());
    let mut parts: Vec<&[u8]> = vec![&source, &destination, &[0, UDP], &length];
    parts.extend(datagram);
    checksum_of(&parts)
}

/// The Internet checksum (RFC 1071) of `parts`, each but the last of an even length.
fn checksum_of(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2)).map(|pair| match pair {
        [high, low] => u64::from(u16::from_be_bytes([*high, *low])),
        [high] => u64::from(u16::from_be_bytes([*high, 0])),
        _ => 0,
    });
    let mut sum: u64 = words.sum();
    while sum > u64::from(u16::MAX) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

fn word_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|word| u16::from_be_bytes(*word))
}

fn address_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    bytes.get(at..)?.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A packet as a server would send it: ours, with the ports exchanged. Sums do not mind the order of words.
    fn reply(message: &[u8]) -> Vec<u8> {
        let mut packet = broadcast(Ipv4Addr::new(10, 0, 2, 2), message).unwrap();
        packet[20..24].rotate_left(2);
        packet
    }

    #[test]
    fn a_packet_is_as_the_rfcs_say() {
        let packet = broadcast(Ipv4Addr::UNSPECIFIED, b"abc").unwrap();
        let expect = [
            0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0x7a, 0xcf, 0, 0, 0, 0, 255, 255, 255, 255, //
            0, 68, 0, 67, 0, 11, 0x3a, 0xef, b'a', b'b', b'c',
        ];
        assert_eq!(packet, expect);
        assert_eq!(message_in(&packet, true), None, "it is for a server");
    }

    #[test]
    fn padding_of_a_short_frame_is_no_part_of_the_message() {
        let mut packet = reply(b"abc");
        packet.extend([0; 15]);
        assert_eq!(message_in(&packet, true), Some(&b"abc"[..]));
    }

    #[test]
    fn a_damaged_packet_is_dropped() {
        let good = reply(b"abcd");
        assert_eq!(message_in(&good, true), Some(&b"abcd"[..]));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_eq!(message_in(&bad, true), None, "byte {at}");
        }
        for length in 0..good.len() {
            assert_eq!(message_in(&good[..length], true), None, "cut after {length}");
        }
    }

    #[test]
    fn a_checksum_counts_unless_there_is_none_yet() {
        let mut packet = reply(b"abcd");
        packet[26..28].copy_from_slice(&[1, 2]);
        assert_eq!(message_in(&packet, true), None);
        assert_eq!(message_in(&packet, false), Some(&b"abcd"[..]));
        packet[26..28].copy_from_slice(&[0, 0]);
        assert_eq!(message_in(&packet, true), Some(&b"abcd"[..]));
    }

    #[test]
    fn a_fragment_is_not_the_whole() {
        let mut packet = reply(b"abcd");
        packet[6] = 0x20;
        packet[10..12].copy_from_slice(&[0, 0]);
        let sum = checksum_of(&[&packet[..20]]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(message_in(&packet, true), None);
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(message in prop::collection::vec(any::<u8>(), 0..1500)) {
            let packet = reply(&message);
            prop_assert_eq!(message_in(&packet, true), Some(&message[..]));
        }

        #[test]
        fn no_input_stops_it(bytes in prop::collection::vec(any::<u8>(), 0..80), is_checked: bool) {
            message_in(&bytes, is_checked);
            broadcast(Ipv4Addr::UNSPECIFIED, &bytes);
        }
    }
}
