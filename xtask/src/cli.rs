//! The command line: verbs and flags as data. Every help text that a user sees is here.

use std::num::NonZeroUsize;
use std::time::Duration;

use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::qemu;
use crate::session::Asked;

mod pin;
mod sign;
mod verify;
mod volume;

pub use pin::{PinArgs, PinName};
pub use sign::SignArgs;
pub use verify::{StepsArgs, VerifyArgs};
pub use volume::{VolumeArgs, VolumeType};

/// Build, boot and inspect machines that are one static program.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = EXIT_STATUS, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    /// What to do.
    pub verb: Verb,

    #[command(flatten)]
    /// What every verb understands.
    pub global: Global,
}

const EXIT_STATUS: &str = "\
Exit status:
  0    done
  1    failed
  2    the command line is wrong
  130  ended by Ctrl-C
`cargo xtask help qemu` lists what `qemu` adds to these.

The store is shared by all your checkouts: $PID1_STORE, else $XDG_CACHE_HOME/pid1, else ~/.cache/pid1.";

const QEMU_EXIT_STATUS: &str = "\
Exit status:
  The program's own, when it ends; besides that
  0      --until's text was seen
  1      the build failed; or the machine restarted, or stopped without saying how its program ended
  2      the command line is wrong
  123    the kernel panicked
  124    --deadline passed
  125    failed on the host's side: QEMU did not start, or broke
  128+N  the program was killed by signal N; 130 is also Ctrl-C, 143 SIGTERM: the machine is asked to stop
         in order, a second one kills it
With --json the last line of stdout says how it ended as data.";

/// Flags that every verb understands.
#[derive(Args)]
pub struct Global {
    /// Fetch nothing: fail with a list of all that is missing
    #[arg(long, global = true)]
    pub offline: bool,

    /// Install missing host tools without asking (apt-get, dnf, pacman or nix; with sudo when not root)
    #[arg(long, global = true)]
    pub yes: bool,

    /// Run this many jobs at once [default: as many as there are cores]
    #[arg(short, long, global = true, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,

    /// Start every build tool with this shared library, by LD_PRELOAD: `verify` does, to build otherwise
    #[arg(long, global = true, value_name = "FILE", hide = true)]
    pub preload: Option<Utf8PathBuf>,

    /// Say also what needed no work
    #[arg(short, long, global = true)]
    pub verbose: bool,

    /// Share what is built: s3://BUCKET/PREFIX, http://HOST/PATH, https://HOST/PATH or a folder; also PID1_CACHE
    // Not read by clap, whose messages would show a password in it.
    #[arg(long, global = true, value_name = "URL")]
    pub cache: Option<String>,
}

/// What `cargo xtask` can do.
#[derive(Subcommand)]
pub enum Verb {
    /// Build an image's kernel and initramfs into target/image/NAME
    Image {
        #[command(flatten)]
        /// Which image.
        image: ImageArg,

        /// Put the files into this folder instead
        #[arg(long, value_name = "DIR")]
        out: Option<Utf8PathBuf>,

        /// Print the files with their sizes and hashes as JSON
        #[arg(long)]
        json: bool,
    },

    /// Build an image and boot it in QEMU, on this terminal
    Qemu(QemuArgs),

    /// Make a disk file with an empty file system, for `[[volume]]` in a spec and --volume of `qemu`
    Volume(VolumeArgs),

    /// Build an image again from nothing, otherwise in all that may differ from host to host, and compare the results
    Verify(VerifyArgs),

    /// Make steps, and say as JSON what they came to
    #[command(hide = true)]
    Steps(StepsArgs),

    /// Run every test, the real boots included
    Test {
        /// Only tests whose name contains this
        filter: Option<String>,
    },

    /// List the host tools that are missing, with the command that installs them; --yes runs it
    Doctor,

    /// Say why a step would run, or ran last: which of its inputs changed
    Why(StepArgs),

    /// Show what the tools of a step printed when it was made
    Log(StepArgs),

