//! What is read, what is written, and what is complained about.

use super::*;
use proptest::prelude::*;

fn config(program: &str, args: &[&str], env: &[(&str, &str)]) -> Config {
    Config {
        program: program.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..Config::default()
    }
}

#[test]
fn a_configuration_reads_like_one() {
    let written = encode(&config("/bin/web", &["-v", " a\nb\\ ", ""], &[("RUST_LOG", "info"), ("A", "=")]));
    assert_eq!(
        written.as_deref(),
        Ok("program = /bin/web\narg = -v\narg = \\sa\\nb\\\\\\s\narg = \nenv = A==\nenv = RUST_LOG=info\n")
    );
}

const ALL: &str = "program = /bin/web
hostname = www
restart = on-failure
restart-delay = 0s
restart-delay-max = 2500ms
restart-healthy = 60s
restart-limit = 0
on-crash-loop = keep-trying
stop-timeout = 90s
start = network
network = 10.0.0.2/24,10.0.0.1,1.1.1.1,fe80::1
interface = eth1
watchdog = 0s
volume = label=data:/data
volume = uuid=1234-ABCD:/boot:ro,optional,vfat
volume = /dev/disk/by-id/virtio-x:/x:ext4
";

#[test]
fn every_key_is_read_and_written() {
    let (found, complaints) = parse(ALL);
    assert_eq!(complaints, []);
    assert_eq!(encode(&found).as_deref(), Ok(ALL));
    assert_eq!((found.supervise.restart, found.start), (Restart::OnFailure, Start::Network));
    assert_eq!(found.watchdog, None);
    let NetworkMode::Static(address) = &found.network.mode else { panic!("{found:?}") };
    assert_eq!((address.prefix, address.gateway, address.dns.len()), (24, Some(Ipv4Addr::new(10, 0, 0, 1)), 2));
    let kinds: Vec<_> = found.volumes.iter().map(|volume| (volume.kind, volume.read_only, volume.required)).collect();
    assert_eq!(
        kinds,
        [(None, false, true), (Some(FileSystem::Vfat), true, false), (Some(FileSystem::Ext4), false, true)]
    );
}

#[test]
fn of_a_key_given_twice_the_last_counts() {
    let (found, complaints) =
        parse("program = /a\nrestart = always\nrestart = never\nvolume = /dev/vda:/d\nvolume = /dev/vdb:/d:ro");
    assert_eq!(complaints, []);
    assert_eq!((found.supervise.restart, found.volumes.len()), (Restart::Never, 1));
    assert_eq!(found.volumes[0].source, Source::Device("/dev/vdb".to_owned()));
}

#[test]
fn what_no_program_can_be_given_is_refused() {
    for (bad, expect) in [
        (config("bin/web", &[], &[]), ConfigError::NotAbsolute("bin/web".to_owned())),
        (config("/b", &["a\0"], &[]), ConfigError::Nul("a\0".to_owned())),
        (config("/b", &[], &[("A=B", "c")]), ConfigError::VariableName("A=B".to_owned())),
        (config("/b", &[], &[("", "c")]), ConfigError::VariableName(String::new())),
    ] {
        assert_eq!(encode(&bad), Err(expect));
    }
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let volume = |label: &str, path: &str| Volume {
        path: path.to_owned(),
        source: Source::Label(label.to_owned()),
        kind: None,
        read_only: false,
        required: true,
    };
    for bad in [volume("a:b", "/c"), volume("", "/c"), volume("a", "c"), volume("a", "/c:ro")] {
        let bad = Config { volumes: vec![bad], ..config("/b", &[], &[]) };
        assert!(matches!(encode(&bad), Err(ConfigError::Value { key: "volume", .. })), "{bad:?}");
    }
    let bad = Config { hostname: Some(String::new()), ..config("/b", &[], &[]) };
    assert!(matches!(encode(&bad), Err(ConfigError::Value { key: "hostname", .. })));
}

