//! The lease machine (RFC 2131 section 4.4). Packets, the link's changes and the time go in; [`Action`]s come out.
//!
//! Where the RFC leaves a choice:
//!
//! - The first DISCOVER goes out at once, without the random wait of 1 to 10 s of section 4.4.1: a machine that
//!   starts in 20 ms does not wait for a thousand others.
//! - The first usable offer is taken.
//! - When the link comes back, the machine may be elsewhere, or only a cable was loose. So the lease is verified by a
//!   REQUEST (INIT-REBOOT, section 3.2) while the address stays: connections survive a loose cable, and a server of
//!   another network says no at once. If nobody answers, the client looks for any server, still with the old address;
//!   that is given up when a server says no, when another lease takes its place, or at its end.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::lease::{Lease, Times};
use super::message::{Answer, Kind, Question, option};
use super::random::Random;
use crate::cmdline::LogLevel;
use crate::ipv4::Settings;
use crate::time::millis;

mod phase;

use phase::{Ends, Exchange, Held, Offer, Phase};

/// Section 4.1: the first retransmission comes after 4 s, each next one after twice as long, up to 64 s; each time a
/// second more or less, at random.
const FIRST_WAIT: Duration = Duration::from_secs(4);
const LONGEST_WAIT: Duration = Duration::from_secs(64);
const JITTER: Duration = Duration::from_secs(1);
/// Section 3.1, step 5: about a minute, in which an offer is asked for.
const MOST_REQUESTS: u32 = 4;
/// Two questions in 12 s whether the lease still holds; meanwhile nothing is lost.
const MOST_VERIFICATIONS: u32 = 2;
/// Section 4.4.5: while a lease is renewed, half of what is left is waited, but no less than this.
const SHORTEST_RENEWAL_WAIT: Duration = Duration::from_secs(60);
/// So many unanswered DISCOVERs are worth a word: 12 s.
const SILENCE: u32 = 2;

/// Time since any moment, as long as it is always the same.
pub type Time = Duration;

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a message to every server, from this address.
    Broadcast(Ipv4Addr, Vec<u8>),
    /// Send a message from the first address to the second, which the kernel knows the way to.
    Unicast(Ipv4Addr, Ipv4Addr, Vec<u8>),
    /// Set the card so, whatever it was set to.
    Apply(Settings),
    /// Take the settings away.
    Remove,
    /// Tell the machine's owner.
    Say(LogLevel, String),
}

/// The client of one network card.
#[derive(Debug, Clone)]
pub struct Client {
    mac: [u8; 6],
    hostname: Option<String>,
    random: Random,
    phase: Phase,
    held: Option<Held>,
    /// The address to ask for again.
    last_address: Option<Ipv4Addr>,
    /// How often in a row a server said no.
    n_refusals: u32,
    actions: Vec<Action>,
}

impl Client {
    /// The client of the card `mac`, whose link is down. `hostname` is told to servers; some enter it into their DNS.
    pub fn new(mac: [u8; 6], hostname: Option<&str>, seed: u64) -> Self {
        Self {
            mac,
            hostname: hostname.map(str::to_owned),
            random: Random::new(seed),
            phase: Phase::Down,
            held: None,
            last_address: None,
            n_refusals: 0,
            actions: Vec::new(),
        }
    }

    /// The lease that the card is set to.
    pub fn lease(&self) -> Option<&Lease> {
        self.held.as_ref().map(|held| &held.lease)
    }

    /// Whether a message may come that counts.
    pub fn listens(&self) -> bool {
        !matches!(self.phase, Phase::Down | Phase::Pause(_) | Phase::Bound)
    }

    /// When [`Client::tick`] must be called at the latest. After it was, this is in the future.
    pub fn deadline(&self) -> Option<Time> {
        let ends = self.held.as_ref().and_then(|held| held.ends);
        let next = match self.phase {
            Phase::Down => None,
            Phase::Bound => ends.map(|ends| ends.renew),
            Phase::Pause(until) => Some(until),
            Phase::Selecting(exchange)
            | Phase::Requesting(exchange, _)
            | Phase::Verifying(exchange)
            | Phase::Renewing(exchange)
            | Phase::Rebinding(exchange) => Some(exchange.next),
        };
        [next, ends.map(|ends| ends.expire)].into_iter().flatten().min()
    }

