//! What `net` is in an image without a network: nothing, with the same doors.

use std::os::fd::BorrowedFd;

use pid1_init::config::{Network, NetworkMode};

use crate::clock::Moment;
use crate::console;

/// No network.
pub struct Net;

impl Net {
    /// Only says that there is none, if one is asked for.
    pub fn start(config: &Network, _hostname: Option<&str>, _is_fixed: bool) -> Self {
        if config.mode != NetworkMode::Off {
            console::warn("there is no network: the image was made without one (`[network]` in its spec)");
        }
        Self
    }

    /// Nothing to poll.
    pub fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::empty()
    }

    /// Never.
    pub fn deadline(&self) -> Option<Moment> {
        None
    }

    /// Nothing to do.
    pub fn handle(&mut self) {}

    /// Never.
    pub fn is_ready(&self) -> bool {
        false
    }

    /// Nothing to give back.
    pub fn release(&mut self) {}

    /// Why the network is not ready, in a few words.
    pub fn waiting_for(&self) -> String {
        "the image was made without one".to_owned()
    }
}
