//! A life of the DHCP client: links, time and packets in any order. The card is always set as the lease says, the client
//! never spins, never waits for ever without a lease, and hears nobody it did not ask.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use pid1_init::dhcp::{Action, Client};
use pid1_init::ipv4::Settings;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

struct World {
    client: Client,
    now: Duration,
    xid: [u8; 4],
    is_up: bool,
    set: Option<Settings>,
}

impl World {
    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Apply(settings) => self.set = Some(settings),
                Action::Remove => assert!(self.set.take().is_some(), "nothing was there to be removed"),
                Action::Broadcast(_, message) | Action::Unicast(_, _, message) => {
                    assert!(message.len() >= 300 && message[28..34] == MAC);
                    self.xid.copy_from_slice(&message[4..8]);
                }
                Action::Say(_, text) => assert!(!text.contains(char::is_control)),
            }
        }
    }

    fn tick(&mut self) {
        let actions = self.client.tick(self.now);
        self.take(actions);
    }

    fn hear(&mut self, message: &[u8]) {
        let actions = self.client.receive(self.now, message);
        self.take(actions);
    }

    /// Does what the next bytes say, and gives back the rest.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (what, rest) = bytes.split_first()?;
        match what % 8 {
            0 => {
                self.is_up = true;
                let actions = self.client.link_up(self.now);
                self.take(actions);
            }
            1 => {
                self.is_up = false;
                let actions = self.client.link_down();
                self.take(actions);
            }
            2 => {
                self.now += Duration::from_millis(u64::from(*rest.first()?) << (what / 8));
                return rest.get(1..);
            }
            3 => self.now = self.client.deadline().unwrap_or(self.now).max(self.now),
            4 | 5 => {
                let (message, rest) = answer(rest, self.xid)?;
                self.hear(&message);
                return Some(rest);
            }
            6 => {
                // Somebody else's.
                let (message, rest) = answer(rest, [!self.xid[0], 0, 0, 0])?;
                let before = format!("{:?}", self.client);
                self.hear(&message);
                assert_eq!(before, format!("{:?}", self.client));
                return Some(rest);
            }
            _ => {
                let (message, rest) = rest.split_at_checked((*what).into())?;
                self.hear(message);
                return Some(rest);
            }
        }
        Some(rest)
    }
}

/// An answer of kind, address, server and options as the bytes say.
fn answer(bytes: &[u8], xid: [u8; 4]) -> Option<(Vec<u8>, &[u8])> {
    let ([kind, address, server, length], rest) = bytes.split_first_chunk::<4>()?;
    let (options, rest) = rest.split_at_checked((*length).into())?;
    let mut message = vec![0; 240];
    message[..3].copy_from_slice(&[2, 1, 6]);
    message[4..8].copy_from_slice(&xid);
    message[16..20].copy_from_slice(&[10, 0, 2, *address]);
    message[28..34].copy_from_slice(&MAC);
    message[236..].copy_from_slice(&[99, 130, 83, 99]);
    message.extend([53, 1, kind % 9, 54, 4, 10, 0, 2, *server]);
    message.extend(options);
    Some((message, rest))
}

fuzz_target!(|bytes: &[u8]| {
    let Some((seed, mut bytes)) = bytes.split_first() else { return };
    let client = Client::new(MAC, Some("box"), u64::from(*seed));
    let mut world = World { client, now: Duration::ZERO, xid: [0; 4], is_up: false, set: None };
    while let Some(rest) = world.step(bytes) {
        bytes = rest;
        world.tick();
        let deadline = world.client.deadline();
        assert!(deadline.is_none_or(|due| due > world.now), "it would spin");
        assert!(deadline.is_some() || !world.is_up || world.set.is_some(), "it would wait for ever");
        assert_eq!(world.set.as_ref(), world.client.lease().map(|lease| &lease.settings));
    }
    let is_held = world.client.lease().is_some();
    assert_eq!(world.client.release().len(), usize::from(is_held));
});
