//! What `cargo xtask qemu` is asked for, made into a command line and devices, or refused: all problems at once, and all that
//! can be known before anything is built.

use anyhow::{Context, Result, bail};
use camino::Utf8Path;
use pid1_init::config::NetworkMode;

use crate::cli::QemuArgs;
use crate::image::{Image, Mode};
use crate::qemu::kernel_options::fragment_of;
use crate::qemu::{
    self, Addresses, Devices, KernelOptions, Network, PANIC_WORD, REPORT_WORD, TIMER_WORD, cmdline, forward, volume,
};

/// The kernel's words and the program's arguments. In supervised mode the spec's arguments are in init's configuration,
/// and those of the command line take their place.
pub fn command_line(image: &Image, args: &QemuArgs) -> Result<String> {
    let is_direct = image.program.mode == Mode::Direct;
    let mut words: Vec<String> = image.kernel_words().into_iter().map(str::to_owned).collect();
    words.extend([PANIC_WORD, TIMER_WORD].map(str::to_owned));
    if !is_direct {
        words.push(REPORT_WORD.to_owned());
        words.extend(args.volumes.iter().filter_map(|volume| volume.word(&image.volumes)));
        for variable in &args.env {
            words.push(cmdline::quote_word(&format!("init.env={variable}")).map_err(|problem| {
                anyhow::anyhow!(
                    "failed to set `{variable}`: {problem}\nhint: write it into `program.env` of the image spec"
                )
            })?);
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let arguments = if is_direct && args.args.is_empty() { &image.program.args } else { &args.args };
    Ok(qemu::command_line(&words, arguments)?)
}

/// Refuses what this host or this image cannot do.
pub fn check(image: &Image, args: &QemuArgs) -> Result<()> {
    let mut problems = Vec::new();
    if !args.ports.is_empty() && !has_network(image) {
        problems.push(format!(
            "`-p` needs a network, and the image `{}` has none\nhint: add `[network]` with `dhcp = true` to its spec",
            image.name
        ));
    }
    if image.program.mode == Mode::Direct {
        problems.extend(direct_problems(args));
    }
    problems.extend(forward::problems(&args.ports));
    problems.extend(volume::problems(&args.volumes));
    problems.extend(args.console.as_deref().and_then(|file| console_problem(file, args)));
    fail_on(&problems)
}

/// The devices, on a kernel that can do this.
pub fn devices(image: &Image, args: &QemuArgs, options: &KernelOptions) -> Result<Devices> {
    let mut problems = Vec::new();
    let mut need = |is_needed: bool, what: &str, option: &str| {
        if is_needed && !options.has(option) {
            problems.push(missing_option(what, option, args.image.file.is_some()));
        }
    };
    need(args.smp > 1, "`--smp`", "CONFIG_SMP");
    need(!args.volumes.is_empty(), "`--volume`", "CONFIG_VIRTIO_BLK");
    need(!args.ports.is_empty(), "`-p`", "CONFIG_VIRTIO_NET");
    // A build may have taken minutes.
    problems.extend(forward::problems(&args.ports));
    fail_on(&problems)?;
    let forwards = forward::with_free_ports(&args.ports).context("failed to find a free port")?;
    let disks =
        args.volumes.iter().map(|volume| volume.disk().with_context(|| format!("failed to open `{}`", volume.file)));
    Ok(Devices {
        network: has_network(image).then(|| Network { forwards, addresses: addresses(image) }),
        volumes: disks.collect::<Result<_>>()?,
        entropy: options.has("CONFIG_HW_RANDOM_VIRTIO"),
        watchdog: options.has("CONFIG_I6300ESB_WDT"),
    })
}

/// A program that is PID 1 itself may set its network up by itself.
fn has_network(image: &Image) -> bool {
    image.network.mode != NetworkMode::Off || image.kernel.fragments.iter().any(|fragment| fragment == "net")
}

fn addresses(image: &Image) -> Option<Addresses> {
    let NetworkMode::Static(own) = &image.network.mode else {
        return None;
    };
    Some(Addresses { machine: own.address, prefix: own.prefix, gateway: own.gateway, dns: own.dns.clone() })
}

fn direct_problems(args: &QemuArgs) -> Vec<String> {
    let hint = "hint: take `program.mode = \"supervised\"`, which is the default";
    let env = (!args.env.is_empty()).then(|| format!("`--env` needs our init, and here the program is PID 1\n{hint}"));
    let folder = args.volumes.iter().find_map(|volume| volume.path.as_ref());
    let folder =
        folder.map(|path| format!("nobody mounts `{path}` where the program is PID 1\n{hint}, or name the disk"));
    env.into_iter().chain(folder).collect()
}

fn missing_option(what: &str, option: &str, is_file: bool) -> String {
    let spec =
        if is_file { "a spec of the program's own, in images/, in place of `--file`" } else { "the image's spec" };
    let hint = match (option, fragment_of(option)) {
        ("CONFIG_VIRTIO_BLK", _) => format!("\nhint: add a `[[volume]]` to {spec}: it brings disks to the kernel"),
        (_, Some(name)) => format!("\nhint: add `\"{name}\"` to `kernel.fragments` in {spec}"),
        (_, None) => String::new(),
    };
    format!("{what} needs {option}, which the image's kernel does not have{hint}")
}

/// Why the transcript cannot be in this file; what is in it is lost.
fn console_problem(file: &Utf8Path, args: &QemuArgs) -> Option<String> {
    let same =
        |other: &Utf8Path| file.canonicalize().is_ok_and(|file| other.canonicalize().is_ok_and(|other| file == other));
    if args.volumes.iter().any(|volume| same(&volume.file)) {
        return Some(format!("`--console {file}` would overwrite a volume"));
    }
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.is_dir() => Some(format!("`--console {file}` is a folder\nhint: name a file in it")),
        Ok(metadata) if metadata.permissions().readonly() => Some(format!("`--console {file}` is read-only")),
        Ok(_) => None,
        Err(_) => {
            let folder = file.parent().filter(|folder| !folder.as_str().is_empty())?;
            (!folder.is_dir()).then(|| format!("`--console {file}`: there is no folder `{folder}`"))
        }
    }
}

fn fail_on(problems: &[String]) -> Result<()> {
    match problems {
        [] => Ok(()),
        [one] => bail!("failed to prepare the machine: {one}"),
        many => bail!("failed to prepare the machine:\n  {}", many.join("\n  ")),
    }
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
