//! The two netlink sockets: one hears of links, the other asks for changes and is told the outcome.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use pid1_init::netlink::{self, Event, LINK_GROUP};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with};

use crate::console;

/// The kernel cuts what it says into pieces of at most 32 KiB.
const BUFFER: usize = 32 * 1024;
/// So many pieces are read at once; what is left makes the socket readable again.
const MOST_PIECES: u32 = 64;

/// rtnetlink(7).
pub struct Kernel {
    events: OwnedFd,
    requests: OwnedFd,
}

impl Kernel {
    /// Opens both sockets and asks for the links that there are.
    pub fn open() -> Result<Self, Errno> {
        let kernel = Self { events: open(LINK_GROUP)?, requests: open(0)? };
        kernel.list_links()?;
        Ok(kernel)
    }

    /// Readable when links changed.
    pub fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// What happened to links since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut buffer = vec![0; BUFFER];
        for _ in 0..MOST_PIECES {
            match recv(&self.events, buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok((length, _)) => events.extend(netlink::parse(buffer.get(..length).unwrap_or_default())),
                Err(Errno::INTR) => {}
                // More changed than the socket holds: look at what there is now.
                Err(Errno::NOBUFS) => drop(self.list_links()),
                Err(_) => break,
            }
        }
        events
    }

    /// Asks for a change. A refusal is said on the console as ``cannot WHAT``.
    pub fn ask(&self, what: &str, request: &[u8]) -> bool {
        let outcome = self.try_ask(request);
        if let Err(error) = outcome {
            console::warn(&format!("cannot {what}: {error}"));
        }
        outcome.is_ok()
    }

    /// Asks for a change.
    pub fn try_ask(&self, request: &[u8]) -> Result<(), Errno> {
        send(&self.requests, request, SendFlags::empty())?;
        // The kernel has done it when send(2) returns, so the outcome is there.
        let mut buffer = [0; 1024];
        let (length, _) =
            rustix::io::retry_on_intr(|| recv(&self.requests, buffer.as_mut_slice(), RecvFlags::empty()))?;
        let events = netlink::parse(buffer.get(..length).unwrap_or_default());
        match events.first() {
            Some(Event::Outcome(0)) => Ok(()),
            Some(Event::Outcome(error)) => Err(Errno::from_raw_os_error(*error)),
            _ => Err(Errno::PROTO),
        }
    }

    fn list_links(&self) -> Result<(), Errno> {
        send(&self.events, &netlink::list_links(), SendFlags::empty()).map(drop)
    }
}

fn open(groups: u32) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // NETLINK_ROUTE is 0, which rustix calls "no protocol".
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}
