//! Whatever is on the wire or comes from the kernel can be read, and makes no settings that could not be written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pid1_init::dhcp::message::Answer;
use pid1_init::dhcp::{Lease, frame};
use pid1_init::netlink;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    match choice % 3 {
        0 => drop(netlink::parse(bytes)),
        1 => read(frame::message_in(bytes, choice & 128 != 0).unwrap_or_default()),
        // Most of what is tried has no good header. So it gets one, to try the options.
        _ => read(&with_header(bytes)),
    }
});

fn with_header(bytes: &[u8]) -> Vec<u8> {
    let mut message = bytes.to_vec();
    message.resize(message.len().max(240), 0);
    message[..3].copy_from_slice(&[2, 1, 6]);
    message[236..240].copy_from_slice(&[99, 130, 83, 99]);
    message.splice(240..240, [53, 1, 5, 54, 4, 10, 0, 2, 2]);
    message
}

fn read(message: &[u8]) {
    let Some(lease) = Answer::parse(message).as_ref().and_then(Lease::of) else { return };
    let settings = &lease.settings;
    assert!(settings.prefix <= 32 && settings.routes.iter().all(|route| route.prefix <= 32));
    if let Some(times) = lease.times {
        assert!(times.renew < times.rebind && times.rebind < times.expire);
    }
    let text = settings.resolv_conf().unwrap_or_default();
    assert!(text.lines().all(|line| line.starts_with("search ") || line.starts_with("nameserver ")));
    assert!(settings.hostname.as_ref().is_none_or(|name| name.len() <= 64 && !name.contains(char::is_whitespace)));
    assert!(!lease.to_string().is_empty());
    netlink::add_address(1, settings);
    for route in &settings.routes {
        netlink::add_route(1, route, settings.address);
    }
}
