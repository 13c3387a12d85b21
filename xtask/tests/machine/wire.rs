//! The other end of a machine's network cable, held by the test: Ethernet frames in UDP packets of this host, so that it
//! needs no privileges. It is a DHCP server of a few lines, which says what the test wants and when.

use std::net::{Ipv4Addr, UdpSocket};

use crate::machine::PATIENCE;

/// The server's addresses on the cable.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const BROADCAST_MAC: [u8; 6] = [0xff; 6];

const ARP: [u8; 2] = [0x08, 0x06];
const IPV4: [u8; 2] = [0x08, 0x00];
const UDP: u8 = 17;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// Kinds of messages: option 53 (RFC 2132 section 9.6).
pub const DISCOVER: u8 = 1;
pub const OFFER: u8 = 2;
pub const REQUEST: u8 = 3;
pub const ACK: u8 = 5;
pub const NAK: u8 = 6;

/// Lease, T1 and T2 in seconds. Init takes no lease that is shorter.
const TIMES: [(u8, u32); 3] = [(51, 10), (58, 1), (59, 2)];

/// The cable's end.
pub struct Wire {
    socket: UdpSocket,
}

/// What a client asked.
#[derive(Debug)]
pub struct Question {
    pub kind: u8,
    pub is_broadcast: bool,
    /// The address that it uses, or none: 0.0.0.0.
    pub in_use: Ipv4Addr,
    /// Option 50.
    pub requested: Option<Ipv4Addr>,
    head: Vec<u8>,
}

impl Wire {
    /// A new cable, and QEMU's words for its other end.
    pub fn new() -> (Self, String) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // QEMU cannot take any free port itself.
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (ours, theirs) = (socket.local_addr().unwrap(), free.local_addr().unwrap());
        socket.connect(theirs).unwrap();
        (Self { socket }, format!("socket,id=net0,udp={ours},localaddr={theirs}"))
    }

    /// The next question of this kind, which must be the next one of any; who owns the server's address is answered.
    #[track_caller]
    pub fn expect(&self, kind: u8) -> Question {
        let mut frame = [0; 2048];
        loop {
            // QEMU is not there yet, or the machine is silent.
            let n_bytes = match self.socket.recv(&mut frame) {
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => continue,
                received => received.expect("a question"),
            };
            let frame = &frame[..n_bytes];
            if frame[12..14] == ARP && frame[21] == 1 && frame[38..42] == SERVER.octets() {
                self.send(&[
                    &frame[6..12],
                    &SERVER_MAC,
                    &ARP,
                    &frame[14..20],
                    &[0, 2],
                    &SERVER_MAC,
                    &frame[38..42],
                    &frame[22..32],
                ]);
            }
            if let Some(question) = question(frame) {
                assert_eq!(question.kind, kind, "{question:?}");
                return question;
            }
        }
    }

    /// Answers it with this address.
    pub fn answer(&self, question: &Question, kind: u8, address: Ipv4Addr) {
        let mut message = vec![2];
        message.extend(&question.head[1..12]);
        message.extend(question.in_use.octets());
        message.extend(if kind == NAK { [0; 4] } else { address.octets() });
        message.extend([0; 8]);
        message.extend(&question.head[28..44]);
        message.extend([0; 192]);
        message.extend(COOKIE);
        message.extend([53, 1, kind, 54, 4]);
        message.extend(SERVER.octets());
        match kind {
            NAK => message.extend(b"\x38\x08not here"),
            _ => {
                message.extend([1, 4, 255, 255, 255, 0]);
                TIMES.iter().for_each(|(option, seconds)| {
                    message.extend([*option, 4]);
                    message.extend(seconds.to_be_bytes());
                });
            }
        }
        message.push(255);
        let length = |n_bytes: usize| u16::try_from(n_bytes).unwrap().to_be_bytes();
        let mut ip = [&[0x45, 0][..], &length(28 + message.len()), &[0, 0, 0, 0, 64, UDP, 0, 0]].concat();
        ip.extend(SERVER.octets());
        let to = if kind == NAK || question.in_use.is_unspecified() { Ipv4Addr::BROADCAST } else { question.in_use };
        ip.extend(to.octets());
        let sum = checksum(&ip);
        ip[10..12].copy_from_slice(&sum);
        let to = if to.is_broadcast() { &BROADCAST_MAC[..] } else { &question.head[28..34] };
        // UDP over IPv4 needs no checksum of its own.
        self.send(&[to, &SERVER_MAC, &IPV4, &ip, &[0, 67, 0, 68], &length(8 + message.len()), &[0, 0], &message]);
    }

    fn send(&self, parts: &[&[u8]]) {
        self.socket.send(&parts.concat()).unwrap();
    }
}

fn checksum(header: &[u8]) -> [u8; 2] {
    let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    (!u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()).to_be_bytes()
}

/// The message to a DHCP server in this frame.
fn question(frame: &[u8]) -> Option<Question> {
    let ip = frame.get(14..).filter(|ip| frame[12..14] == IPV4 && ip[9] == UDP)?;
    let udp = ip.get(usize::from(ip[0] & 15) * 4..)?;
    let message = udp.get(8..).filter(|message| udp[2..4] == [0, 67] && message.get(236..240) == Some(&COOKIE))?;
    let address = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from);
    Some(Question {
        kind: *option(message, 53)?.first()?,
        is_broadcast: frame[..6] == BROADCAST_MAC,
        in_use: address(&message[12..16])?,
        requested: option(message, 50).and_then(address),
        head: message[..44].to_vec(),
    })
}

fn option(message: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = &message[240..];
    while let [code, length, more @ ..] = rest {
        let (value, after) = more.split_at_checked(usize::from(*length))?;
        if *code == wanted {
            return Some(value);
        }
        rest = after;
    }
    None
}
