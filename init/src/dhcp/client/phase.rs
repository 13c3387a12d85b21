//! Where the lease machine stands.

use std::net::Ipv4Addr;

use super::Time;
use crate::dhcp::Lease;

/// The lease that the card is set to.
#[derive(Debug, Clone)]
pub struct Held {
    pub lease: Lease,
    pub ends: Option<Ends>,
}

/// The times of a lease on the clock.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    pub renew: Time,
    pub rebind: Time,
    pub expire: Time,
}

/// RFC 2131's states. Without a lease it is one of the first four.
#[derive(Debug, Clone, Copy)]
pub enum Phase {
    /// The link is down.
    Down,
    /// A server said no; better not to start over at once.
    Pause(Time),
    Selecting(Exchange),
    Requesting(Exchange, Offer),
    /// REBOOTING: the link came back.
    Verifying(Exchange),
    Bound,
    Renewing(Exchange),
    Rebinding(Exchange),
}

/// A question under way.
#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    pub xid: u32,
    /// When the client began to try.
    pub begun: Time,
    /// When this was first asked: a lease counts from here.
    pub asked: Time,
    /// What the last DISCOVER said of the time it takes; its REQUEST must say the same.
    pub seconds: u16,
    /// How often it was sent.
    pub n_sent: u32,
    /// When it is sent again, or given up.
    pub next: Time,
}

#[derive(Debug, Clone, Copy)]
pub struct Offer {
    pub address: Ipv4Addr,
    pub server: Ipv4Addr,
}
