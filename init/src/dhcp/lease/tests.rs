//! What servers say, and what is made of it.

use proptest::prelude::*;

use super::super::message::Answer;
use super::super::message::option::*;
use super::*;

/// The bytes of an ACK with these options, which may be put into its other fields.
fn bytes(options: &[u8], file: &[u8], server_name: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 240];
    bytes[..3].copy_from_slice(&[2, 1, 6]);
    bytes[16..20].copy_from_slice(&[10, 0, 2, 15]);
    bytes[44..44 + server_name.len()].copy_from_slice(server_name);
    bytes[108..108 + file.len()].copy_from_slice(file);
    bytes[236..].copy_from_slice(&[99, 130, 83, 99]);
    bytes.extend([MESSAGE_TYPE, 1, 5, SERVER, 4, 10, 0, 2, 2]);
    bytes.extend(options);
    bytes
}

fn lease(options: &[u8]) -> Lease {
    Lease::of(&Answer::parse(&bytes(options, &[], &[])).unwrap()).unwrap()
}

fn routes_of(settings: &Settings) -> Vec<String> {
    let route = |route: &Route| {
        let gateway = route.gateway.map_or_else(|| "wire".to_owned(), |gateway| gateway.to_string());
        format!("{}/{} {gateway}{}", route.destination, route.prefix, if route.is_gateway_on_wire { "!" } else { "" })
    };
    settings.routes.iter().map(route).collect()
}

#[test]
fn every_option_in_its_place() {
    let found = lease(
        b"\x01\x04\xff\xff\xff\x80\x03\x08\x0a\0\x02\x02\x0a\0\x02\x03\x06\x08\x0a\0\x02\x03\x01\x01\x01\x01\
          \x0c\x03box\x0f\x0bexample.org\x1a\x02\x05\x78\x33\x04\0\0\x0e\x10\xff",
    );
    assert_eq!(found.to_string(), "10.0.2.15/25 from 10.0.2.2, gateway 10.0.2.2, lease 3600 s");
    let Settings { dns, search, hostname, mtu, .. } = found.settings;
    assert_eq!(dns, [IpAddr::from([10, 0, 2, 3]), IpAddr::from([1, 1, 1, 1])]);
    assert_eq!((search, hostname.as_deref(), mtu), (vec!["example.org".to_owned()], Some("box"), Some(1400)));
}

#[test]
fn without_a_sensible_mask_the_address_tells_its_network() {
    for options in [&b"\xff"[..], b"\x01\x04\xff\0\xff\0\xff", b"\x01\x04\0\0\0\0\xff", b"\x01\x02\xff\xff\xff"] {
        assert_eq!(lease(options).settings.prefix, 8);
    }
    for (address, expect) in [([172, 16, 0, 1], 16), ([192, 168, 0, 1], 24)] {
        assert_eq!(class_prefix(address.into()), expect);
    }
}

#[test]
fn classless_routes_take_the_place_of_the_router() {
    let found = lease(
        b"\x01\x04\xff\xff\xff\0\x03\x04\x0a\0\x02\x63\x79\x23\0\x0a\0\x02\x01\x18\xc0\xa8\x4d\x0a\0\x02\x02\
          \x20\xa9\xfe\xa9\xfe\0\0\0\0\x0d\xac\x17\xa9\xfe\xa9\xfe\x01\x80\x09\x09\x09\x09\xff",
    );
    let expect = [
        "169.254.169.254/32 wire",
        "0.0.0.0/0 10.0.2.1",
        "192.168.77.0/24 10.0.2.2",
        "172.16.0.0/13 169.254.169.254",
        "128.0.0.0/1 9.9.9.9!",
    ];
    assert_eq!(routes_of(&found.settings), expect);
    let broken = lease(b"\x03\x04\x0a\0\x02\x63\x79\x03\x21\x01\x01\xff");
    assert_eq!(broken.settings.gateway(), Some(Ipv4Addr::new(10, 0, 2, 99)), "a broken option 121 is as good as none");
}

#[test]
fn the_router_of_a_single_address_is_on_the_wire() {
    let found = lease(b"\x01\x04\xff\xff\xff\xff\x03\x04\x0a\0\x02\x01\xff");
    assert_eq!(routes_of(&found.settings), ["0.0.0.0/0 10.0.2.1!"]);
}

