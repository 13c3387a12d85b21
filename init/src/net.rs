//! The machine's network: loopback, one network card, its address. Everything waits in the poll loop of `main`; nothing
//! here blocks, and nothing that goes wrong stops the machine.
//!
//! What is decided from packets and time is decided in the library (`dhcp`, `ipv4`, `netlink`); this is the half that
//! speaks with the kernel. IPv6 is the kernel's own: a card that is up finds its addresses by itself.

mod apply;
mod card;
mod kernel;

use std::os::fd::BorrowedFd;

use pid1_init::config::{Network, NetworkMode};
use pid1_init::netlink::{self, Event, Link};

use crate::clock::Moment;
use crate::console;
use apply::Names;
use card::Card;
use kernel::Kernel;

/// The network of the machine.
pub struct Net {
    kernel: Option<Kernel>,
    config: Network,
    names: Names,
    /// By index.
    links: Vec<Link>,
    card: Option<Card>,
    /// [`Net::handle`] has been called, so cards are looked at.
    is_open: bool,
}

impl Net {
    /// Switches loopback on, which every program may count on. Cards are left to the first [`Net::handle`], for a program
    /// that does not wait for the network need not wait for their drivers. Problems are said on the console.
    ///
    /// `hostname` is what DHCP servers are told. Unless it `is_fixed`, a lease may name the machine.
    pub fn start(config: &Network, hostname: Option<&str>, is_fixed: bool) -> Self {
        let kernel = Kernel::open()
            .map_err(|error| {
                let text = format!("there is no network: {error}");
                if config.mode == NetworkMode::Off { console::debug(&text) } else { console::warn(&text) }
            })
            .ok();
        let names = Names { hostname: hostname.map(str::to_owned), is_fixed };
        let mut net = Self { kernel, config: config.clone(), names, links: Vec::new(), card: None, is_open: false };
        net.listen();
        net
    }

    /// What to poll for reading.
    pub fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let kernel = self.kernel.as_ref().map(Kernel::events);
        kernel.into_iter().chain(self.card.as_ref().and_then(Card::packets))
    }

    /// When [`Net::handle`] must be called at the latest.
    pub fn deadline(&self) -> Option<Moment> {
        if !self.is_open {
            return Some(Moment::ZERO);
        }
        self.card.as_ref().and_then(Card::deadline)
    }

    /// Takes all that has come and is due.
    pub fn handle(&mut self) {
        if !self.is_open {
            self.is_open = true;
            self.choose_card();
        }
        self.listen();
        if let (Some(kernel), Some(card)) = (&self.kernel, &mut self.card) {
            card.handle(kernel, &self.names);
        }
    }

    fn listen(&mut self) {
        for event in self.kernel.as_mut().map(Kernel::take_events).unwrap_or_default() {
            self.hear(event);
        }
    }

    /// Whether an IPv4 address is configured.
    pub fn is_ready(&self) -> bool {
        self.card.as_ref().is_some_and(Card::is_ready)
    }

    /// Gives the lease back, for the machine stops. Best effort.
    pub fn release(&mut self) {
        if let (Some(kernel), Some(card)) = (&self.kernel, &mut self.card) {
            card.release(kernel, &self.names);
        }
    }

    /// Why the network is not ready, in a few words.
    pub fn waiting_for(&self) -> String {
        match (&self.kernel, &self.card, &self.config.interface) {
            _ if self.config.mode == NetworkMode::Off => "the network is switched off".to_owned(),
            (None, ..) => "the kernel has no network".to_owned(),
            (_, Some(card), _) => card.waiting_for(),
            (_, None, Some(name)) => format!("there is no network card {name}"),
            (_, None, None) => "there is no network card".to_owned(),
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Link(link) => self.link_is_there(link),
            Event::LinkGone(index) => self.link_is_gone(index),
            Event::Outcome(0) => {}
            Event::Outcome(error) => console::warn(&format!("cannot list the network cards: error {error}")),
        }
    }

    fn link_is_there(&mut self, link: Link) {
        let Some(kernel) = &self.kernel else { return };
        if link.is_loopback {
            if !link.is_up {
                kernel.ask("switch loopback on", &netlink::set_up(link.index));
            }
            return;
        }
        // Another address on the wire makes it another card.
        if let Some(mut card) = self.card.take_if(|card| card.link().index == link.index && card.link().mac != link.mac)
        {
            card.leave(kernel);
        }
        match self.links.iter_mut().find(|known| known.index == link.index) {
            Some(known) => *known = link,
            // Linux counts up, and lists them so.
            None => self.links.push(link),
        }
        self.choose_card();
    }

    fn link_is_gone(&mut self, index: u32) {
        self.links.retain(|link| link.index != index);
        if let Some(card) = self.card.take_if(|card| card.link().index == index) {
            card.forget();
        }
        self.choose_card();
    }

    /// Takes the card that was asked for, else the first there is, and tells it of changes of its link.
    fn choose_card(&mut self) {
        let Some(kernel) = &self.kernel else { return };
        if !self.is_open {
            return;
        }
        if self.card.is_none() && self.config.mode != NetworkMode::Off {
            let is_wanted = |link: &&Link| self.config.interface.as_ref().is_none_or(|name| *name == link.name);
            let link = self.links.iter().filter(|link| link.mac.is_some()).find(is_wanted);
            self.card = link.and_then(|link| Card::take(&self.config.mode, link, kernel, &self.names));
        }
        if let Some(card) = &mut self.card
            && let Some(link) = self.links.iter().find(|link| link.index == card.link().index)
        {
            card.follow(link, kernel, &self.names);
        }
    }
}
