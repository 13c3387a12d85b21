//! DHCP on real wires: QEMU's own server, one that the test plays, and dnsmasq.

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use crate::machine::{Machine, Running, Stream, misbehaving, start};
use crate::support::Ran;
use crate::wire::{ACK, DISCOVER, NAK, OFFER, REQUEST, Wire};

const DHCP: &str = "[network]\ndhcp = true";

/// Boots a machine whose network card hangs on something else than QEMU's own network; `run` is put before the command.
fn start_on(netdev: &str, run: &str, machine: Machine) -> Running {
    let machine = machine.flag("--dry-run");
    let shown = Ran::new(machine.command().output().unwrap()).expect(0).stdout;
    let own = shown.split_whitespace().find(|word| word.starts_with("user,id=net0")).expect("QEMU's own network");
    let script = format!("exec {run} {}", shown.trim().replace(own, netdev));
    start(machine.checkout, Command::new("sh").args(["-c", &script]))
}

fn bind(wire: &Wire, address: Ipv4Addr) {
    wire.answer(&wire.expect(DISCOVER), OFFER, address);
    let request = wire.expect(REQUEST);
    assert_eq!(request.requested, Some(address));
    wire.answer(&request, ACK, address);
}

#[test]
fn a_program_can_wait_for_the_address_of_qemus_own_server() {
    let machine = misbehaving("talk 1 0").program("start = \"network\"").table(DHCP);
    machine.boot().expect(0).shows(&["pid1: eth0: 10.0.2.15/24 from 10.0.2.2, gateway 10.0.2.2, lease ", "it: line 1"]);
}

#[test]
fn a_lease_is_renewed_rebound_refused_changed_and_lost() {
    let (first, second) = (Ipv4Addr::new(10, 9, 0, 2), Ipv4Addr::new(10, 9, 0, 7));
    let (wire, netdev) = Wire::new();
    let mut machine = start_on(&netdev, "", misbehaving("forever").table(DHCP));
    bind(&wire, first);
    machine.wait_for("pid1: eth0: 10.9.0.2/24 from 10.9.0.1, no gateway, lease 10 s");
    // At T1 its own server is asked, and any at T2 if that one is silent, as it is the second time.
    for (is_broadcast, is_answered) in [(false, true), (false, false), (true, true)] {
        let request = wire.expect(REQUEST);
        assert_eq!((request.in_use, request.requested, request.is_broadcast), (first, None, is_broadcast));
        if is_answered {
            wire.answer(&request, ACK, first);
        }
    }
    wire.answer(&wire.expect(REQUEST), NAK, first);
    machine.wait_for("pid1: eth0: lost 10.9.0.2: the server says: not here");
    bind(&wire, second);
    machine.wait_for("pid1: eth0: 10.9.0.7/24 from 10.9.0.1");
    // The server is gone: nobody answers, neither at T1 nor at T2.
    wire.expect(REQUEST);
    wire.expect(REQUEST);
    machine.wait_for("pid1: eth0: lost 10.9.0.7: the lease is over and no server prolongs it");
    // It is back.
    bind(&wire, second);
    machine.wait_for("pid1: eth0: 10.9.0.7/24 from 10.9.0.1");
}

/// A network of its own, with a tap for a machine. It lives as long as its first process.
struct Namespace {
    first: Child,
    _stdout: Stream,
    enter: String,
}

impl Namespace {
    fn new() -> Self {
        // root needs no user namespace for a network, and some hosts forbid those.
        let is_root = rustix::process::geteuid().is_root();
        let (user, enter) =
            if is_root { ("", "") } else { ("--user --map-root-user", "--user --preserve-credentials") };
        let script = format!(
            "exec unshare {user} --net sh -c 'ip tuntap add tap0 mode tap && ip address add 10.9.1.1/24 dev tap0 && \
             ip link set tap0 up && echo ready && exec cat'"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut first = with_system_folders(&mut command).spawn().unwrap();
        let mut stdout = Stream::new(first.stdout.take().unwrap());
        stdout.wait_for("ready").expect("a network namespace with a tap (/dev/net/tun)");
        let enter = format!("nsenter --target {} --net {enter}", first.id());
        Self { first, _stdout: stdout, enter }
    }

    /// A DHCP server with this one address to give, for the shortest time that dnsmasq gives any: 120 s.
    fn dnsmasq(&self, address: &str) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let leases = folder.path().join("leases");
        let script = format!(
            "exec {} dnsmasq --conf-file=/dev/null --keep-in-foreground --log-facility=- --user=root --pid-file= --port=0 \
             --interface=tap0 --bind-interfaces --dhcp-authoritative --dhcp-leasefile='{}' --no-ping \
             --dhcp-range={address},{address},255.255.255.0,2m --dhcp-option=option:T1,4 --dhcp-option=option:T2,8",
            self.enter,
            leases.display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut process = with_system_folders(&mut command).spawn().unwrap();
        let log = Stream::new(process.stderr.take().unwrap());
        Server { process, log, _folder: folder }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.first.stdin.take());
        let _ = self.first.wait();
    }
}

/// Where Debian has dnsmasq and ip.
fn with_system_folders(command: &mut Command) -> &mut Command {
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap()))
}

/// A running dnsmasq; dropped, it is gone.
struct Server {
    process: Child,
    log: Stream,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn dnsmasq_renews_refuses_changes_and_loses_a_lease() {
    let network = Namespace::new();
    let mut server = network.dnsmasq("10.9.1.10");
    let tap = "tap,id=net0,ifname=tap0,script=no,downscript=no";
    let mut machine = start_on(tap, &network.enter, misbehaving("forever").table(DHCP));
    machine.wait_for("pid1: eth0: 10.9.1.10/24 from 10.9.1.1, gateway 10.9.1.1, lease 120 s");
    // The first time it is given, the second time renewed.
    for _ in 0..2 {
        server.log.wait_for("DHCPACK(tap0) 10.9.1.10").expect("a lease");
    }
    drop(server);
    // The server comes back with other addresses to give.
    let server = network.dnsmasq("10.9.1.20");
    machine.wait_for("pid1: eth0: lost 10.9.1.10: the server says: ");
    machine.wait_for("pid1: eth0: 10.9.1.20/24 from 10.9.1.1");
    drop(server);
    machine.wait_for("pid1: eth0: lost 10.9.1.20: the lease is over and no server prolongs it");
    let _server = network.dnsmasq("10.9.1.30");
    machine.wait_for("pid1: eth0: 10.9.1.30/24 from 10.9.1.1");
}
