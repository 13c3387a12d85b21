//! The promises of the lease machine, by name. A [`Wire`] is the machine, its clock and what is on the wire.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::super::message::option::*;
use super::*;

mod any_input;
mod links;
mod renewal;
mod start;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 9, 15);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;
const RELEASE: u8 = 7;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A message that the client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    at: Time,
    from: Ipv4Addr,
    /// `None` for everybody.
    to: Option<Ipv4Addr>,
    bytes: Vec<u8>,
}

impl Sent {
    fn xid(&self) -> [u8; 4] {
        self.bytes[4..8].try_into().unwrap()
    }

    fn in_use(&self) -> Ipv4Addr {
        <[u8; 4]>::try_from(&self.bytes[12..16]).unwrap().into()
    }

    fn option(&self, code: u8) -> Option<Vec<u8>> {
        let mut at = 240;
        while self.bytes[at] != END {
            let end = at + 2 + usize::from(self.bytes[at + 1]);
            if self.bytes[at] == code {
                return Some(self.bytes[at + 2..end].to_vec());
            }
            at = end;
        }
        None
    }

    fn kind(&self) -> u8 {
        self.option(MESSAGE_TYPE).unwrap()[0]
    }

    fn requested(&self) -> Option<Ipv4Addr> {
        self.option(REQUESTED_ADDRESS).map(|octets| <[u8; 4]>::try_from(octets).unwrap().into())
    }

    fn server(&self) -> Option<Ipv4Addr> {
        self.option(option::SERVER).map(|octets| <[u8; 4]>::try_from(octets).unwrap().into())
    }
}

/// A server's answer.
#[derive(Clone)]
struct Reply {
    kind: u8,
    address: Ipv4Addr,
    server: Ipv4Addr,
    options: Vec<(u8, Vec<u8>)>,
}

impl Reply {
    fn new(kind: u8) -> Self {
        Self { kind, address: ADDRESS, server: SERVER, options: vec![(SUBNET_MASK, vec![255, 255, 255, 0])] }
    }

    fn with(mut self, code: u8, value: &[u8]) -> Self {
        self.options.push((code, value.to_vec()));
        self
    }

    fn lease(self, seconds: u32) -> Self {
        self.with(LEASE_TIME, &seconds.to_be_bytes())
    }

    fn bytes(&self, xid: [u8; 4]) -> Vec<u8> {
        let mut bytes = vec![0; 240];
        bytes[..4].copy_from_slice(&[2, 1, 6, 0]);
        bytes[4..8].copy_from_slice(&xid);
        bytes[16..20].copy_from_slice(&self.address.octets());
        bytes[28..34].copy_from_slice(&MAC);
        bytes[236..].copy_from_slice(&[99, 130, 83, 99]);
        bytes.extend([MESSAGE_TYPE, 1, self.kind, option::SERVER, 4]);
        bytes.extend(self.server.octets());
        for (code, value) in &self.options {
            bytes.extend([*code, u8::try_from(value.len()).unwrap()]);
            bytes.extend(value);
        }
        bytes.push(END);
        bytes
    }
}

struct Wire {
    client: Client,
    now: Time,
    sent: Vec<Sent>,
    /// All that was done and said, but for what was sent.
    done: Vec<Action>,
}

impl Wire {
    /// A client whose link is up.
    fn new() -> Self {
        Self::seeded(1)
    }

    fn seeded(seed: u64) -> Self {
        let client = Client::new(MAC, Some("box"), seed);
        let mut wire = Self { client, now: seconds(1000), sent: Vec::new(), done: Vec::new() };
        let actions = wire.client.link_up(wire.now);
        wire.take(actions);
        wire
    }

    /// One with a lease.
    fn bound(lease: u32) -> Self {
        let mut wire = Self::new();
        wire.answer(&Reply::new(OFFER).lease(lease));
        wire.answer(&Reply::new(ACK).lease(lease));
        assert_eq!(wire.address(), Some(ADDRESS));
        wire
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            let at = self.now;
            match action {
                Action::Broadcast(from, bytes) => self.sent.push(Sent { at, from, to: None, bytes }),
                Action::Unicast(from, to, bytes) => self.sent.push(Sent { at, from, to: Some(to), bytes }),
                done => self.done.push(done),
            }
        }
    }

    fn last(&self) -> Sent {
        self.sent.last().cloned().unwrap()
    }

    /// Answers the client's last message.
    fn answer(&mut self, reply: &Reply) {
        self.hear(&reply.bytes(self.last().xid()));
    }

    fn hear(&mut self, bytes: &[u8]) {
        let actions = self.client.receive(self.now, bytes);
        self.take(actions);
    }

    /// Sleeps until something is due, and does it.
    fn wait(&mut self) {
        self.now = self.client.deadline().expect("something is to come");
        let actions = self.client.tick(self.now);
        self.take(actions);
    }

    fn wait_until(&mut self, end: Time) {
        while self.client.deadline().is_some_and(|due| due <= end) {
            self.wait();
        }
        self.now = end;
    }

    fn down(&mut self) {
        let actions = self.client.link_down();
        self.take(actions);
    }

    fn up(&mut self) {
        let actions = self.client.link_up(self.now);
        self.take(actions);
    }

    fn address(&self) -> Option<Ipv4Addr> {
        self.client.lease().map(|lease| lease.settings.address)
    }

    /// What was said, and what was done, in words. Empties the list.
    fn done(&mut self) -> Vec<String> {
        let in_words = |action| match action {
            Action::Apply(settings) => format!("apply {}", settings.address),
            Action::Remove => "remove".to_owned(),
            Action::Say(level, text) => format!("{level:?}: {text}"),
            sent => format!("{sent:?}"),
        };
        self.done.drain(..).map(in_words).collect()
    }

    /// The seconds between each message and the one before.
    fn gaps(&self) -> Vec<f64> {
        self.sent.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).collect()
    }
}
