//! How values are told in words, in the image's configuration and on the kernel command line alike.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::{NetworkMode, OnCrashLoop, Restart, Start, StaticAddress};
use crate::complaint::unknown;
use crate::time::millis;

/// A value with a text. What [`Value::write`] writes, [`Value::read`] reads back.
pub(super) trait Value: Sized {
    /// The value, or what was expected of it.
    fn read(text: &str) -> Result<Self, String>;
    /// Its text.
    fn write(&self) -> String;
}

/// A value that is one of some words.
macro_rules! words {
    ($kind:ty { $($word:literal = $value:ident),+ }) => {
        impl Value for $kind {
            fn read(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$value),)+
                    _ => Err(unknown("value", text, &[$($word),+])),
                }
            }

            fn write(&self) -> String {
                match self { $(Self::$value => $word,)+ }.to_owned()
            }
        }
    };
}

words!(Restart { "never" = Never, "on-failure" = OnFailure, "always" = Always });
words!(OnCrashLoop { "reboot" = Reboot, "poweroff" = PowerOff, "keep-trying" = KeepTrying });
words!(Start { "now" = Now, "network" = Network });

/// `word` if it applies.
pub(super) fn flag(applies: bool, word: &str) -> Option<&str> {
    applies.then_some(word)
}

impl Value for u32 {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("expected a whole number, found `{text}`"))
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

/// Milliseconds in each unit of time.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

/// Longer times are typing errors, and would overflow a clock.
const LONGEST: Duration = Duration::from_hours(24 * 365);

impl Value for Duration {
    fn read(text: &str) -> Result<Self, String> {
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = text.strip_suffix(unit).unwrap_or_default().parse::<u64>().ok();
        let scale = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
        let time = number.zip(scale).and_then(|(number, scale)| number.checked_mul(scale)).map(Duration::from_millis);
        time.filter(|time| *time <= LONGEST)
            .ok_or_else(|| format!("expected a time such as 500ms, 5s, 2m or 1h, found `{text}`"))
    }

    fn write(&self) -> String {
        match millis(*self) {
            millis if millis % 1000 == 0 => format!("{}s", millis / 1000),
            millis => format!("{millis}ms"),
        }
    }
}

/// A name, never empty.
impl Value for Option<String> {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("expected a name, found nothing".to_owned()),
            _ => Ok(Some(text.to_owned())),
        }
    }

    fn write(&self) -> String {
        self.clone().unwrap_or_default()
    }
}

impl Value for NetworkMode {
    /// `off`, `dhcp`, or `ADDRESS/PREFIX[,GATEWAY[,DNS...]]`; the gateway may be empty.
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "dhcp" => Ok(Self::Dhcp),
            _ => static_address(text).map(Self::Static).ok_or_else(|| {
                format!(
                    "expected off, dhcp or ADDRESS/PREFIX[,GATEWAY[,DNS...]] as in 10.0.0.2/24,10.0.0.1, found `{text}`"
                )
            }),
        }
    }

    fn write(&self) -> String {
        match self {
            Self::Off => "off".to_owned(),
            Self::Dhcp => "dhcp".to_owned(),
            Self::Static(StaticAddress { address, prefix, gateway, dns }) => {
                let gateway = gateway.map(|gateway| gateway.to_string()).unwrap_or_default();
                let dns = dns.iter().map(ToString::to_string);
                let mut rest: Vec<String> = [gateway].into_iter().chain(dns).collect();
                if rest == [""] {
                    rest.clear();
                }
                [format!("{address}/{prefix}")].into_iter().chain(rest).collect::<Vec<_>>().join(",")
            }
        }
    }
}

fn static_address(text: &str) -> Option<StaticAddress> {
    let mut parts = text.split(',');
    let (address, prefix) = parts.next()?.split_once('/')?;
    let gateway = match parts.next() {
        None | Some("") => None,
        Some(gateway) => Some(gateway.parse::<Ipv4Addr>().ok()?),
    };
    let dns = parts.map(|server| server.parse::<IpAddr>().ok()).collect::<Option<_>>()?;
    let prefix = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
    Some(StaticAddress { address: address.parse().ok()?, prefix, gateway, dns })
}
