//! Links that go and come back.

use super::*;

#[test]
fn a_lease_outlives_a_loose_cable() {
    let mut wire = Wire::bound(3600);
    wire.done();
    wire.down();
    assert!(!wire.client.listens());
    wire.wait_until(wire.now + seconds(60));
    assert_eq!((wire.address(), wire.sent.len()), (Some(ADDRESS), 2));

    wire.up();
    let request = wire.last();
    // Section 4.3.2: INIT-REBOOT names the address, but no server, and does not use it.
    assert_eq!((request.kind(), request.to, request.from), (REQUEST, None, Ipv4Addr::UNSPECIFIED));
    assert_eq!((request.requested(), request.server(), request.in_use()), (Some(ADDRESS), None, Ipv4Addr::UNSPECIFIED));
    assert!(wire.done().is_empty(), "the address stays");
    wire.answer(&Reply { server: STRANGER, ..Reply::new(ACK).lease(3600) });
    // Any server may answer, and routes that went with the link are set anew.
    let expect = ["apply 10.0.2.15", "Debug: still 10.0.2.15/24 from 10.0.2.3, no gateway, lease 3600 s"];
    assert_eq!(wire.done(), expect);
}

#[test]
fn in_another_network_the_old_address_goes_at_once() {
    let mut wire = Wire::bound(3600);
    wire.done();
    wire.down();
    wire.up();
    wire.answer(&Reply { server: STRANGER, ..Reply::new(NAK) });
    assert_eq!(wire.done(), ["remove", "Warn: lost 10.0.2.15: the server refuses it"]);
    assert_eq!((wire.last().kind(), wire.last().at), (DISCOVER, wire.now));
}

#[test]
fn where_nobody_answers_the_address_stays_while_a_server_is_looked_for() {
    let mut wire = Wire::bound(3600);
    let begin = wire.now;
    wire.done();
    wire.down();
    wire.up();
    wire.sent.clear();
    wire.up();
    assert_eq!(wire.sent, [], "up is no news");
    wire.wait_until(begin + seconds(20));
    let kinds: Vec<u8> = wire.sent.iter().map(Sent::kind).collect();
    assert!(matches!(kinds[..], [REQUEST, DISCOVER, ..]), "{kinds:?}");
    assert_eq!((wire.address(), wire.done()), (Some(ADDRESS), vec![]));

    wire.answer(&Reply { address: OTHER, ..Reply::new(OFFER) });
    wire.answer(&Reply { address: OTHER, ..Reply::new(NAK) });
    assert_eq!(wire.address(), Some(ADDRESS), "another address was refused");
    wire.answer(&Reply { address: OTHER, ..Reply::new(OFFER) });
    wire.answer(&Reply { address: OTHER, ..Reply::new(ACK) });
    assert_eq!(wire.done().iter().rev().nth(1).map(String::as_str), Some("apply 10.0.9.15"));
}

#[test]
fn the_end_of_a_lease_comes_with_or_without_a_link_and_server() {
    let mut wire = Wire::bound(600);
    let end = wire.now + seconds(600);
    wire.down();
    wire.up();
    wire.wait_until(end - seconds(1));
    assert_eq!(wire.address(), Some(ADDRESS));
    wire.wait_until(end);
    assert_eq!((wire.address(), wire.last().kind()), (None, DISCOVER));

    let mut wire = Wire::bound(600);
    wire.down();
    let n_sent = wire.sent.len();
    wire.wait_until(wire.now + seconds(600));
    assert_eq!((wire.address(), wire.sent.len()), (None, n_sent));
    wire.up();
    assert_eq!(wire.last().kind(), DISCOVER);
}

#[test]
fn a_lease_that_ended_unseen_is_not_verified() {
    let mut wire = Wire::bound(600);
    wire.done();
    wire.down();
    wire.now += seconds(601);
    wire.up();
    assert_eq!(wire.done()[0], "remove");
    assert_eq!(wire.last().kind(), DISCOVER);
}
