//! Ports of the host that lead into the machine: what `-p` says, and whether this host can give them.

use super::holder::{self, Holder};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::str::FromStr;

/// How a port is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Single packets.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One port of the host, and where in the machine it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// For both ports.
    pub protocol: Protocol,
    /// The host's address that is listened on.
    pub address: Ipv4Addr,
    /// The host's port; 0 is any that is free.
    pub host: u16,
    /// The machine's port.
    pub guest: u16,
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ports, protocol) = match text.rsplit_once('/') {
            None => (text, Protocol::Tcp),
            Some((ports, "tcp")) => (ports, Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some((_, other)) => return Err(format!("`{other}` is no protocol; tcp and udp are")),
        };
        if ports.contains('[') {
            return Err("QEMU forwards IPv4 addresses only".to_owned());
        }
        let (address, host, guest) = match ports.split(':').collect::<Vec<_>>()[..] {
            [host, guest] => (Ipv4Addr::LOCALHOST, host, guest),
            [address, host, guest] => (ipv4(address)?, host, guest),
            _ => return Err("HOST:GUEST is expected, as in 8080:80".to_owned()),
        };
        let forward = Self { protocol, address, host: port(host)?, guest: port(guest)? };
        if forward.guest == 0 {
            return Err("the machine's port cannot be 0".to_owned());
        }
        Ok(forward)
    }
}

fn ipv4(text: &str) -> Result<Ipv4Addr, String> {
    match text {
        "localhost" => Ok(Ipv4Addr::LOCALHOST),
        _ => {
            text.parse().map_err(|_| format!("`{text}` is no IPv4 address of this host, such as 127.0.0.1 or 0.0.0.0"))
        }
    }
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("`{text}` is no port; a number from 0 to 65535 is expected"))
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.address, self.host)?;
        if self.protocol == Protocol::Udp { f.write_str("/udp") } else { Ok(()) }
    }
}

impl Forward {
    /// QEMU's `hostfwd` rule.
    pub fn rule(&self) -> String {
        let Self { protocol, address, host, guest } = self;
        format!("{protocol}:{address}:{host}-:{guest}")
    }

    /// Whether the two would listen on the same port.
    fn is_like(&self, other: &Self) -> bool {
        let same_address =
            self.address == other.address || self.address.is_unspecified() || other.address.is_unspecified();
        self.host != 0 && self.host == other.host && self.protocol == other.protocol && same_address
    }
}

/// Everything that keeps these ports from being listened on, each in words and with its hint.
///
/// Somebody else may still take a port before QEMU does.
pub fn problems(forwards: &[Forward]) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, forward) in forwards.iter().enumerate() {
        if forwards[..index].iter().any(|earlier| earlier.is_like(forward)) {
            problems.push(format!("the host's port {forward} is given twice"));
        } else if let Err(error) = Bound::to(forward) {
            let is_taken = error.kind() == ErrorKind::AddrInUse;
            let holder = is_taken.then(|| holder::of_port(forward.protocol, forward.host)).flatten();
            problems.push(refusal(forward, &error, holder.as_ref()));
        }
    }
    problems
}

/// The same forwards with a free port in place of each 0.
pub fn with_free_ports(forwards: &[Forward]) -> io::Result<Vec<Forward>> {
    // All stay bound until each has its own.
    let mut bound = Vec::new();
    let mut settled = forwards.to_vec();
    for forward in settled.iter_mut().filter(|forward| forward.host == 0) {
        let socket = Bound::to(forward)?;
        forward.host = socket.port()?;
        bound.push(socket);
    }
    Ok(settled)
}

/// A port that is ours for a moment. Nobody is spoken to.
enum Bound {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Bound {
    /// Takes the port as QEMU will: std, too, lets nobody's closing connections keep it from listening.
    fn to(forward: &Forward) -> io::Result<Self> {
        let address = (forward.address, forward.host);
        match forward.protocol {
            Protocol::Tcp => TcpListener::bind(address).map(Self::Tcp),
            Protocol::Udp => UdpSocket::bind(address).map(Self::Udp),
        }
    }

