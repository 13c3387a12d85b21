//! What hangs on the machine beside its processor, memory and serial ports: devices → QEMU's words. Pure.

use super::forward::Forward;
use camino::Utf8PathBuf;
use std::net::{IpAddr, Ipv4Addr};

/// The bits of the smallest and the largest network that QEMU's user-mode network can be.
const PREFIXES: std::ops::RangeInclusive<u8> = 4..=30;

/// Everything that a machine can do without.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Devices {
    /// A network card, on a network of QEMU's own that leads out through the host.
    pub network: Option<Network>,
    /// Disks, in order: /dev/vda, /dev/vdb and so on.
    pub volumes: Vec<Disk>,
    /// The host's entropy (virtio-rng).
    pub entropy: bool,
    /// A watchdog (Intel 6300ESB), which restarts a machine that no longer feeds it.
    pub watchdog: bool,
}

/// The network that the card is on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Ports of the host that lead into the machine.
    pub forwards: Vec<Forward>,
    /// The addresses that a machine without DHCP has; without them QEMU's own, 10.0.2.0/24.
    pub addresses: Option<Addresses>,
}

/// The addresses that a machine gives itself; QEMU's side has to fit them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The machine's own.
    pub machine: Ipv4Addr,
    /// The subnet's length in bits.
    pub prefix: u8,
    /// Who the machine takes for its way out.
    pub gateway: Option<Ipv4Addr>,
    /// Who the machine asks for names.
    pub dns: Vec<IpAddr>,
}

/// A disk: a file of the host that the machine sees bit for bit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The file, or a block device of the host.
    pub file: Utf8PathBuf,
    /// Whether it is a block device.
    pub is_device: bool,
    /// The disk's serial number, by which the machine finds it in /dev/disk/by-id.
    pub serial: String,
    /// Whether the machine cannot write to it.
    pub read_only: bool,
}

impl Devices {
    /// QEMU's words for all of them.
    pub fn words(&self) -> Vec<String> {
        let mut words = self.network.as_ref().map(Network::words).unwrap_or_default();
        words.extend(self.volumes.iter().enumerate().flat_map(|(index, disk)| disk.words(index)));
        if self.entropy {
            words.extend(["-device", "virtio-rng-pci"].map(str::to_owned));
        }
        if self.watchdog {
            // A reset is what the hardware would do. QEMU tells over its monitor that the watchdog was the cause.
            words.extend(["-device", "i6300esb", "-action", "watchdog=reset"].map(str::to_owned));
        }
        words
    }
}

impl Network {
    /// The card needs no boot ROM: without the file a host's QEMU packages may differ.
    fn words(&self) -> Vec<String> {
        let mut user = "user,id=net0".to_owned();
        if let Some(addresses) = &self.addresses {
            user.push_str(&addresses.words());
        }
        for forward in &self.forwards {
            user.push_str(&format!(",hostfwd={}", forward.rule()));
        }
        ["-netdev", &user, "-device", "virtio-net-pci,netdev=net0,romfile="].map(str::to_owned).to_vec()
    }
}

impl Addresses {
    /// QEMU hands forwarded ports to the first address that its DHCP server would give.
    fn words(&self) -> String {
        let Some((network, mask)) = self.network() else {
            return String::new();
        };
        let is_inside = |address: &Ipv4Addr| address.to_bits() & mask == network;
        let free = |taken: &[Ipv4Addr]| {
            let mut others = (network + 1..network | !mask).map(Ipv4Addr::from_bits);
            others.find(|address| *address != self.machine && !taken.contains(address))
        };
        let wanted = self.gateway.filter(is_inside).filter(|gateway| *gateway != self.machine);
        let Some(gateway) = wanted.or_else(|| free(&[])) else {
            return String::new();
        };
        let asked = self.dns.iter().find_map(|dns| match dns {
            IpAddr::V4(dns) => Some(*dns).filter(|dns| is_inside(dns) && ![gateway, self.machine].contains(dns)),
            IpAddr::V6(_) => None,
        });
        let dns = asked.or_else(|| free(&[gateway])).map(|dns| format!(",dns={dns}")).unwrap_or_default();
        let network = Ipv4Addr::from_bits(network);
        format!(",net={network}/{},host={gateway}{dns},dhcpstart={}", self.prefix, self.machine)
    }

