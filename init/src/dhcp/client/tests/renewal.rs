//! From a lease to its end.

use super::*;

#[test]
fn renews_with_its_server_at_half_time() {
    let mut wire = Wire::bound(3600);
    let begin = wire.now;
    wire.wait();
    let waited = wire.now - begin;
    assert!(waited <= seconds(1800) && waited >= seconds(1800 - 1800 / 32), "{waited:?}");
    let request = wire.last();
    assert_eq!((request.kind(), request.from, request.to), (REQUEST, ADDRESS, Some(SERVER)));
    // Section 4.3.6: neither option 50 nor 54.
    assert_eq!((request.in_use(), request.requested(), request.server()), (ADDRESS, None, None));
    assert!(wire.client.listens());

    wire.done();
    wire.answer(&Reply::new(ACK).lease(3600));
    assert_eq!(
        wire.done(),
        ["Debug: still 10.0.2.15/24 from 10.0.2.2, no gateway, lease 3600 s"],
        "nothing is set anew"
    );
    assert!(!wire.client.listens());
    assert!(wire.client.deadline() > Some(wire.now + seconds(1700)));
}

#[test]
fn the_servers_own_times_count_if_they_are_in_order() {
    for (t1, t2, expect) in [
        (Some(10), Some(20), (10, 20)),
        (None, Some(70), (40, 70)),
        (Some(10), None, (10, 87)),
        (Some(90), Some(80), (45, 80)),
        (Some(10), Some(100), (10, 87)),
        (Some(0), Some(0), (50, 87)),
        (Some(u32::MAX), Some(u32::MAX), (50, 87)),
    ] {
        let mut wire = Wire::new();
        wire.answer(&Reply::new(OFFER));
        let mut ack = Reply::new(ACK).lease(100);
        for (code, time) in [(RENEWAL_TIME, t1), (REBINDING_TIME, t2)] {
            ack.options.extend(time.map(|time: u32| (code, time.to_be_bytes().to_vec())));
        }
        wire.answer(&ack);
        let times = wire.client.lease().unwrap().times.unwrap();
        assert_eq!((times.renew.as_secs(), times.rebind.as_secs()), expect, "{t1:?} {t2:?}");
    }
}

#[test]
fn asks_any_server_from_t2_on_and_gives_the_address_up_at_the_end() {
    let mut wire = Wire::bound(800);
    let begin = wire.now;
    wire.sent.clear();
    wire.done();
    wire.wait_until(begin + seconds(799));
    // At 400 or a little earlier, then after half of the time to 700, at least 60 s; at 700, then by the time to 800.
    let at: Vec<u64> = wire.sent.iter().map(|sent| (sent.at - begin).as_secs()).collect();
    let [renew, again, third, fourth, rebind, last] = at[..] else { panic!("{at:?}") };
    assert!((387..=400).contains(&renew) && (543..=550).contains(&again) && (621..=625).contains(&third), "{at:?}");
    assert_eq!((fourth, rebind, last), (third + 60, 700, 760));
    for sent in &wire.sent {
        let is_broadcast = sent.at >= begin + seconds(700);
        assert_eq!((sent.to.is_none(), sent.from, sent.in_use()), (is_broadcast, ADDRESS, ADDRESS));
        assert_eq!((sent.requested(), sent.server()), (None, None));
    }
    assert!(wire.done().is_empty(), "the address is good until the end");

    wire.wait();
    assert_eq!(wire.now, begin + seconds(800));
    let expect = ["remove", "Warn: lost 10.0.2.15: the lease is over and no server prolongs it"];
    assert_eq!((wire.done(), wire.address()), (expect.map(str::to_owned).to_vec(), None));
    assert_eq!((wire.last().kind(), wire.last().requested()), (DISCOVER, Some(ADDRESS)), "it would like the same");
}

#[test]
fn any_server_may_take_a_lease_over_from_t2_on() {
    let mut wire = Wire::bound(800);
    let begin = wire.now;
    let stranger = Reply { server: STRANGER, ..Reply::new(ACK).lease(800) };
    wire.wait();
    wire.answer(&stranger);
    assert!(wire.client.listens(), "before T2 it was not asked");
    wire.wait_until(begin + seconds(701));
    wire.answer(&stranger);
    assert!(!wire.client.listens());
    wire.wait();
    assert_eq!(wire.last().to, Some(STRANGER));
}

#[test]
fn a_changed_answer_is_applied() {
    let mut wire = Wire::bound(3600);
    wire.done();
    wire.wait();
    wire.answer(&Reply::new(ACK).lease(3600).with(ROUTER, &STRANGER.octets()));
    let expect = ["apply 10.0.2.15", "Info: 10.0.2.15/24 from 10.0.2.2, gateway 10.0.2.3, lease 3600 s"];
    assert_eq!(wire.done(), expect);
    wire.wait();
    wire.answer(&Reply { address: OTHER, ..Reply::new(ACK).lease(3600) });
    assert_eq!(wire.done(), ["apply 10.0.9.15", "Info: 10.0.9.15/24 from 10.0.2.2, no gateway, lease 3600 s"]);
}

#[test]
fn a_refusal_takes_the_address_away_and_starts_over() {
    let mut wire = Wire::bound(3600);
    wire.done();
    wire.wait();
    wire.answer(&Reply::new(NAK));
    assert_eq!(wire.done(), ["remove", "Warn: lost 10.0.2.15: the server refuses it"]);
    assert_eq!((wire.last().kind(), wire.last().requested(), wire.last().at), (DISCOVER, None, wire.now));
}

#[test]
fn an_answer_to_an_earlier_question_is_not_taken() {
    let mut wire = Wire::bound(800);
    wire.wait();
    let earlier = wire.last().xid();
    wire.wait();
    wire.hear(&Reply::new(NAK).bytes(earlier));
    assert_eq!(wire.address(), Some(ADDRESS));
}

#[test]
fn a_lease_for_ever_needs_nothing() {
    let mut wire = Wire::bound(u32::MAX);
    assert_eq!(wire.client.deadline(), None);
    assert!(wire.done().last().unwrap().ends_with("no gateway, for ever"));
}

#[test]
fn a_lease_without_or_with_hardly_any_time_is_still_one() {
    let mut wire = Wire::new();
    wire.answer(&Reply::new(OFFER));
    wire.answer(&Reply::new(ACK));
    assert_eq!(wire.client.lease().unwrap().times.unwrap().expire, seconds(3600));
    let wire = Wire::bound(0);
    assert_eq!(wire.client.lease().unwrap().times.unwrap().expire, seconds(10));
}

#[test]
fn the_lease_is_given_back() {
    let mut wire = Wire::bound(3600);
    let actions = wire.client.release();
    wire.take(actions);
    let release = wire.last();
    assert_eq!((release.kind(), release.from, release.to), (RELEASE, ADDRESS, Some(SERVER)));
    assert_eq!((release.in_use(), release.server(), release.requested()), (ADDRESS, Some(SERVER), None));
    assert_eq!((release.option(PARAMETER_LIST), release.option(HOST_NAME)), (None, None));
    assert_eq!((wire.client.deadline(), wire.client.release()), (None, vec![]), "once");
}