#[test]
fn parts_of_an_option_are_joined_across_fields() {
    // Options, then the file's field, then the server name's (RFC 2131 section 4.1, RFC 3396).
    let options = b"\x34\x01\x03\x0f\x03exa\x0c\x01b\x0f\x02mp\xff";
    let bytes = bytes(options, b"\0\0\x0f\x01l\x0c\x01o\xff\x0c\x01z", b"\x0f\x05e.org\x0c\x01x\xff");
    let found = Lease::of(&Answer::parse(&bytes).unwrap()).unwrap();
    assert_eq!(found.settings.search, ["example.org"]);
    assert_eq!(found.settings.hostname.as_deref(), Some("box"));
}

#[test]
fn other_fields_hold_options_only_if_the_overload_says_so() {
    for (overload, expect) in [(1, "bo"), (2, "bx"), (3, "box"), (0, "b")] {
        let options = [&[52, 1, overload][..], b"\x0c\x01b\xff"].concat();
        let found = Lease::of(&Answer::parse(&bytes(&options, b"\x0c\x01o\xff", b"\x0c\x01x\xff")).unwrap()).unwrap();
        assert_eq!(found.settings.hostname.as_deref(), Some(expect));
    }
}

#[test]
fn a_broken_option_costs_only_itself_and_what_follows() {
    let found = lease(b"\x0c\x03box\0\0\x06\x05\x0a\0\x02\x03\x01\x03\x01\x01\x1a\x01\x05\x0f\x63example");
    assert_eq!((found.settings.hostname.as_deref(), found.settings.mtu), (Some("box"), None));
    assert_eq!(found.settings.dns, [IpAddr::from([10, 0, 2, 3])]);
    assert_eq!((found.settings.gateway(), found.settings.search), (None, vec![]));
}

#[test]
fn names_that_are_none_are_left_out() {
    for (name, expect) in [
        (&b"box"[..], Some("box")),
        (b"box\0", Some("box")),
        (b"box.example.org.", Some("box.example.org")),
        (b"", None),
        (b"a b", None),
        (b"a\nnameserver 6.6.6.6", None),
        (b"-box", None),
        (b"a..b", None),
        (b"\xff\xfe", None),
        (&[b'a'; 64], None),
    ] {
        assert_eq!(host_name(name).as_deref(), expect, "{name:?}");
    }
    let found = lease(b"\x0f\x17a.org  b.org \n c.org, d\0\xff");
    assert_eq!(found.settings.search, ["a.org", "b.org", "c.org", "d"]);
}

#[test]
fn a_search_list_may_point_back_into_itself() {
    let list = b"\x03eng\x05apple\x03com\0\x09marketing\xc0\x04\x01x\xc0\x00\x03eng\xc0\x04";
    assert_eq!(domain_list(list), ["eng.apple.com", "marketing.apple.com", "x.eng.apple.com"]);
    for broken in [&b"\xc0\x00"[..], b"\x01a\xc0\x02", b"\x01a\xc0\x00", b"\x05abc", b"\xc0", b"\x80\x00", b"\x01a"] {
        assert_eq!(domain_list(broken), Vec::<String>::new(), "{broken:?}");
    }
}

#[test]
fn an_mtu_too_small_for_dhcp_itself_is_not_taken() {
    assert_eq!(lease(b"\x1a\x02\x02\x3f\xff").settings.mtu, None);
    assert_eq!(lease(b"\x1a\x02\x02\x40\xff").settings.mtu, Some(576));
}

proptest! {
    #[test]
    fn no_input_stops_it(raw in prop::collection::vec(any::<u8>(), 0..400), options in prop::collection::vec(any::<u8>(), 0..400)) {
        Answer::parse(&raw);
        for overload in 0..4 {
            let options = [&[52, 1, overload], &options[..]].concat();
            let answer = Answer::parse(&bytes(&options, &raw[..raw.len().min(128)], &raw[..raw.len().min(64)]));
            if let Some(lease) = answer.as_ref().and_then(Lease::of) {
                prop_assert!(lease.settings.prefix <= 32);
                if let Some(times) = lease.times {
                    prop_assert!(times.renew < times.rebind && times.rebind < times.expire);
                }
                let text = lease.settings.resolv_conf().unwrap_or_default();
                prop_assert!(text.lines().all(|line| line.starts_with("search ") || line.starts_with("nameserver ")));
            }
        }
    }

    #[test]
    fn no_list_of_names_or_routes_stops_it(bytes in prop::collection::vec(prop_oneof![0..4_u8, 190..=255_u8], 0..200)) {
        domain_list(&bytes);
        classless_routes(&bytes);
    }
}
