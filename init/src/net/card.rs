//! One network card: it is switched on, followed, and given its address, by DHCP or from the image.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use pid1_init::LogLevel;
use pid1_init::config::NetworkMode;
use pid1_init::dhcp::{Action, CLIENT_PORT, Client, SERVER_PORT, frame};
use pid1_init::ipv4::Settings;
use pid1_init::netlink::{self, Link};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, bind, sendto, socket_with};
use rustix::rand::{GetRandomFlags, getrandom};

use super::apply::{Applied, Names};
use super::kernel::Kernel;
use crate::clock::{self, Moment};
use crate::console;
use crate::sys::packet;

/// The longest packet of an Ethernet card without jumbo frames; a DHCP message is never longer.
const LONGEST_PACKET: usize = 1500;
/// So many packets are read at once; what is left makes the socket readable again.
const MOST_PACKETS: u32 = 64;

/// A network card in use.
pub struct Card {
    link: Link,
    applied: Applied,
    way: Way,
}

/// Where its address comes from.
enum Way {
    Static(Settings),
    Dhcp(Box<Dhcp>),
}

/// The client and its sockets.
struct Dhcp {
    client: Client,
    /// The client's time counts from here.
    begun: Moment,
    /// Open while an answer is awaited, so that at other times no packet on the wire costs anything.
    packets: Option<OwnedFd>,
    /// Open while the server is asked for more time: its answer comes to a port that somebody has, else the kernel
    /// would tell the server that nobody does. The answer itself is read from `packets`.
    port: Option<OwnedFd>,
}

impl Card {
    /// Switches a card on and starts to find its address.
    pub fn take(mode: &NetworkMode, link: &Link, kernel: &Kernel, names: &Names) -> Option<Self> {
        let way = match mode {
            NetworkMode::Off => return None,
            NetworkMode::Static(fixed) => Way::Static(Settings::from(fixed)),
            NetworkMode::Dhcp => Way::Dhcp(Box::new(Dhcp::new(link.mac?, names.hostname.as_deref()))),
        };
        if !link.is_up {
            kernel.ask(&format!("switch {} on", link.name), &netlink::set_up(link.index));
        }
        // Whatever it is, `follow` is to see a change.
        let unknown = Link { is_up: false, is_running: false, ..link.clone() };
        Some(Self { link: unknown, applied: Applied::nothing(link.index, link.mtu), way })
    }

    /// Its link, as last heard of.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Whether it has an address.
    pub fn is_ready(&self) -> bool {
        self.applied.settings().is_some()
    }

    /// Where answers come in, if any are awaited.
    pub fn packets(&self) -> Option<BorrowedFd<'_>> {
        match &self.way {
            Way::Static(_) => None,
            Way::Dhcp(dhcp) => dhcp.packets.as_ref().map(AsFd::as_fd),
        }
    }

    /// When [`Card::handle`] must be called at the latest.
    pub fn deadline(&self) -> Option<Moment> {
        match &self.way {
            Way::Static(_) => None,
            Way::Dhcp(dhcp) => dhcp.client.deadline().and_then(|time| dhcp.begun.checked_add(time)),
        }
    }

    /// Takes what has come and does what is due.
    pub fn handle(&mut self, kernel: &Kernel, names: &Names) {
        let Way::Dhcp(dhcp) = &mut self.way else { return };
        let mut actions = dhcp.take_packets();
        actions.extend(dhcp.client.tick(dhcp.now()));
        self.act(actions, kernel, names);
    }

    /// Takes over what changed of its link.
    pub fn follow(&mut self, link: &Link, kernel: &Kernel, names: &Names) {
        let before = std::mem::replace(&mut self.link, link.clone());
        if before.is_running != link.is_running {
            let state = if link.is_running { "up" } else { "down" };
            console::debug(&format!("{} is {state}", link.name));
        }
        let actions = match &mut self.way {
            // Linux drops routes when a link is switched off. Without a carrier they stay.
            Way::Static(settings) if link.is_up && !before.is_up => vec![Action::Apply(settings.clone())],
            Way::Dhcp(dhcp) if link.is_running && !before.is_running => dhcp.client.link_up(dhcp.now()),
            Way::Dhcp(dhcp) if !link.is_running && before.is_running => dhcp.client.link_down(),
            _ => return,
        };
        self.act(actions, kernel, names);
    }

    /// The card was taken out of the machine, and its settings with it.
    pub fn forget(self) {
        if let Some(settings) = self.applied.settings() {
            console::warn(&format!("{}: lost {}: the card is gone", self.link.name, settings.address));
        }
    }

    /// Takes the settings away, for somebody made another card of it.
    pub fn leave(&mut self, kernel: &Kernel) {
        self.applied.clear(kernel);
    }

    /// Gives the lease back.
    pub fn release(&mut self, kernel: &Kernel, names: &Names) {
        if let Way::Dhcp(dhcp) = &mut self.way {
            let actions = dhcp.client.release();
            self.act(actions, kernel, names);
        }
    }

    /// Why it has no address, in a few words.
    pub fn waiting_for(&self) -> String {
        let name = &self.link.name;
        match &self.way {
            _ if self.is_ready() => format!("{name} is ready"),
            Way::Static(_) if self.link.is_up => format!("{name} does not take its address"),
            Way::Static(_) => format!("{name} is not switched on yet"),
            Way::Dhcp(_) if !self.link.is_running => format!("{name} has no carrier"),
            Way::Dhcp(_) => format!("no DHCP server answers on {name}"),
        }
    }

    fn act(&mut self, actions: Vec<Action>, kernel: &Kernel, names: &Names) {
        for action in actions {
            match action {
                Action::Apply(settings) => self.set(&settings, kernel, names),
                Action::Remove => self.applied.clear(kernel),
                Action::Say(level, text) => console::log(level, &format!("{}: {text}", self.link.name)),
                Action::Broadcast(from, message) => self.send(|dhcp, link| dhcp.broadcast(link.index, from, &message)),
                Action::Unicast(from, to, message) => {
                    self.send(|dhcp, link| dhcp.unicast(link.index, from, to, &message))
                }
            }
        }
        if let Way::Dhcp(dhcp) = &mut self.way
            && !dhcp.client.listens()
        {
            (dhcp.packets, dhcp.port) = (None, None);
        }
    }

    fn set(&mut self, settings: &Settings, kernel: &Kernel, names: &Names) {
        let is_new = !self.is_ready();
        self.applied.set(settings, kernel, names);
        if let Way::Static(settings) = &self.way
            && is_new
            && self.is_ready()
        {
            let Settings { address, prefix, .. } = settings;
            console::log(LogLevel::Info, &format!("{}: {address}/{prefix} as configured", self.link.name));
        }
    }

    /// What cannot be sent will be sent again, so this is news only for someone who looks for a fault.
    fn send(&mut self, how: impl FnOnce(&mut Dhcp, &Link) -> Result<(), Errno>) {
        if let Way::Dhcp(dhcp) = &mut self.way
            && let Err(error) = how(dhcp, &self.link)
        {
            let name = &self.link.name;
            match error {
                Errno::AFNOSUPPORT => console::warn(&format!(
                    "{name}: no DHCP without packet sockets, which this kernel was built without (CONFIG_PACKET)"
                )),
                error => console::debug(&format!("{name}: cannot send to a DHCP server: {error}")),
            }
        }
    }
}

