//! Who on this host has a port or a file. /proc tells a user of their own processes, and root of all; where it tells
//! nothing, nobody is named.

use super::forward::Protocol;
use std::fmt;
use std::fs::{Metadata, read_dir, read_to_string};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A process of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    id: u32,
    name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (process {})", self.name, self.id)
    }
}

/// Finds who listens on a port, at whatever address.
pub fn of_port(protocol: Protocol, port: u16) -> Option<Holder> {
    let sockets: Vec<String> = tables(protocol)
        .iter()
        .filter_map(|table| read_to_string(table).ok())
        .flat_map(|text| inodes(&text, protocol, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    find(|file| file.read_link().is_ok_and(|link| link.to_str().is_some_and(|link| sockets.iter().any(|s| s == link))))
}

/// Finds another process that has this file open.
pub fn of_file(file: &Metadata) -> Option<Holder> {
    let is_same = |other: Metadata| (other.dev(), other.ino()) == (file.dev(), file.ino());
    let ours = format!("/proc/{}/", std::process::id());
    find(|open| !open.starts_with(&ours) && open.metadata().is_ok_and(is_same))
}

fn tables(protocol: Protocol) -> [&'static str; 2] {
    match protocol {
        Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
    }
}

/// The inodes of the sockets that listen on a port, in a table of /proc/net (proc(5)).
fn inodes(table: &str, protocol: Protocol, port: u16) -> Vec<String> {
    // TCP_LISTEN; a UDP socket that is bound and not connected is in TCP_CLOSE (include/net/tcp_states.h).
    let state = match protocol {
        Protocol::Tcp => "0A",
        Protocol::Udp => "07",
    };
    let address_end = format!(":{port:04X}");
    let fields = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = fields.filter(|fields| {
        fields.get(1).is_some_and(|address| address.ends_with(&address_end)) && fields.get(3) == Some(&state)
    });
    ours.filter_map(|fields| fields.get(9).map(|inode| (*inode).to_owned())).collect()
}

/// The first process with an open file for which this holds.
fn find(is_it: impl Fn(&Path) -> bool) -> Option<Holder> {
    let processes =
        read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.parse().ok());
    let has_it = |id: &u32| {
        let files = read_dir(format!("/proc/{id}/fd"));
        files.is_ok_and(|mut files| files.any(|file| file.is_ok_and(|file| is_it(&file.path()))))
    };
    let id: u32 = { processes }.find(has_it)?;
    let name = read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    Some(Holder { id, name: name.trim_end().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4343 1 0000 20 4 30 10 -1
   2: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 4444 2 0000 0
";

    fn check(protocol: Protocol, port: u16, expect: &[&str]) {
        assert_eq!(inodes(TABLE, protocol, port), expect);
    }

    #[test]
    fn only_those_who_listen_count() {
        check(Protocol::Tcp, 8080, &["4242"]);
        check(Protocol::Udp, 53, &["4444"]);
        check(Protocol::Tcp, 53, &[]);
        check(Protocol::Tcp, 80, &[]);
    }

    #[test]
    fn a_file_that_only_we_have_has_no_other_holder() {
        let file = tempfile::tempfile().expect("a temporary file");
        assert_eq!(of_file(&file.metadata().expect("it is open")), None);
    }
}
