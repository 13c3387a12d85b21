//! DHCP messages as bytes (RFC 2131 section 2, options of RFC 2132). Reading takes what can be understood: one bad
//! option costs itself and what follows it in its field, not the message.

use std::net::Ipv4Addr;

/// Everything before the options: the fixed fields and the magic cookie.
const FIXED: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// The shortest message that every relay passes on (RFC 1542 section 2.1).
const SHORTEST: usize = 300;
/// The longest DHCP message a server may send: what is left of an Ethernet packet's 1500 bytes.
const LONGEST: u16 = 1472;
const ETHERNET: u8 = 1;
const MAC_LENGTH: u8 = 6;
const REQUEST: u8 = 1;
const REPLY: u8 = 2;

/// Option numbers.
pub mod option {
    #![expect(missing_docs, reason = "the names are RFC 2132's")]
    pub const PAD: u8 = 0;
    pub const SUBNET_MASK: u8 = 1;
    pub const ROUTER: u8 = 3;
    pub const NAME_SERVER: u8 = 6;
    pub const HOST_NAME: u8 = 12;
    pub const DOMAIN_NAME: u8 = 15;
    pub const INTERFACE_MTU: u8 = 26;
    pub const REQUESTED_ADDRESS: u8 = 50;
    pub const LEASE_TIME: u8 = 51;
    pub const OVERLOAD: u8 = 52;
    pub const MESSAGE_TYPE: u8 = 53;
    pub const SERVER: u8 = 54;
    pub const PARAMETER_LIST: u8 = 55;
    pub const MESSAGE: u8 = 56;
    pub const MAXIMUM_SIZE: u8 = 57;
    pub const RENEWAL_TIME: u8 = 58;
    pub const REBINDING_TIME: u8 = 59;
    pub const DOMAIN_SEARCH: u8 = 119;
    pub const CLASSLESS_ROUTES: u8 = 121;
    pub const END: u8 = 255;
}

/// What the client asks for. Classless routes stand before the router, as RFC 3442 wants it.
const PARAMETERS: [u8; 10] = [
    option::SUBNET_MASK,
    option::CLASSLESS_ROUTES,
    option::ROUTER,
    option::NAME_SERVER,
    option::HOST_NAME,
    option::DOMAIN_NAME,
    option::DOMAIN_SEARCH,
    option::INTERFACE_MTU,
    option::RENEWAL_TIME,
    option::REBINDING_TIME,
];

/// Option 53, as far as a client needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are RFC 2131's")]
#[repr(u8)]
pub enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Ack = 5,
    Nak = 6,
    Release = 7,
}

/// A message of the client. What is `None` is left out.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What it is.
    pub kind: Kind,
    /// The transaction, by which the answer is known.
    pub xid: u32,
    /// How long the client has been trying.
    pub seconds: u16,
    /// The client's card.
    pub mac: [u8; 6],
    /// The address that the client uses, if it does.
    pub in_use: Option<Ipv4Addr>,
    /// Option 50, the address it would like to have.
    pub wanted: Option<Ipv4Addr>,
    /// Option 54, the server it speaks to.
    pub server: Option<Ipv4Addr>,
    /// Option 12, what it calls itself.
    pub hostname: Option<&'a str>,
}

impl Question<'_> {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![REQUEST, ETHERNET, MAC_LENGTH, 0];
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.seconds.to_be_bytes());
        // No flags: answers may come to the address they offer, for the client listens below IP.
        bytes.extend([0; 2]);
        bytes.extend(self.in_use.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
        bytes.extend([0; 12]);
        bytes.extend(self.mac);
        bytes.resize(FIXED - COOKIE.len(), 0);
        bytes.extend(COOKIE);
        self.push_options(&mut bytes);
        bytes.push(option::END);
        bytes.resize(bytes.len().max(SHORTEST), option::PAD);
        bytes
    }

    /// Table 5 of RFC 2131: which option is in which message.
    fn push_options(&self, bytes: &mut Vec<u8>) {
        push(bytes, option::MESSAGE_TYPE, &[self.kind as u8]);
        if let Some(wanted) = self.wanted {
            push(bytes, option::REQUESTED_ADDRESS, &wanted.octets());
        }
        if let Some(server) = self.server {
            push(bytes, option::SERVER, &server.octets());
        }
        if self.kind == Kind::Release {
            return;
        }
        if let Some(hostname) = self.hostname {
            push(bytes, option::HOST_NAME, hostname.as_bytes());
        }
        push(bytes, option::MAXIMUM_SIZE, &LONGEST.to_be_bytes());
        push(bytes, option::PARAMETER_LIST, &PARAMETERS);
    }
}

