//! How a program is started on the second side: another user, host name, umask and address space by bubblewrap, a shell and
//! setarch; another clock, order, core count and release by a library of ours; another environment.
//!
//! What this host cannot give is left away, and said: nothing here fails because a variation cannot be had.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use crate::sandbox::die_with_parent;
use crate::toolbox;

/// Compiled with the host's gcc, for the host.
const LIBRARY: &str = include_str!("otherwise.c");
const PROBE: &str = include_str!("probe.c");

/// A folder with some files, in which the probe looks.
const ORDER: &str = "order";

/// Added to the user's own numbers.
const OTHER_USER: u32 = 4001;
const OTHER_GROUP: u32 = 4003;
const HOST_NAME: &str = "elsewhere.example";
/// A time zone needs no database in this form: POSIX, Base Definitions 8.3. Its minutes are uneven.
const TIME_ZONE: &str = "ELSE-13:37";
/// Locales to try; the first one that is installed, and is not the user's own, counts.
const LOCALES: [&str; 5] = ["tr_TR.UTF-8", "de_DE.UTF-8", "en_US.UTF-8", "C.UTF-8", "C"];

/// Sets what a shell can set, and goes on as the program that follows.
const SCRIPT: &str = "umask 0027
if setarch -R true 2>/dev/null; then exec setarch -R \"$@\"; fi
exec \"$@\"";

/// What build systems listen to, with values that would show in what they build.
const NOISE: [(&str, &str); 26] = [
    ("CFLAGS", "-O0 -g -DNOISE"),
    ("CPPFLAGS", "-DNOISE"),
    ("CXXFLAGS", "-O0"),
    ("LDFLAGS", "-Wl,--build-id=sha1"),
    ("KCFLAGS", "-O1"),
    ("HOSTCFLAGS", "-O0"),
    ("MAKEFLAGS", "-k"),
    ("ARCH", "arm64"),
    ("CROSS_COMPILE", "noise-"),
    ("KBUILD_BUILD_USER", "noise"),
    ("KBUILD_BUILD_HOST", "noise"),
    ("KBUILD_BUILD_TIMESTAMP", "@1"),
    ("KBUILD_BUILD_VERSION", "77"),
    ("KCONFIG_SEED", "77"),
    ("LOCALVERSION", "-noise"),
    ("RUSTFLAGS", "-Cdebuginfo=2"),
    ("RUST_LOG", "trace"),
    ("CARGO_INCREMENTAL", "1"),
    ("CARGO_PROFILE_IMAGE_OPT_LEVEL", "0"),
    ("CARGO_PROFILE_IMAGE_DEBUG", "2"),
    ("CARGO_BUILD_JOBS", "3"),
    ("GOFLAGS", "-trimpath=false"),
    ("GOAMD64", "v2"),
    ("SOURCE_DATE_EPOCH", "77"),
    ("ZSTD_CLEVEL", "1"),
    ("XZ_OPT", "-1"),
];
/// What names stores of others: the second side is to build, not to be served.
const SHARED_STORES: [&str; 1] = ["PID1_CACHE"];
/// So many variables without a meaning besides: some programs have put all of them into what they made.
const N_NOISE: usize = 200;

/// Where the second side is built, and what starts programs there.
pub struct Host {
    /// Its folder; everything is below it.
    pub folder: Utf8PathBuf,
    /// The user's home there.
    pub home: Utf8PathBuf,
    /// The store there.
    pub store: Utf8PathBuf,
    /// The current folder there.
    pub here: Utf8PathBuf,
    /// The library that changes what programs see.
    pub library: Utf8PathBuf,
    /// The program that says what it sees.
    pub probe: Utf8PathBuf,
    /// bubblewrap, or why it cannot be had.
    pub bubblewrap: Result<Utf8PathBuf, String>,
    /// Another locale than the user's, if there is one.
    pub locale: Option<&'static str>,
}

/// Whether a program is to see another clock, too. A server's certificates would have run out by then.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// As it is.
    True,
    /// By the library, with everything else that it changes.
    Ahead,
}

impl Host {
    /// Prepares the second side's folders and tools below `folder`.
    pub fn new(folder: &Utf8Path) -> Result<Self> {
        let names = ["home-of-another-user", "store-of-its-own", "here", "tools", ORDER];
        let [home, store, here, tools, order] = names.map(|name| folder.join(name));
        for folder in [&home, &store, &here, &tools, &order] {
            fs::create_dir(folder).with_context(|| format!("failed to make the folder `{folder}`"))?;
        }
        let (library, probe) = (tools.join("otherwise.so"), tools.join("probe"));
        compile(LIBRARY, &["-shared", "-fPIC"], &library)?;
        compile(PROBE, &[], &probe)?;
        let bubblewrap = find_bubblewrap();
        let mut host = Self { folder: folder.to_owned(), home, store, here, library, probe, bubblewrap, locale: None };
        host.locale = LOCALES.into_iter().find(|locale| host.has_other_locale(locale));
        Ok(host)
    }

    /// A folder in which the probe looks.
    pub fn order(&self) -> Utf8PathBuf {
        self.folder.join(ORDER)
    }