impl Dhcp {
    fn new(mac: [u8; 6], hostname: Option<&str>) -> Self {
        let client = Client::new(mac, hostname, seed(mac));
        Self { client, begun: clock::now(), packets: None, port: None }
    }

    fn now(&self) -> Duration {
        clock::since(self.begun)
    }

    fn take_packets(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut buffer = [0; LONGEST_PACKET];
        for _ in 0..MOST_PACKETS {
            let Some(socket) = &self.packets else { break };
            match packet::receive(socket.as_fd(), &mut buffer) {
                Ok(received) => {
                    let packet = buffer.get(..received.length).unwrap_or_default();
                    if let Some(message) = frame::message_in(packet, received.is_checked) {
                        actions.extend(self.client.receive(clock::since(self.begun), message));
                    }
                }
                // Said once when the link goes down.
                Err(Errno::INTR | Errno::NETDOWN) => {}
                Err(Errno::AGAIN) => break,
                // A new socket is opened for the next message.
                Err(_) => self.packets = None,
            }
        }
        actions
    }

    fn broadcast(&mut self, index: u32, from: Ipv4Addr, message: &[u8]) -> Result<(), Errno> {
        let socket = self.listen(index)?;
        let packet = frame::broadcast(from, message).ok_or(Errno::MSGSIZE)?;
        packet::broadcast(socket, index, &packet)
    }

    fn unicast(&mut self, index: u32, from: Ipv4Addr, to: Ipv4Addr, message: &[u8]) -> Result<(), Errno> {
        self.listen(index)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // The one before, for the address is taken while it is open.
        self.port = None;
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        // What comes is read elsewhere, so the smallest buffer will do.
        let _ = set_socket_recv_buffer_size(&socket, 0);
        bind(&socket, &SocketAddrV4::new(from, CLIENT_PORT))?;
        sendto(&socket, message, SendFlags::empty(), &SocketAddrV4::new(to, SERVER_PORT))?;
        self.port = Some(socket);
        Ok(())
    }

    fn listen(&mut self, index: u32) -> Result<BorrowedFd<'_>, Errno> {
        if self.packets.is_none() {
            self.packets = Some(packet::open(index)?);
        }
        self.packets.as_ref().map(AsFd::as_fd).ok_or(Errno::BADF)
    }
}

/// Random, and different on each machine even where the kernel has no random numbers yet.
fn seed(mac: [u8; 6]) -> u64 {
    let mut random = [0_u8; 8];
    let _ = getrandom(&mut random, GetRandomFlags::INSECURE);
    let [a, b, c, d, e, f] = mac;
    u64::from_ne_bytes(random) ^ u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}