    /// Show an image's steps and what each needs
    Graph {
        #[command(flatten)]
        /// Which image.
        image: ImageArg,

        /// `dot` is for Graphviz: cargo xtask graph --format dot | dot -Tsvg
        #[arg(long, value_enum, default_value_t = GraphFormat::Text)]
        format: GraphFormat,
    },

    /// Delete from the store what no image of any checkout needs; archives whose unpacked tree is there are not needed
    ///
    /// An image ends with its spec, with its program if it has no spec, or with its checkout. Those that have ended are named.
    Gc {
        /// Only say what would be deleted
        #[arg(long)]
        dry_run: bool,
    },

    /// Fetch every pin and every crate into vendor/, so that everything can be built without network
    Vendor {
        /// Delete from vendor/ what nothing pins any more
        #[arg(long)]
        prune: bool,
    },

    /// Compute the pins of another version of linux, musl or rust, and write them; says what it could not verify
    Pin(PinArgs),

    /// Show what an image is made of, with the licence of each part
    Licenses {
        #[command(flatten)]
        /// Which image.
        image: ImageArg,
    },

    /// Sign a built image with a key of minisign's, or check its signature and every file of it
    Sign(SignArgs),

    /// Look after the store
    #[command(subcommand)]
    Store(StoreVerb),
}

/// What can be done with the store.
#[derive(Subcommand)]
pub enum StoreVerb {
    /// Hash every artifact anew; damaged ones are taken out, and made again when needed
    Verify,
}

/// How `graph` draws.
#[derive(Clone, Copy, ValueEnum)]
pub enum GraphFormat {
    /// For people.
    Text,
    /// For Graphviz.
    Dot,
}

/// Which image a verb is about.
#[derive(Args)]
pub struct ImageArg {
    /// An image of images/ by its name, or the path of a spec
    #[arg(value_name = "NAME|FILE", default_value = "hello")]
    pub image: String,

    /// Take this static program, without a spec: under init, with a network card and DHCP, on the kernel that all such
    /// programs share. The image has the file's name; NAME-file if images/ has one of that name
    #[arg(long, value_name = "PATH", conflicts_with = "image")]
    pub file: Option<Utf8PathBuf>,
}

impl ImageArg {
    /// What the user asked for.
    pub fn asked(&self) -> Asked<'_> {
        Asked::new(&self.image, self.file.as_deref())
    }
}

/// A step of an image.
#[derive(Args)]
pub struct StepArgs {
    /// The step, as `cargo xtask graph` names it
    pub step: String,

    /// The image it belongs to: a name of images/, or the path of a spec
    #[arg(long, value_name = "NAME|FILE", default_value = "hello")]
    pub image: String,

    /// The image is that of this static program, without a spec
    #[arg(long, value_name = "PATH", conflicts_with = "image")]
    pub file: Option<Utf8PathBuf>,
}

impl StepArgs {
    /// The image that the user asked for.
    pub fn asked(&self) -> Asked<'_> {
        Asked::new(&self.image, self.file.as_deref())
    }
}

/// How to boot.
#[derive(Args)]
#[command(after_help = QEMU_EXIT_STATUS)]
pub struct QemuArgs {
    #[command(flatten)]
    /// Which image.
    pub image: ImageArg,

    /// Build nothing: boot what `image --out DIR` left in this folder, here or elsewhere, after a look at its manifest
    #[arg(long, value_name = "DIR")]
    pub built: Option<Utf8PathBuf>,

    /// End with status 0 as soon as the console shows this text
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub until: Option<String>,

    /// End with status 124 this long after the machine was started, as in 500ms, 60s or 5m; building does not count
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub deadline: Option<Duration>,

    /// The machine's memory in MiB
    #[arg(short, long, value_name = "MB", default_value_t = 128, value_parser = mebibytes)]
    pub memory: u32,

    /// How many processors it has
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub smp: u32,

    /// Lead a port of this host into the machine, as in 8080:80; repeatable. A HOST of 0 is any free port
    #[arg(short = 'p', long = "port", value_name = "[ADDR:]HOST:GUEST[/udp]", value_parser = forward)]
    pub ports: Vec<qemu::Forward>,