    fn port(&self) -> io::Result<u16> {
        let address = match self {
            Self::Tcp(socket) => socket.local_addr(),
            Self::Udp(socket) => socket.local_addr(),
        };
        address.map(|address| address.port())
    }
}

fn refusal(forward: &Forward, error: &io::Error, holder: Option<&Holder>) -> String {
    let Forward { address, host, guest, protocol } = forward;
    let suffix = if *protocol == Protocol::Udp { "/udp" } else { "" };
    match error.kind() {
        ErrorKind::AddrInUse => {
            let who = holder.map(|holder| format!(" by {holder}")).unwrap_or_default();
            format!(
                "the host's port {forward} is taken{who}\nhint: take another one, as in `-p 0:{guest}{suffix}`, which takes any that is free"
            )
        }
        ErrorKind::PermissionDenied => {
            let higher = host.checked_add(8000).unwrap_or(8080);
            format!(
                "the host's port {forward} is for root only\nhint: take one above 1023, as in `-p {higher}:{guest}{suffix}`"
            )
        }
        ErrorKind::AddrNotAvailable => {
            format!("the host has no address {address}\nhint: leave it out for 127.0.0.1; 0.0.0.0 is all that it has")
        }
        _ => format!("the host's port {forward} cannot be listened on: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(text: &str) -> Forward {
        text.parse().expect("a forward")
    }

    fn check(text: &str, expect: Result<&str, &str>) {
        let actual = text.parse::<Forward>().map(|forward| forward.rule());
        assert_eq!(actual, expect.map(str::to_owned).map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_forward_is_two_ports_and_what_may_be_left_out() {
        check("8080:80", Ok("tcp:127.0.0.1:8080-:80"));
        check("8080:80/tcp", Ok("tcp:127.0.0.1:8080-:80"));
        check("5353:53/udp", Ok("udp:127.0.0.1:5353-:53"));
        check("0.0.0.0:8080:80", Ok("tcp:0.0.0.0:8080-:80"));
        check("localhost:0:80", Ok("tcp:127.0.0.1:0-:80"));
    }

    #[test]
    fn what_is_none_is_told() {
        check("8080", Err("HOST:GUEST is expected, as in 8080:80"));
        check("", Err("HOST:GUEST is expected, as in 8080:80"));
        check("a:b:c:d", Err("HOST:GUEST is expected, as in 8080:80"));
        check("8080:80/sctp", Err("`sctp` is no protocol; tcp and udp are"));
        check("8080:0", Err("the machine's port cannot be 0"));
        check("80800:80", Err("`80800` is no port; a number from 0 to 65535 is expected"));
        check("8080:http", Err("`http` is no port; a number from 0 to 65535 is expected"));
        check("example.org:1:2", Err("`example.org` is no IPv4 address of this host, such as 127.0.0.1 or 0.0.0.0"));
        check("[::1]:8080:80", Err("QEMU forwards IPv4 addresses only"));
    }

    #[test]
    fn a_taken_port_is_told_with_its_holder() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let udp = UdpSocket::bind("0.0.0.0:0").expect("a free port");
        let tcp_port = tcp.local_addr().expect("bound").port();
        let udp_port = udp.local_addr().expect("bound").port();
        let forwards = [forward(&format!("{tcp_port}:80")), forward(&format!("{udp_port}:53/udp"))];
        let problems = problems(&forwards);
        let us = format!("(process {})", std::process::id());
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(
            problems[0].starts_with(&format!("the host's port 127.0.0.1:{tcp_port} is taken by `")),
            "{problems:?}"
        );
        assert!(
            problems[0].contains(&us) && problems[0].contains("hint: take another one, as in `-p 0:80`"),
            "{problems:?}"
        );
        assert!(problems[1].contains(&us) && problems[1].contains("`-p 0:53/udp`"), "{problems:?}");
    }

    #[test]
    fn the_same_port_twice_is_told_before_qemu_does() {
        let port = with_free_ports(&[forward("0:1")]).expect("a free port")[0].host;
        let both = |other: &str| problems(&[forward(&format!("{port}:80")), forward(other)]).len();
        assert_eq!(both(&format!("{port}:81")), 1);
        assert_eq!(both(&format!("0.0.0.0:{port}:81")), 1);
        assert_eq!(both(&format!("{port}:80/udp")), 0);
        assert_eq!(problems(&[forward("0:80"), forward("0:81")]), Vec::<String>::new());
    }

    #[test]
    fn each_zero_gets_a_port_of_its_own() {
        let settled = with_free_ports(&[forward("0:80"), forward("0:81"), forward("7:82")]).expect("free ports");
        assert!(settled[0].host != 0 && settled[1].host != 0 && settled[0].host != settled[1].host, "{settled:?}");
        assert_eq!(settled[2], forward("7:82"));
    }

    #[test]
    fn other_refusals_have_their_own_words() {
        let refusal = |kind: ErrorKind| refusal(&forward("80:80"), &kind.into(), None);
        assert!(
            refusal(ErrorKind::PermissionDenied)
                .ends_with("is for root only\nhint: take one above 1023, as in `-p 8080:80`")
        );
        assert!(refusal(ErrorKind::AddrNotAvailable).starts_with("the host has no address 127.0.0.1\nhint: "));
        assert!(refusal(ErrorKind::OutOfMemory).starts_with("the host's port 127.0.0.1:80 cannot be listened on: "));
        let problems = problems(&[forward("192.0.2.1:8080:80")]);
        assert!(problems[0].contains("the host has no address 192.0.2.1"), "{problems:?}");
    }
}
