//! What holds whatever comes.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Up,
    Down,
    Tick(u64),
    Due,
    /// An answer to the last question, true to it or not.
    Answer {
        kind: u8,
        lease: u32,
        last: u8,
        server: u8,
        is_ours: bool,
    },
    Bytes(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let answer = (0..8_u8, prop::sample::select(vec![0, 1, 10, 90, 4000, u32::MAX]), 1..4_u8, 1..3_u8, any::<bool>());
    prop_oneof![
        Just(Step::Up),
        Just(Step::Down),
        (0..200_000_u64).prop_map(Step::Tick),
        Just(Step::Due),
        Just(Step::Due),
        answer.clone().prop_map(|(kind, lease, last, server, is_ours)| Step::Answer {
            kind,
            lease,
            last,
            server,
            is_ours
        }),
        answer.prop_map(|(_, lease, last, server, _)| {
            let kind = if lease % 4 == 0 { ACK } else { OFFER };
            Step::Answer { kind, lease, last, server, is_ours: true }
        }),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Step::Bytes),
    ]
}

fn apply(wire: &mut Wire, step: Step) {
    match step {
        Step::Up => wire.up(),
        Step::Down => wire.down(),
        Step::Tick(milliseconds) => {
            wire.now += Duration::from_millis(milliseconds);
            let actions = wire.client.tick(wire.now);
            wire.take(actions);
        }
        Step::Due if wire.client.deadline().is_some() => wire.wait(),
        Step::Due => {}
        Step::Answer { kind, lease, last, server, is_ours } => {
            let (address, server) = (Ipv4Addr::new(10, 0, 2, last), Ipv4Addr::new(10, 0, 1, server));
            let reply = Reply { address, server, ..Reply::new(kind) }.lease(lease);
            let mut xid = wire.last().xid();
            xid[0] ^= u8::from(!is_ours);
            wire.hear(&reply.bytes(xid));
        }
        Step::Bytes(bytes) => wire.hear(&bytes),
    }
}

proptest! {
    #[test]
    fn the_card_is_set_as_the_lease_says_and_time_goes_on(steps in prop::collection::vec(step(), 0..60), seed: u64) {
        let mut wire = Wire::seeded(seed);
        let mut set = None;
        for step in steps {
            apply(&mut wire, step);
            let actions = wire.client.tick(wire.now);
            wire.take(actions);
            prop_assert!(wire.client.deadline().is_none_or(|due| due > wire.now), "it would spin");
            for action in wire.done.drain(..) {
                match action {
                    Action::Apply(settings) => set = Some(settings),
                    Action::Remove => prop_assert!(set.take().is_some(), "nothing was there to be removed"),
                    _ => {}
                }
            }
            prop_assert_eq!(set.as_ref(), wire.client.lease().map(|lease| &lease.settings));
        }
    }

    #[test]
    fn foreign_answers_are_as_good_as_none(steps in prop::collection::vec(step(), 0..40), foreign in any::<[u8; 4]>()) {
        let mut wire = Wire::new();
        for step in steps {
            apply(&mut wire, step);
            let (before, n_sent) = (format!("{:?}", wire.client), wire.sent.len());
            for kind in [OFFER, ACK, NAK] {
                if foreign != wire.last().xid() {
                    wire.hear(&Reply::new(kind).bytes(foreign));
                }
                let mut other_card = Reply::new(kind).bytes(wire.last().xid());
                other_card[33] ^= 1;
                wire.hear(&other_card);
            }
            prop_assert_eq!(format!("{:?}", wire.client), before);
            prop_assert_eq!(wire.sent.len(), n_sent);
        }
    }
}
