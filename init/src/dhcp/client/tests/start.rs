//! From nothing to a lease.

use super::*;

/// That each gap is near what is expected, a second more or less.
#[track_caller]
fn check_gaps(gaps: &[f64], expect: &[f64]) {
    assert_eq!(gaps.len(), expect.len(), "{gaps:?}");
    assert!(gaps.iter().zip(expect).all(|(gap, expect)| (gap - expect).abs() <= 1.0), "{gaps:?}");
}

#[test]
fn discovers_at_once_when_the_link_is_up() {
    let mut client = Client::new(MAC, None, 1);
    assert_eq!((client.deadline(), client.listens()), (None, false), "without a link there is nothing to do");
    assert_eq!(client.link_up(seconds(5)).len(), 1);
    assert!(client.listens());
}

#[test]
fn a_lease_takes_four_messages() {
    let mut wire = Wire::new();
    let discover = wire.last();
    assert_eq!((discover.kind(), discover.from, discover.to), (DISCOVER, Ipv4Addr::UNSPECIFIED, None));
    assert_eq!((discover.requested(), discover.server(), discover.in_use()), (None, None, Ipv4Addr::UNSPECIFIED));
    assert_eq!(discover.option(HOST_NAME).as_deref(), Some(&b"box"[..]));
    assert_eq!(discover.option(PARAMETER_LIST), Some(vec![1, 121, 3, 6, 12, 15, 119, 26, 58, 59]));
    wire.answer(&Reply::new(OFFER));

    let request = wire.last();
    assert_eq!((request.kind(), request.from, request.to), (REQUEST, Ipv4Addr::UNSPECIFIED, None));
    assert_eq!((request.requested(), request.server()), (Some(ADDRESS), Some(SERVER)));
    assert_eq!((request.xid(), request.in_use()), (discover.xid(), Ipv4Addr::UNSPECIFIED));
    assert!(wire.done().is_empty(), "an offer is no lease");
    wire.answer(&Reply::new(ACK).lease(86400).with(ROUTER, &SERVER.octets()));

    let expect = ["apply 10.0.2.15", "Info: 10.0.2.15/24 from 10.0.2.2, gateway 10.0.2.2, lease 86400 s"];
    assert_eq!(wire.done(), expect);
    assert!(!wire.client.listens(), "a bound client does not care what is on the wire");
    assert_eq!(wire.sent.len(), 2);
}

#[test]
fn a_message_is_long_enough_for_every_relay() {
    let wire = Wire::new();
    assert_eq!(wire.last().bytes.len(), 300);
}

#[test]
fn discover_is_sent_again_after_4_8_16_32_and_then_64_seconds() {
    for seed in 0..50 {
        let mut wire = Wire::seeded(seed);
        (0..7).for_each(|_| wire.wait());
        check_gaps(&wire.gaps(), &[4.0, 8.0, 16.0, 32.0, 64.0, 64.0, 64.0]);
        assert!(wire.sent.iter().all(|sent| sent.kind() == DISCOVER && sent.xid() == wire.last().xid()));
        assert_eq!(wire.done(), ["Warn: no DHCP server answers; it goes on trying"], "said once");
    }
}

#[test]
fn machines_that_start_together_drift_apart() {
    let gaps: Vec<u64> = (0..9)
        .map(|seed| {
            let mut wire = Wire::seeded(seed);
            wire.wait();
            (wire.gaps()[0] * 1000.0) as u64
        })
        .collect();
    assert!(gaps.iter().any(|gap| *gap < 4000) && gaps.iter().any(|gap| *gap > 4000), "{gaps:?}");
}

#[test]
fn how_long_it_takes_is_told() {
    let mut wire = Wire::new();
    wire.wait();
    let took = u16::from_be_bytes([wire.last().bytes[8], wire.last().bytes[9]]);
    assert!((3..=5).contains(&took));
    wire.now += seconds(2);
    wire.answer(&Reply::new(OFFER));
    let [.., discover, request] = wire.sent.as_slice() else { panic!() };
    assert_eq!(discover.bytes[8..10], request.bytes[8..10], "RFC 2131 section 3.1: the same as in the DISCOVER");
}

#[test]
fn an_offer_that_is_not_kept_is_asked_for_a_minute() {
    let mut wire = Wire::new();
    wire.answer(&Reply::new(OFFER));
    wire.sent.remove(0);
    (0..4).for_each(|_| wire.wait());
    check_gaps(&wire.gaps(), &[4.0, 8.0, 16.0, 32.0]);
    let kinds: Vec<u8> = wire.sent.iter().map(Sent::kind).collect();
    assert_eq!(kinds, [REQUEST, REQUEST, REQUEST, REQUEST, DISCOVER]);
    assert_ne!(wire.sent[4].xid(), wire.sent[3].xid());
}

#[test]
fn only_the_chosen_server_is_heard() {
    let mut wire = Wire::new();
    wire.answer(&Reply::new(OFFER));
    for kind in [ACK, NAK, OFFER] {
        wire.answer(&Reply { server: STRANGER, ..Reply::new(kind) });
    }
    assert_eq!((wire.done(), wire.address(), wire.sent.len()), (vec![], None, 2));
}

#[test]
fn a_foreign_answer_changes_nothing() {
    let mut wire = Wire::new();
    let good = Reply::new(OFFER).bytes(wire.last().xid());
    // The operation, hardware type and length, transaction, card and cookie.
    for at in [0, 1, 2, 4, 5, 6, 7, 28, 33, 236, 239] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        wire.hear(&bad);
        assert_eq!((wire.sent.len(), wire.done()), (1, vec![]), "byte {at}");
    }
    wire.hear(&good);
    assert_eq!(wire.sent.len(), 2);
}

#[test]
fn an_offer_without_server_or_usable_address_is_left_alone() {
    let mut wire = Wire::new();
    for [a, b, c, d] in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255], [0, 1, 2, 3]] {
        wire.answer(&Reply { address: Ipv4Addr::new(a, b, c, d), ..Reply::new(OFFER) });
    }
    wire.answer(&Reply { server: Ipv4Addr::UNSPECIFIED, ..Reply::new(OFFER) });
    assert_eq!(wire.sent.len(), 1);
}

#[test]
fn a_refusal_starts_over_at_once_but_not_again_and_again() {
    let mut wire = Wire::new();
    let begin = wire.now;
    for _ in 0..5 {
        wire.answer(&Reply::new(OFFER));
        wire.answer(&Reply::new(NAK).with(MESSAGE, b"not\n for you"));
        if wire.last().kind() != DISCOVER {
            assert!(!wire.client.listens());
            wire.wait();
        }
    }
    assert_eq!(wire.done()[0], "Warn: no address: the server says: not for you");
    assert_eq!(wire.sent.len(), 11);
    assert!(wire.now - begin > seconds(4 + 8 + 16 + 32 - 4), "{:?}", wire.now - begin);
}

#[test]
fn a_lease_counts_from_the_request() {
    let mut wire = Wire::new();
    wire.answer(&Reply::new(OFFER));
    let asked = wire.now;
    wire.now += seconds(3);
    wire.answer(&Reply::new(ACK).lease(100));
    wire.down();
    assert_eq!(wire.client.deadline(), Some(asked + seconds(100)));
}
