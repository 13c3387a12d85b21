//! What a spec asks of init: the machine's name and what follows the program's end. Init's own reader takes the words.

use std::time::Duration;

use pid1_init::config::{Config, Start};

use super::raw::{RawImage, RawSupervise};
use super::{Mode, network, volume};

/// The longest name that Linux takes, in bytes: `__NEW_UTS_LEN`.
const MAX_HOSTNAME: usize = 64;
/// The longest part between two dots: RFC 1123, section 2.1.
const MAX_LABEL: usize = 63;
/// Watchdogs count whole seconds, and init needs time to feed one.
const MIN_WATCHDOG: Duration = Duration::from_secs(2);

/// All that init is asked for but the program itself. What is returned beside problems does not count.
pub fn check(raw: &RawImage, program: &str, problems: &mut Vec<String>) -> Config {
    let mut config = Config::default();
    if raw.program.mode == Mode::Direct {
        refuse_without_init(raw, problems);
        return config;
    }
    if let Some(name) = &raw.hostname {
        check_hostname(name, problems);
        config.hostname = Some(name.clone());
    }
    set(&mut config, "program.restart", "restart", raw.program.restart.as_deref(), problems);
    set(&mut config, "program.start", "start", raw.program.start.as_deref(), problems);
    if let Some(supervise) = &raw.supervise {
        check_supervise(supervise, &mut config, problems);
    }
    if let Some(raw) = &raw.network {
        config.network = network::check(raw, problems);
    }
    if raw.network.is_none() && config.start == Start::Network {
        problems.push(
            "`program.start` is `network`, and the spec has no `[network]`: the program would wait for ever; add `[network]` with `dhcp = true`"
                .to_owned(),
        );
    }
    config.volumes = volume::check(&raw.volumes, program, problems);
    config
}

/// Sets `key` of init's configuration, if the spec says anything of it.
fn set(config: &mut Config, shown: &str, key: &str, value: Option<&str>, problems: &mut Vec<String>) {
    if let Some(value) = value
        && let Err(problem) = config.set(key, value)
    {
        problems.push(format!("`{shown}`: {problem}"));
    }
}

fn check_supervise(raw: &RawSupervise, config: &mut Config, problems: &mut Vec<String>) {
    let limit = raw.limit.map(|limit| limit.to_string());
    let keys = [
        ("delay", "restart-delay", &raw.delay),
        ("delay-max", "restart-delay-max", &raw.delay_max),
        ("healthy", "restart-healthy", &raw.healthy),
        ("limit", "restart-limit", &limit),
        ("on-crash-loop", "on-crash-loop", &raw.on_crash_loop),
        ("stop-timeout", "stop-timeout", &raw.stop_timeout),
        ("watchdog", "watchdog", &raw.watchdog),
    ];
    let n_before = problems.len();
    for (key, of_init, value) in keys {
        set(config, &format!("supervise.{key}"), of_init, value.as_deref(), problems);
    }
    if problems.len() > n_before {
        return;
    }
    let supervise = &config.supervise;
    if supervise.delay > supervise.delay_max {
        problems.push(format!(
            "`supervise.delay` is {:?}, longer than `delay-max`, which is {:?}; make `delay-max` the longer one",
            supervise.delay, supervise.delay_max
        ));
    }
    if config.watchdog.is_some_and(|time| time < MIN_WATCHDOG || time.subsec_nanos() != 0) {
        problems.push(format!(
            "`supervise.watchdog`: hardware counts whole seconds, {MIN_WATCHDOG:?} or more; write such a time, or `0s` for none"
        ));
    }
}

/// RFC 1123: parts of letters, digits and inner `-`, with dots between them.
fn check_hostname(name: &str, problems: &mut Vec<String>) {
    let is_part = |part: &str| {
        (1..=MAX_LABEL).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if name.len() > MAX_HOSTNAME || !name.split('.').all(is_part) {
        problems.push(format!(
            "`hostname` is `{}`; letters, digits and inner `-` are expected, with dots between parts of at most {MAX_LABEL}, {MAX_HOSTNAME} bytes in all",
            name.escape_debug()
        ));
    }
}

fn refuse_without_init(raw: &RawImage, problems: &mut Vec<String>) {
    let keys = [
        ("hostname", "sets it", raw.hostname.is_some()),
        ("program.env", "sets it", !raw.program.env.is_empty()),
        ("program.restart", "restarts anything", raw.program.restart.is_some()),
        ("program.start", "makes it wait", raw.program.start.is_some()),
        ("supervise", "supervises", raw.supervise.is_some()),
        ("network", "sets it up", raw.network.is_some()),
        ("volume", "mounts it", !raw.volumes.is_empty()),
    ];
    for (key, what, _) in keys.into_iter().filter(|(_, _, is_there)| *is_there) {
        let last = key.rsplit('.').next().unwrap_or(key);
        problems.push(format!(
            "`{key}` needs `program.mode = \"supervised\"`: without init nobody {what}; delete `{last}`, or change the mode"
        ));
    }
}