/// Writes one option, or nothing if the value is empty or does not fit into one.
fn push(bytes: &mut Vec<u8>, code: u8, value: &[u8]) {
    if let Ok(length @ 1..) = u8::try_from(value.len()) {
        bytes.extend([code, length]);
        bytes.extend(value);
    }
}

/// A server's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it is.
    pub kind: Kind,
    /// The transaction it answers.
    pub xid: u32,
    /// The card it is for.
    pub mac: [u8; 6],
    /// The address it hands out.
    pub address: Ipv4Addr,
    options: Vec<(u8, Vec<u8>)>,
}

impl Answer {
    /// Reads a message. `None` if it is not a server's answer to an Ethernet client at all.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_at_checked(FIXED)?;
        if !fixed.starts_with(&[REPLY, ETHERNET, MAC_LENGTH]) || !fixed.ends_with(&COOKIE) {
            return None;
        }
        let mut answer = Self {
            kind: Kind::Nak,
            xid: u32::from_be_bytes(*fixed.get(4..)?.first_chunk()?),
            mac: *fixed.get(28..)?.first_chunk()?,
            address: Ipv4Addr::from(*fixed.get(16..)?.first_chunk::<4>()?),
            options: Vec::new(),
        };
        answer.collect(rest);
        // RFC 2131 section 4.1: the file name's field comes before the server name's.
        let overload = answer.byte(option::OVERLOAD).unwrap_or(0);
        if overload & 1 != 0 {
            answer.collect(fixed.get(108..236)?);
        }
        if overload & 2 != 0 {
            answer.collect(fixed.get(44..108)?);
        }
        answer.kind = match answer.byte(option::MESSAGE_TYPE)? {
            2 => Kind::Offer,
            5 => Kind::Ack,
            6 => Kind::Nak,
            _ => return None,
        };
        Some(answer)
    }

    /// Adds the options in one field. Parts of an option are joined in the order in which they come (RFC 3396).
    fn collect(&mut self, mut field: &[u8]) {
        while let Some((&code, rest)) = field.split_first() {
            if code == option::PAD {
                field = rest;
                continue;
            }
            let value = rest.split_first().and_then(|(length, rest)| rest.split_at_checked((*length).into()));
            let Some((value, rest)) = value.filter(|_| code != option::END) else { return };
            match self.options.iter_mut().find(|(known, _)| *known == code) {
                Some((_, whole)) => whole.extend(value),
                None => self.options.push((code, value.to_vec())),
            }
            field = rest;
        }
    }

    /// The bytes of an option.
    pub fn option(&self, code: u8) -> Option<&[u8]> {
        self.options.iter().find(|(known, _)| *known == code).map(|(_, value)| value.as_slice())
    }

    /// The first byte of an option.
    pub fn byte(&self, code: u8) -> Option<u8> {
        self.option(code)?.first().copied()
    }

    /// The number in an option of two bytes.
    pub fn short(&self, code: u8) -> Option<u16> {
        self.option(code)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// The number in an option of four bytes.
    pub fn long(&self, code: u8) -> Option<u32> {
        self.option(code)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// The addresses in an option. Bytes left over count for nothing.
    pub fn addresses(&self, code: u8) -> impl Iterator<Item = Ipv4Addr> {
        let (whole, _) = self.option(code).unwrap_or_default().as_chunks::<4>();
        whole.iter().map(|octets| Ipv4Addr::from(*octets))
    }

    /// The server that sent it.
    pub fn server(&self) -> Option<Ipv4Addr> {
        self.addresses(option::SERVER).find(|server| !server.is_unspecified())
    }
}