    /// The link carries packets from now on.
    pub fn link_up(&mut self, now: Time) -> Vec<Action> {
        if matches!(self.phase, Phase::Down) {
            self.expire(now);
            match self.held {
                Some(_) => self.verify(now),
                None => self.discover(now),
            }
        }
        self.take()
    }

    /// The link carries nothing any more. The lease is kept until its end, for the link may come back.
    pub fn link_down(&mut self) -> Vec<Action> {
        self.phase = Phase::Down;
        self.take()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Time) -> Vec<Action> {
        while self.deadline().is_some_and(|due| due <= now) {
            self.expire(now);
            self.step(now);
        }
        self.take()
    }

    /// Takes a message. One that does not belong to the question under way changes nothing.
    pub fn receive(&mut self, now: Time, message: &[u8]) -> Vec<Action> {
        if let Some(answer) = Answer::parse(message).filter(|answer| answer.mac == self.mac) {
            self.hear(now, &answer);
        }
        self.take()
    }

    /// Gives the lease back (DHCPRELEASE), for the machine stops. The settings stay.
    pub fn release(&mut self) -> Vec<Action> {
        if let Some(held) = self.held.take() {
            let (address, server) = (held.lease.settings.address, held.lease.server);
            let xid = self.random.next();
            let question =
                Question { in_use: Some(address), server: Some(server), ..self.question(Kind::Release, xid) };
            let message = question.encode();
            self.actions.push(Action::Unicast(address, server, message));
        }
        self.phase = Phase::Down;
        self.take()
    }

    fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    fn say(&mut self, level: LogLevel, text: impl Into<String>) {
        self.actions.push(Action::Say(level, text.into()));
    }

    /// What is due in this phase, if anything is.
    fn step(&mut self, now: Time) {
        if self.deadline().is_none_or(|due| due > now) {
            return;
        }
        match self.phase {
            Phase::Down => {}
            Phase::Pause(_) => self.discover(now),
            Phase::Selecting(exchange) => self.ask_for_offers(now, exchange),
            Phase::Requesting(exchange, _) if exchange.n_sent >= MOST_REQUESTS => self.discover(now),
            Phase::Requesting(exchange, offer) => self.request(now, exchange, offer),
            Phase::Verifying(exchange) if exchange.n_sent >= MOST_VERIFICATIONS => self.discover(now),
            Phase::Verifying(exchange) => self.ask_again_after_reboot(now, exchange),
            Phase::Bound | Phase::Renewing(_) | Phase::Rebinding(_) => self.extend(now),
        }
    }

    /// Loses a lease that is over.
    fn expire(&mut self, now: Time) {
        let ends = self.held.as_ref().and_then(|held| held.ends);
        if ends.is_some_and(|ends| ends.expire <= now) {
            self.lose("the lease is over and no server prolongs it", now);
        }
    }

    fn lose(&mut self, why: &str, now: Time) {
        if let Some(held) = self.held.take() {
            let address = held.lease.settings.address;
            self.actions.push(Action::Remove);
            self.say(LogLevel::Warn, format!("lost {address}: {why}"));
        }
        // The phases that live of a lease end with it.
        if matches!(self.phase, Phase::Bound | Phase::Verifying(_) | Phase::Renewing(_) | Phase::Rebinding(_)) {
            self.discover(now);
        }
    }

    fn discover(&mut self, now: Time) {
        let exchange = self.exchange(now);
        self.ask_for_offers(now, exchange);
    }

    fn verify(&mut self, now: Time) {
        let exchange = self.exchange(now);
        self.ask_again_after_reboot(now, exchange);
    }

    fn exchange(&mut self, now: Time) -> Exchange {
        Exchange { xid: self.random.next(), begun: now, asked: now, seconds: 0, n_sent: 0, next: now }
    }