#[test]
fn a_bad_line_is_a_complaint_and_the_rest_counts() {
    let text = "# by hand\r\n\n  porgram = /bin/a\nprogram=bin/a\nprogram = /bin/b\t\r\nprogram = /bin/c\nwhat\n\
                arg = a\\x\narg = a b\nenv = A\n env = A=1=2\nretsart = x\nrestart = sometimes\nstop-timeout = 5\n\
                network = 10.0.0.1\nrestart-limit = -1\nvolume = vda:/x\nvolume = /dev/vda\nvolume = /dev/vda:/x:rw\n\
                watchdog = 99999999999h\nhostname =";
    let (found, complaints) = parse(text);
    assert_eq!(found, config("/bin/b", &["a b"], &[("A", "1=2")]));
    let complaints: Vec<String> = complaints.iter().map(ToString::to_string).collect();
    assert_eq!(
        complaints,
        [
            "/etc/pid1.conf line 3: unknown key `porgram`, did you mean `program`?",
            "/etc/pid1.conf line 4: the program must start with `/`: `bin/a`",
            "/etc/pid1.conf line 6: the program is named twice, the first counts",
            "/etc/pid1.conf line 7: expected `key = value`, found `what`",
            r"/etc/pid1.conf line 8: after `\` expected one of n r t s \",
            "/etc/pid1.conf line 10: expected NAME=value, found `A`",
            "/etc/pid1.conf line 12: unknown key `retsart`, did you mean `restart`?",
            "/etc/pid1.conf line 13: unknown value `sometimes`, expected one of: never, on-failure, always",
            "/etc/pid1.conf line 14: expected a time such as 500ms, 5s, 2m or 1h, found `5`",
            "/etc/pid1.conf line 15: expected off, dhcp or ADDRESS/PREFIX[,GATEWAY[,DNS...]] as in 10.0.0.2/24,10.0.0.1, found `10.0.0.1`",
            "/etc/pid1.conf line 16: expected a whole number, found `-1`",
            "/etc/pid1.conf line 17: expected label=X, uuid=X or a path in /dev before the first `:`, found `vda:/x`",
            "/etc/pid1.conf line 18: expected SOURCE:/PATH or SOURCE:/PATH:OPTIONS, found `/dev/vda`",
            "/etc/pid1.conf line 19: unknown option `rw`, did you mean `ro`?",
            "/etc/pid1.conf line 20: expected a time such as 500ms, 5s, 2m or 1h, found `99999999999h`",
            "/etc/pid1.conf line 21: expected a name, found nothing",
        ]
    );
}

#[test]
fn an_empty_file_says_what_was_expected() {
    let (found, complaints) = parse("");
    assert_eq!(found, Config::default());
    assert_eq!(complaints.len(), 1);
}

/// Strings made of what could go wrong, with anything else in between.
fn value() -> impl Strategy<Value = String> {
    let awkward =
        prop::sample::select(vec!['\\', '\n', '\r', '\t', ' ', '=', '#', 'n', 's', ':', ',', '\u{a0}', '\u{85}']);
    let any = any::<char>().prop_filter("NUL", |c| *c != '\0');
    prop::collection::vec(prop_oneof![awkward, any], 0..12).prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        program in value(),
        args in prop::collection::vec(value(), 0..5),
        env in prop::collection::btree_map(
            value().prop_map(|name| format!("N{}", name.replace('=', ""))), value(), 0..5),
        hostname in prop::option::of(value()),
        times in prop::array::uniform4(0_u64..100_000),
        label in value(),
        path in value(),
    ) {
        let [delay, delay_max, healthy, stop_timeout] = times.map(Duration::from_millis);
        let supervise = Supervise { delay, delay_max, healthy, stop_timeout, ..Supervise::default() };
        let source = Source::Label(label);
        let volume = Volume { path, source, kind: None, read_only: true, required: false };
        let config = Config {
            program: format!("/{program}"), args, env, hostname, supervise, volumes: vec![volume], ..Config::default()
        };
        match encode(&config) {
            Ok(text) => prop_assert_eq!(parse(&text), (config, Vec::new())),
            Err(ConfigError::Value { .. }) => {}
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
    }

    #[test]
    fn no_input_stops_it(text in any::<String>(), lines in prop::collection::vec(value(), 0..9), key in 0_usize..14, word in value()) {
        parse(&text);
        parse(&lines.join("\n"));
        let key = changeable().nth(key).unwrap_or_default();
        parse(&format!("{key} = {word}"));
    }
}