    /// A program as it is started on the second side, with the user's own standard streams.
    pub fn command(&self, program: &Utf8Path, clock: Clock) -> Result<Command> {
        let mut words = match &self.bubblewrap {
            Ok(bubblewrap) => bubblewrap_words(bubblewrap),
            Err(_) => Vec::new(),
        };
        words.extend(["sh", "-c", SCRIPT, "sh"].map(str::to_owned));
        if clock == Clock::Ahead {
            words.extend(["env".to_owned(), format!("LD_PRELOAD={}", self.library)]);
        }
        words.push(program.to_string());
        let (first, rest) = words.split_first().context("an empty command")?;
        let mut command = Command::new(first);
        command.args(rest).current_dir(&self.here);
        self.environment(&mut command)?;
        die_with_parent(&mut command);
        Ok(command)
    }

    fn environment(&self, command: &mut Command) -> Result<()> {
        let cargo = toolbox::find("cargo").ok().context("the host tool `cargo` is missing")?;
        // The crates' registry, mirrors and credentials are the user's; hashes decide what is taken of it.
        if std::env::var_os("CARGO_HOME").is_none()
            && let Ok(home) = std::env::var("HOME")
        {
            command.env("CARGO_HOME", Utf8PathBuf::from(home).join(".cargo"));
        }
        command.envs(NOISE).envs((0..N_NOISE).map(|number| (format!("NOISE_{number}"), "noise ".repeat(number % 9))));
        for name in SHARED_STORES {
            command.env_remove(name);
        }
        command.env("CARGO", cargo).env("PID1_STORE", &self.store).env("HOME", &self.home);
        for name in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TMPDIR"] {
            command.env(name, &self.here);
        }
        command.env("TZ", TIME_ZONE).env("LANGUAGE", "tr");
        for name in ["LANG", "LC_ALL"].into_iter().filter(|_| self.locale.is_some()) {
            command.env(name, self.locale.unwrap_or_default());
        }
        Ok(())
    }

    /// Whether a program that is started in this locale says so, and does not without it.
    fn has_other_locale(&self, locale: &str) -> bool {
        let ask = |command: &mut Command| {
            answer(command).lines().find_map(|line| line.strip_prefix("locale\t").map(str::to_owned))
        };
        let ours = ask(&mut Command::new(&self.probe));
        let theirs = ask(Command::new(&self.probe).env("LC_ALL", locale));
        theirs.as_deref() == Some(locale) && ours != theirs
    }
}

/// What a program prints; nothing, if it cannot be run.
pub fn answer(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

fn bubblewrap_words(bubblewrap: &Utf8Path) -> Vec<String> {
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let numbers = [user.wrapping_add(OTHER_USER), group.wrapping_add(OTHER_GROUP)].map(|number| number.to_string());
    let words = [bubblewrap.as_str(), "--bind", "/", "/", "--dev-bind", "/dev", "/dev", "--die-with-parent"];
    let user = ["--unshare-user", "--uid", &numbers[0], "--gid", &numbers[1]];
    let host = ["--unshare-uts", "--hostname", HOST_NAME, "--"];
    words.into_iter().chain(user).chain(host).map(str::to_owned).collect()
}

/// bubblewrap, if it can do here what it is asked for.
fn find_bubblewrap() -> Result<Utf8PathBuf, String> {
    let path = toolbox::find(toolbox::BWRAP).map_err(|_| "bubblewrap is not installed".to_owned())?;
    let words = bubblewrap_words(&path);
    let (first, rest) = words.split_first().ok_or_else(String::new)?;
    let output = Command::new(first).args(rest).arg("true").stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(path),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn compile(source: &str, flags: &[&str], to: &Utf8Path) -> Result<()> {
    let code = to.with_extension("c");
    fs::write(&code, source).with_context(|| format!("failed to write `{code}`"))?;
    let gcc = toolbox::find("gcc").ok().context("the host tool `gcc` is missing")?;
    let output = Command::new(gcc)
        .args(["-O1", "-o", to.as_str()])
        .args(flags)
        .args([code.as_str(), "-ldl"])
        .stdin(Stdio::null())
        .output()
        .context("failed to run `gcc`")?;
    if !output.status.success() {
        bail!("failed to compile `{code}` for verify:\n{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
impl Host {
    /// A host that starts nothing.
    pub fn for_tests(bubblewrap: Result<Utf8PathBuf, String>) -> Self {
        let none = Utf8PathBuf::new;
        Self {
            folder: none(),
            home: none(),
            store: none(),
            here: none(),
            library: none(),
            probe: none(),
            bubblewrap,
            locale: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_side_is_served_by_no_store_of_others() {
        let host = Host::for_tests(Err("forbidden".to_owned()));
        let command = host.command(Utf8Path::new("true"), Clock::True).unwrap();
        let found = |name: &str| command.get_envs().find(|(known, _)| *known == name).map(|(_, value)| value.is_some());
        assert_eq!((found("PID1_CACHE"), found("PID1_STORE")), (Some(false), Some(true)));
    }
}