    /// The network's address and mask, if QEMU can be that network.
    fn network(&self) -> Option<(u32, u32)> {
        PREFIXES.contains(&self.prefix).then(|| {
            let mask = u32::MAX << (32 - self.prefix);
            (self.machine.to_bits() & mask, mask)
        })
    }
}

impl Disk {
    fn words(&self, index: usize) -> Vec<String> {
        let driver = if self.is_device { "host_device" } else { "file" };
        let read_only = if self.read_only { ",read-only=on" } else { "" };
        // In this option a comma is written twice.
        let file = self.file.as_str().replace(',', ",,");
        let drive = format!("driver=raw,node-name=volume{index}{read_only},file.driver={driver},file.filename={file}");
        let device = format!("virtio-blk-pci,drive=volume{index},serial={}", self.serial);
        vec!["-blockdev".to_owned(), drive, "-device".to_owned(), device]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(devices: &Devices, expect: &str) {
        assert_eq!(devices.words().join(" "), expect);
    }

    fn check_addresses(machine: &str, prefix: u8, gateway: Option<&str>, dns: &[&str], expect: &str) {
        let addresses = Addresses {
            machine: machine.parse().expect("an address"),
            prefix,
            gateway: gateway.map(|gateway| gateway.parse().expect("an address")),
            dns: dns.iter().map(|dns| dns.parse().expect("an address")).collect(),
        };
        assert_eq!(addresses.words(), expect);
    }

    #[test]
    fn no_device_no_words() {
        check(&Devices::default(), "");
    }

    #[test]
    fn every_device_in_its_order() {
        let disk = |file: &str, read_only| Disk {
            file: file.into(),
            is_device: file.starts_with("/dev"),
            serial: "data".to_owned(),
            read_only,
        };
        let forwards = ["8080:80", "0.0.0.0:53:5353/udp"].map(|text| text.parse().expect("a forward")).to_vec();
        let devices = Devices {
            network: Some(Network { forwards, addresses: None }),
            volumes: vec![disk("/a,b", false), disk("/dev/sdx", true)],
            entropy: true,
            watchdog: true,
        };
        check(
            &devices,
            "-netdev user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=udp:0.0.0.0:53-:5353 \
             -device virtio-net-pci,netdev=net0,romfile= \
             -blockdev driver=raw,node-name=volume0,file.driver=file,file.filename=/a,,b \
             -device virtio-blk-pci,drive=volume0,serial=data \
             -blockdev driver=raw,node-name=volume1,read-only=on,file.driver=host_device,file.filename=/dev/sdx \
             -device virtio-blk-pci,drive=volume1,serial=data \
             -device virtio-rng-pci -device i6300esb -action watchdog=reset",
        );
    }

    #[test]
    fn the_network_fits_a_machine_with_an_address_of_its_own() {
        check_addresses(
            "10.1.2.7",
            24,
            Some("10.1.2.1"),
            &["9.9.9.9"],
            ",net=10.1.2.0/24,host=10.1.2.1,dns=10.1.2.2,dhcpstart=10.1.2.7",
        );
        check_addresses(
            "10.1.2.1",
            16,
            Some("10.9.0.1"),
            &["::1", "10.1.0.53"],
            ",net=10.1.0.0/16,host=10.1.0.1,dns=10.1.0.53,dhcpstart=10.1.2.1",
        );
        check_addresses("10.1.2.1", 30, None, &[], ",net=10.1.2.0/30,host=10.1.2.2,dhcpstart=10.1.2.1");
        check_addresses("10.1.2.1", 32, None, &[], "");
    }
}
