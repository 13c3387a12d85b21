//! Packet sockets (packet(7)), by which a machine without an address speaks DHCP. Part of `sys`, the only `unsafe` of
//! init: rustix has neither their addresses nor socket filters. Each function here is safe to call.

use std::ffi::c_int;
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;

const IPV4: u16 = 0x0800;
const EVERYBODY: [u8; 6] = [0xff; 6];

/// `BPF_LD+BPF_B+BPF_ABS` and so on, as in linux/bpf_common.h.
const LOAD_BYTE: u16 = 0x30;
const LOAD_SHORT: u16 = 0x28;
const LOAD_HEADER_LENGTH: u16 = 0xb1;
const LOAD_SHORT_AFTER_HEADER: u16 = 0x48;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Lets through whole UDP packets to port 68, and no others: what else comes costs init nothing.
const ONLY_DHCP: [libc::sock_filter; 9] = [
    filter(LOAD_BYTE, 0, 0, 9),
    filter(JUMP_IF_EQUAL, 0, 6, 17),
    filter(LOAD_SHORT, 0, 0, 6),
    filter(JUMP_IF_ANY_BIT, 4, 0, 0x3fff),
    filter(LOAD_HEADER_LENGTH, 0, 0, 0),
    filter(LOAD_SHORT_AFTER_HEADER, 0, 0, 2),
    filter(JUMP_IF_EQUAL, 0, 1, 68),
    filter(RETURN, 0, 0, u32::MAX),
    filter(RETURN, 0, 0, 0),
];

const fn filter(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// A packet that came, and whether the checksum of its content is there to be looked at.
pub struct Received {
    /// How many bytes it has.
    pub length: usize,
    /// False for a packet from this host, whose checksum no card has filled in.
    pub is_checked: bool,
}

/// A socket that receives what DHCP servers send to the card number `index`: IPv4 packets, without Ethernet's header.
pub fn open(index: u32) -> Result<OwnedFd, Errno> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // Protocol 0 receives nothing before the filter is in place.
    // SAFETY: no memory is involved.
    let number = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    if number < 0 {
        return Err(last_error());
    }
    // SAFETY: the kernel has just opened it, and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    let program = libc::sock_fprog {
        len: u16::try_from(ONLY_DHCP.len()).unwrap_or(0),
        // The kernel only reads it.
        filter: ONLY_DHCP.as_ptr().cast_mut(),
    };
    set_option(&socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
    let yes: c_int = 1;
    set_option(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, &yes)?;
    let address = address(index);
    // SAFETY: the pointer is to a live address of the length given.
    let outcome = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length_of(&address)) };
    if outcome == 0 { Ok(socket) } else { Err(last_error()) }
}

/// Sends an IPv4 packet to every host on the wire of the card number `index`.
pub fn broadcast(socket: BorrowedFd<'_>, index: u32, packet: &[u8]) -> Result<(), Errno> {
    let address = address(index);
    let (data, length) = (packet.as_ptr().cast(), packet.len());
    let to = (&raw const address).cast();
    // SAFETY: both pointers are to live memory of the lengths given.
    let sent = unsafe { libc::sendto(socket.as_raw_fd(), data, length, 0, to, length_of(&address)) };
    if sent < 0 { Err(last_error()) } else { Ok(()) }
}

/// Takes one packet into `buffer`. What is longer is cut.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Received, Errno> {
    // The kernel says more of a packet in control messages; eight-byte words are aligned for their headers.
    let mut control = [0_u64; 16];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a message header of zeros is valid: it points nowhere.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = mem::size_of_val(&control) as _;
    // SAFETY: all that the header points to is alive and of the length it says.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let length = usize::try_from(received).map_err(|_| last_error())?;
    Ok(Received { length: length.min(buffer.len()), is_checked: is_checked(&message) })
}

/// Whether the kernel does not say that the checksum is missing.
fn is_checked(message: &libc::msghdr) -> bool {
    // SAFETY: the kernel has filled in the header and its control buffer, which is alive.
    let header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: CMSG_FIRSTHDR gives null or a whole header inside of the buffer.
    let Some(first) = (unsafe { header.as_ref() }) else { return true };
    let auxdata_length = u32::try_from(mem::size_of::<libc::tpacket_auxdata>()).unwrap_or(0);
    // SAFETY: only computes a length.
    let length = unsafe { libc::CMSG_LEN(auxdata_length) };
    if (first.cmsg_level, first.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) || first.cmsg_len < length as _ {
        return true;
    }
    // SAFETY: the message is long enough for this type, whose every bit pattern is valid.
    let auxdata = unsafe { ptr::read_unaligned(libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>()) };
    auxdata.tp_status & libc::TP_STATUS_CSUMNOTREADY == 0
}

fn address(index: u32) -> libc::sockaddr_ll {
    // SAFETY: zeros are valid for each of its fields, which are all numbers.
    let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or(0);
    address.sll_protocol = IPV4.to_be();
    address.sll_ifindex = index.cast_signed();
    address.sll_halen = 6;
    for (to, from) in address.sll_addr.iter_mut().zip(EVERYBODY) {
        *to = from;
    }
    address
}

fn set_option<T>(socket: &OwnedFd, level: c_int, name: c_int, value: &T) -> Result<(), Errno> {
    let pointer = ptr::from_ref(value).cast();
    // SAFETY: the pointer is to a live value of the length given.
    let outcome = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, pointer, length_of(value)) };
    if outcome == 0 { Ok(()) } else { Err(last_error()) }
}

fn length_of<T>(value: &T) -> libc::socklen_t {
    libc::socklen_t::try_from(mem::size_of_val(value)).unwrap_or(0)
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
