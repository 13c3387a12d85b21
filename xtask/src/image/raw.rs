//! What a spec's text may say, before anything is checked. Words that init knows too stay text here: its own reader
//! takes them, so that a spec and a kernel command line are refused in the same words.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::Deserialize;

use super::{Base, Compress, Mode};
use crate::schema::Keys;

pub const KEYS: Keys = Keys {
    plain: &["name", "arch", "hostname"],
    tables: &[
        ("program", Keys { plain: &["package", "file", "go", "args", "env", "mode", "restart", "start"], tables: &[] }),
        ("kernel", Keys { plain: &["base", "fragments", "cmdline"], tables: &[] }),
        ("initramfs", Keys { plain: &["compress"], tables: &[] }),
        (
            "supervise",
            Keys {
                plain: &["delay", "delay-max", "healthy", "limit", "on-crash-loop", "stop-timeout", "watchdog"],
                tables: &[],
            },
        ),
        ("network", Keys { plain: &["dhcp", "address", "gateway", "dns", "interface"], tables: &[] }),
        ("volume", Keys { plain: &["path", "label", "uuid", "device", "type", "read-only", "required"], tables: &[] }),
        ("file", Keys { plain: &["source", "path", "mode"], tables: &[] }),
    ],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawImage {
    pub name: String,
    #[serde(default = "x86_64")]
    pub arch: String,
    pub hostname: Option<String>,
    pub program: RawProgram,
    pub kernel: RawKernel,
    #[serde(default)]
    pub initramfs: RawInitramfs,
    pub supervise: Option<RawSupervise>,
    pub network: Option<RawNetwork>,
    #[serde(default, rename = "volume")]
    pub volumes: Vec<RawVolume>,
    #[serde(default, rename = "file")]
    pub files: Vec<RawFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawProgram {
    pub package: Option<String>,
    pub file: Option<Utf8PathBuf>,
    pub go: Option<Utf8PathBuf>,
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    #[serde(default = "supervised")]
    pub mode: Mode,
    pub restart: Option<String>,
    pub start: Option<String>,
}

fn x86_64() -> String {
    "x86_64".to_owned()
}

fn supervised() -> Mode {
    Mode::Supervised
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawKernel {
    pub base: Base,
    #[serde(default)]
    pub fragments: Vec<String>,
    #[serde(default)]
    pub cmdline: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawInitramfs {
    #[serde(default)]
    pub compress: Compress,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawSupervise {
    pub delay: Option<String>,
    pub delay_max: Option<String>,
    pub healthy: Option<String>,
    pub limit: Option<u32>,
    pub on_crash_loop: Option<String>,
    pub stop_timeout: Option<String>,
    pub watchdog: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawNetwork {
    #[serde(default)]
    pub dhcp: bool,
    pub address: Option<String>,
    pub gateway: Option<String>,
    #[serde(default)]
    pub dns: Vec<String>,
    pub interface: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawVolume {
    pub path: String,
    pub label: Option<String>,
    pub uuid: Option<String>,
    pub device: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    #[serde(default)]
    pub read_only: bool,
    #[serde(default = "yes")]
    pub required: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFile {
    pub source: Utf8PathBuf,
    pub path: String,
    pub mode: Option<String>,
}