    /// INIT and SELECTING.
    fn ask_for_offers(&mut self, now: Time, exchange: Exchange) {
        if exchange.n_sent == SILENCE {
            self.say(LogLevel::Warn, "no DHCP server answers; it goes on trying");
        }
        let exchange = Exchange { seconds: seconds_since(exchange.begun, now), ..self.sent(now, exchange) };
        self.phase = Phase::Selecting(exchange);
        let discover = self.question(Kind::Discover, exchange.xid);
        self.broadcast(Question { seconds: exchange.seconds, wanted: self.last_address, ..discover }.encode());
    }

    /// SELECTING to REQUESTING, and there once more.
    fn request(&mut self, now: Time, exchange: Exchange, offer: Offer) {
        let exchange = self.sent(now, exchange);
        self.phase = Phase::Requesting(exchange, offer);
        let (wanted, server) = (Some(offer.address), Some(offer.server));
        let request = self.question(Kind::Request, exchange.xid);
        self.broadcast(Question { seconds: exchange.seconds, wanted, server, ..request }.encode());
    }

    /// INIT-REBOOT and REBOOTING.
    fn ask_again_after_reboot(&mut self, now: Time, exchange: Exchange) {
        let Some(held) = &self.held else { return self.discover(now) };
        let wanted = Some(held.lease.settings.address);
        let exchange = self.sent(now, exchange);
        self.phase = Phase::Verifying(exchange);
        let seconds = seconds_since(exchange.begun, now);
        let request = self.question(Kind::Request, exchange.xid);
        self.broadcast(Question { seconds, wanted, ..request }.encode());
    }

    /// BOUND to RENEWING to REBINDING, and in both once more.
    fn extend(&mut self, now: Time) {
        let Some(Held { lease, ends: Some(ends) }) = &self.held else { return };
        let (address, server, ends) = (lease.settings.address, lease.server, *ends);
        let begun = match self.phase {
            Phase::Renewing(exchange) | Phase::Rebinding(exchange) => exchange.begun,
            _ => now,
        };
        let is_renewal = now < ends.rebind;
        let end = if is_renewal { ends.rebind } else { ends.expire };
        let wait = (end.saturating_sub(now) / 2).max(SHORTEST_RENEWAL_WAIT);
        // A number of its own for each question: then the lease counts from the one that was answered.
        let exchange = Exchange { begun, next: now.saturating_add(wait).min(end), n_sent: 1, ..self.exchange(now) };
        let seconds = seconds_since(begun, now);
        let request = self.question(Kind::Request, exchange.xid);
        let message = Question { seconds, in_use: Some(address), ..request }.encode();
        if is_renewal {
            self.phase = Phase::Renewing(exchange);
            self.actions.push(Action::Unicast(address, server, message));
        } else {
            self.phase = Phase::Rebinding(exchange);
            self.actions.push(Action::Broadcast(address, message));
        }
    }

    fn hear(&mut self, now: Time, answer: &Answer) {
        let its_server = self.held.as_ref().map(|held| held.lease.server);
        let (exchange, server) = match self.phase {
            Phase::Down | Phase::Pause(_) | Phase::Bound => return,
            Phase::Selecting(exchange) | Phase::Verifying(exchange) | Phase::Rebinding(exchange) => (exchange, None),
            Phase::Requesting(exchange, offer) => (exchange, Some(offer.server)),
            Phase::Renewing(exchange) => (exchange, its_server),
        };
        // Another machine's, a late one, or from a server that was not asked.
        if answer.xid != exchange.xid || (server.is_some() && answer.server() != server) {
            return;
        }
        match (self.phase, answer.kind) {
            (Phase::Selecting(_), Kind::Offer) => self.choose(now, answer, exchange),
            (Phase::Selecting(_), _) => {}
            (_, Kind::Ack) => self.bind(answer, exchange.asked),
            (_, Kind::Nak) => self.refused(now, answer),
            _ => {}
        }
    }

    fn choose(&mut self, now: Time, answer: &Answer, exchange: Exchange) {
        let Some(lease) = Lease::of(answer) else {
            return self.say(LogLevel::Debug, "an offer without an address or a server was left alone");
        };
        let offer = Offer { address: lease.settings.address, server: lease.server };
        self.request(now, Exchange { asked: now, n_sent: 0, ..exchange }, offer);
    }

