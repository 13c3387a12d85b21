//! Carries out the settings of a card: address, routes, MTU, /etc/resolv.conf, the machine's name.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use pid1_init::ipv4::Settings;
use pid1_init::netlink;
use rustix::io::Errno;
use rustix::system::{sethostname, uname};

use super::kernel::Kernel;
use crate::console;

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// In the same folder, so that it can be renamed.
const RESOLV_CONF_NEW: &str = "/etc/.resolv.conf.new";

/// The machine's name.
pub struct Names {
    /// What servers are told.
    pub hostname: Option<String>,
    /// The image or the kernel command line said it, so no lease may.
    pub is_fixed: bool,
}

/// What a card is set to.
pub struct Applied {
    index: u32,
    /// The MTU the card came with.
    own_mtu: u32,
    settings: Option<Settings>,
}

impl Applied {
    /// A card that is set to nothing.
    pub fn nothing(index: u32, own_mtu: u32) -> Self {
        Self { index, own_mtu, settings: None }
    }

    /// What it is set to.
    pub fn settings(&self) -> Option<&Settings> {
        self.settings.as_ref()
    }

    /// Sets the card so, whatever it was set to. What stays the same is never taken away in between.
    pub fn set(&mut self, settings: &Settings, kernel: &Kernel, names: &Names) {
        if let Some(old) = self.settings.take() {
            self.remove_routes(&old, settings, kernel);
            if (old.address, old.prefix) != (settings.address, settings.prefix) {
                self.remove_address(&old, kernel);
            }
            if old.mtu.is_some() && settings.mtu.is_none() {
                self.set_mtu(self.own_mtu, kernel);
            }
        }
        let Settings { address, prefix, mtu, .. } = settings;
        if let Some(mtu) = mtu {
            self.set_mtu(u32::from(*mtu), kernel);
        }
        let is_set =
            kernel.ask(&format!("set the address {address}/{prefix}"), &netlink::add_address(self.index, settings));
        for route in &settings.routes {
            let what = format!("add the route to {}/{}", route.destination, route.prefix);
            kernel.ask(&what, &netlink::add_route(self.index, route, *address));
        }
        write_resolv_conf(settings);
        set_hostname(settings, names);
        self.settings = is_set.then(|| settings.clone());
    }

    /// Takes the settings away. /etc/resolv.conf stays: without a network nobody could be asked anyhow, and a program
    /// that reads it only once must not find it missing.
    pub fn clear(&mut self, kernel: &Kernel) {
        if let Some(old) = self.settings.take() {
            self.remove_routes(&old, &Settings::new(old.address, old.prefix), kernel);
            self.remove_address(&old, kernel);
            if old.mtu.is_some() {
                self.set_mtu(self.own_mtu, kernel);
            }
        }
    }

    fn remove_routes(&self, old: &Settings, new: &Settings, kernel: &Kernel) {
        // The ways to gateways go last.
        for route in old.routes.iter().rev().filter(|route| !new.routes.contains(route)) {
            // It may have gone with its link or its address, or be no longer ours.
            if let Err(error) = kernel.try_ask(&netlink::remove_route(self.index, route)) {
                let (destination, prefix) = (route.destination, route.prefix);
                console::debug(&format!("cannot remove the route to {destination}/{prefix}: {error}"));
            }
        }
    }

    fn remove_address(&self, old: &Settings, kernel: &Kernel) {
        match kernel.try_ask(&netlink::remove_address(self.index, old)) {
            // Gone with its link.
            Ok(()) | Err(Errno::ADDRNOTAVAIL | Errno::NODEV) => {}
            Err(error) => console::warn(&format!("cannot remove the address {}: {error}", old.address)),
        }
    }

    fn set_mtu(&self, mtu: u32, kernel: &Kernel) {
        kernel.ask(&format!("set the MTU {mtu}"), &netlink::set_mtu(self.index, mtu));
    }
}

fn write_resolv_conf(settings: &Settings) {
    let Some(text) = settings.resolv_conf() else { return };
    if fs::read(RESOLV_CONF).is_ok_and(|old| old == text.as_bytes()) {
        return;
    }
    // Renamed when it is complete: a program never reads half of it.
    let written = write_new(&text).and_then(|()| fs::rename(RESOLV_CONF_NEW, RESOLV_CONF));
    if let Err(error) = written {
        console::warn(&format!("cannot write {RESOLV_CONF}: {error}"));
    }
}

fn write_new(text: &str) -> io::Result<()> {
    // Left by nobody but an init that was interrupted here.
    let _ = fs::remove_file(RESOLV_CONF_NEW);
    OpenOptions::new().write(true).create_new(true).mode(0o644).open(RESOLV_CONF_NEW)?.write_all(text.as_bytes())
}

fn set_hostname(settings: &Settings, names: &Names) {
    if let Some(name) = &settings.hostname
        && !names.is_fixed
        && uname().nodename().to_bytes() != name.as_bytes()
    {
        match sethostname(name.as_bytes()) {
            Ok(()) => console::debug(&format!("the network calls this machine {name}")),
            Err(error) => console::warn(&format!("cannot set the host name {name}: {error}")),
        }
    }
}