    /// Give the machine a disk: a raw FILE, mounted where the spec's [[volume]] NAME says, else at /NAME; a NAME
    /// that begins with `/` is where it is mounted. Repeatable; `cargo xtask volume` makes such files
    #[arg(long = "volume", value_name = "FILE:NAME[:ro]", value_parser = volume)]
    pub volumes: Vec<qemu::VolumeArg>,

    /// Set a variable of the program's environment; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub env: Vec<String>,

    /// Let the machine start again when it restarts, instead of ending then
    #[arg(long)]
    pub reboot: bool,

    /// Write the console to this file, too, byte for byte; what was in it is lost
    #[arg(long, value_name = "FILE")]
    pub console: Option<Utf8PathBuf>,

    /// How the machine's processor is run; `auto` takes KVM if it really runs a guest, else TCG
    #[arg(long, value_name = "auto|kvm|tcg", default_value = "auto", value_parser = accelerator)]
    pub accel: qemu::Choice,

    /// Print how it ended as JSON, as the last line of stdout; the console goes to stderr
    #[arg(long)]
    pub json: bool,

    /// Build, then print the QEMU command instead of running it; run by hand, its status is QEMU's, not the program's
    #[arg(long)]
    pub dry_run: bool,

    /// The program's arguments, in place of those in the spec
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

fn forward(text: &str) -> Result<qemu::Forward, String> {
    text.parse()
}

fn volume(text: &str) -> Result<qemu::VolumeArg, String> {
    text.parse()
}

fn variable(text: &str) -> Result<String, String> {
    let is_one = text.split_once('=').is_some_and(|(name, _)| !name.is_empty());
    is_one.then(|| text.to_owned()).ok_or_else(|| "NAME=VALUE is expected, as in RUST_LOG=info".to_owned())
}

fn accelerator(text: &str) -> Result<qemu::Choice, String> {
    text.parse()
}

/// Up to a tebibyte.
fn mebibytes(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=1_048_576).contains(number));
    number.ok_or_else(|| "a number of MiB from 1 to 1048576 is expected, as in 128".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ms" => Some(0.001),
        "s" | "" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    };
    let seconds = number.parse::<f64>().ok().zip(scale).map(|(number, scale)| number * scale);
    let time = seconds.filter(|seconds| *seconds > 0.0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| "a positive number with ms, s, m or h is expected, as in 500ms, 60s or 5m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        let check = |text, expect| assert_eq!(duration(text).ok().map(|time| time.as_millis()), expect, "{text}");
        check("60s", Some(60_000));
        check("500ms", Some(500));
        check("1.5m", Some(90_000));
        check("2", Some(2_000));
        check("0s", None);
        check("-1s", None);
        check("5 parsecs", None);
    }

    #[test]
    fn a_program_comes_with_a_spec_or_without() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["cargo xtask"], args].concat());
        let Verb::Qemu(args) = parse(&["qemu", "--file", "./server", "--", "-v"]).unwrap().verb else { panic!() };
        assert_eq!((args.image.asked().to_string(), args.args), ("--file ./server".to_owned(), vec!["-v".to_owned()]));
        let Verb::Why(args) = parse(&["why", "kernel", "--file", "x"]).unwrap().verb else { panic!() };
        assert_eq!(args.asked().to_string(), "--file x");
        let Verb::Image { image, .. } = parse(&["image"]).unwrap().verb else { panic!() };
        assert_eq!(image.asked().to_string(), "hello");
        assert!(parse(&["image", "web", "--file", "x"]).is_err());
        assert!(parse(&["log", "kernel", "--image", "web", "--file", "x"]).is_err());
    }

    #[test]
    fn what_follows_the_dashes_is_the_programs() {
        let cli = Cli::try_parse_from(["cargo xtask", "qemu", "web", "-m", "64", "--", "--verbose", "-m"]).unwrap();
        let Verb::Qemu(args) = cli.verb else { panic!("another verb") };
        assert_eq!(
            (args.image.image.as_str(), args.memory, args.args),
            ("web", 64, vec!["--verbose".to_owned(), "-m".to_owned()])
        );
    }
}