    fn bind(&mut self, answer: &Answer, asked: Time) {
        let Some(lease) = Lease::of(answer) else {
            return self.say(LogLevel::Debug, "a lease without an address or a server was left alone");
        };
        let ends = lease.times.map(|times| self.ends(asked, times));
        let is_known = self.lease().is_some_and(|known| known.settings == lease.settings);
        // A link that was down may have lost its routes.
        if !is_known || !matches!(self.phase, Phase::Renewing(_) | Phase::Rebinding(_)) {
            self.actions.push(Action::Apply(lease.settings.clone()));
        }
        // Who reads of an address may use it.
        if is_known {
            self.say(LogLevel::Debug, format!("still {lease}"));
        } else {
            self.say(LogLevel::Info, lease.to_string());
        }
        self.phase = Phase::Bound;
        self.n_refusals = 0;
        self.last_address = Some(lease.settings.address);
        self.held = Some(Held { lease, ends });
    }

    /// Section 4.4.5: a little earlier than agreed on, so that machines that started together do not renew together.
    fn ends(&mut self, asked: Time, times: Times) -> Ends {
        let earlier = u32::try_from(millis(times.renew / 32)).unwrap_or(u32::MAX);
        let earlier = Duration::from_millis(self.random.up_to(earlier).into());
        Ends {
            renew: asked.saturating_add(times.renew.saturating_sub(earlier)),
            rebind: asked.saturating_add(times.rebind),
            expire: asked.saturating_add(times.expire),
        }
    }

    fn refused(&mut self, now: Time, answer: &Answer) {
        let words = answer.option(option::MESSAGE).unwrap_or_default();
        let words: String =
            words.iter().take(80).map(|byte| char::from(*byte)).filter(|c| matches!(c, ' '..='~')).collect();
        let why =
            if words.is_empty() { "the server refuses it".to_owned() } else { format!("the server says: {words}") };
        let in_use = self.lease().map(|lease| lease.settings.address);
        // The refusal of a new address says nothing of the one in use.
        let is_of_held = !matches!(self.phase, Phase::Requesting(_, offer) if in_use != Some(offer.address));
        self.last_address = None;
        self.phase = Phase::Pause(now.saturating_add(self.refusal_wait()));
        if is_of_held {
            self.lose(&why, now);
        } else {
            self.say(LogLevel::Warn, format!("no address: {why}"));
        }
        self.n_refusals = self.n_refusals.saturating_add(1);
        if matches!(self.phase, Phase::Pause(until) if until <= now) {
            self.discover(now);
        }
    }

    /// The first time the client starts over at once, for it may only be elsewhere.
    fn refusal_wait(&mut self) -> Duration {
        match self.n_refusals {
            0 => Duration::ZERO,
            n => self.backoff(n - 1),
        }
    }

    /// How long to wait after a message was sent `n_before` times before.
    fn backoff(&mut self, n_before: u32) -> Duration {
        let wait = FIRST_WAIT.saturating_mul(1 << n_before.min(8)).min(LONGEST_WAIT);
        let jitter = self.random.up_to(2 * u32::try_from(millis(JITTER)).unwrap_or(0));
        wait.saturating_sub(JITTER).saturating_add(Duration::from_millis(jitter.into()))
    }

    fn sent(&mut self, now: Time, exchange: Exchange) -> Exchange {
        let next = now.saturating_add(self.backoff(exchange.n_sent));
        Exchange { n_sent: exchange.n_sent.saturating_add(1), next, ..exchange }
    }

    fn question(&self, kind: Kind, xid: u32) -> Question<'_> {
        let hostname = self.hostname.as_deref();
        Question { kind, xid, seconds: 0, mac: self.mac, in_use: None, wanted: None, server: None, hostname }
    }

    fn broadcast(&mut self, message: Vec<u8>) {
        self.actions.push(Action::Broadcast(Ipv4Addr::UNSPECIFIED, message));
    }
}

fn seconds_since(begun: Time, now: Time) -> u16 {
    u16::try_from(now.saturating_sub(begun).as_secs()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
