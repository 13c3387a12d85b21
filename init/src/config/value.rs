//! How values are told in words, in the image's configuration and on the kernel command line alike.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::{FileSystem, NetworkMode, OnCrashLoop, Restart, Source, Start, StaticAddress, Volume};
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
fn flag(applies: bool, word: &str) -> Option<&str> {
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

impl Value for Volume {
    /// `SOURCE:PATH[:OPTION,...]`, where SOURCE is `label=X`, `uuid=X` or a path in /dev, and an option is one of `ro`,
    /// `optional`, `ext4` and `vfat`.
    fn read(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let (source, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (options, rest) = (parts.next().unwrap_or_default(), parts.next());
        let source = match source.split_once('=') {
            Some(("label", label)) if !label.is_empty() => Source::Label(label.to_owned()),
            Some(("uuid", uuid)) if !uuid.is_empty() => Source::Uuid(uuid.to_owned()),
            _ if source.starts_with("/dev/") => Source::Device(source.to_owned()),
            _ => {
                return Err(format!("expected label=X, uuid=X or a path in /dev before the first `:`, found `{text}`"));
            }
        };
        if !path.starts_with('/') || path.len() < 2 || rest.is_some() {
            return Err(format!("expected SOURCE:/PATH or SOURCE:/PATH:OPTIONS, found `{text}`"));
        }
        let mut volume = Self { path: path.to_owned(), source, kind: None, read_only: false, required: true };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            volume.set_option(option)?;
        }
        Ok(volume)
    }

    fn write(&self) -> String {
        let source = match &self.source {
            Source::Label(label) => format!("label={label}"),
            Source::Uuid(uuid) => format!("uuid={uuid}"),
            Source::Device(path) => path.clone(),
        };
        let kind = self.kind.map(FileSystem::name);
        let options = [flag(self.read_only, "ro"), flag(!self.required, "optional"), kind];
        let options = options.into_iter().flatten().collect::<Vec<_>>().join(",");
        let colon = if options.is_empty() { "" } else { ":" };
        format!("{source}:{}{colon}{options}", self.path)
    }
}

impl Volume {
    fn set_option(&mut self, option: &str) -> Result<(), String> {
        match option {
            "ro" => self.read_only = true,
            "optional" => self.required = false,
            "ext4" => self.kind = Some(FileSystem::Ext4),
            "vfat" => self.kind = Some(FileSystem::Vfat),
            _ => return Err(unknown("option", option, &["ro", "optional", "ext4", "vfat"])),
        }
        Ok(())
    }
}
