//! What the host lacks, all of it at once, with the command that mends it on this host.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::report::Reporter;
use crate::toolbox::{self, Missing, ToolName};

/// A package manager: its command, its column in [`toolbox::Package::names`], and how it installs.
struct Manager {
    command: &'static str,
    column: usize,
    /// Commands that must run before, such as fetching the list of packages.
    before: &'static [&'static [&'static str]],
    install: &'static [&'static str],
    needs_root: bool,
}

const MANAGERS: [Manager; 4] = [
    Manager {
        command: "apt-get",
        column: 0,
        before: &[&["apt-get", "update", "--quiet"]],
        install: &["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"],
        needs_root: true,
    },
    Manager { command: "dnf", column: 1, before: &[], install: &["dnf", "install", "--assumeyes"], needs_root: true },
    Manager {
        command: "pacman",
        column: 2,
        before: &[],
        install: &["pacman", "-Sy", "--noconfirm", "--needed"],
        needs_root: true,
    },
    Manager { command: "nix", column: 3, before: &[], install: &["nix", "profile", "install"], needs_root: false },
];

/// What a verb does about missing tools.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Say what is missing and how to get it; change nothing.
    Tell,
    /// Install it.
    Install,
}

/// Makes sure that all `tools` are there: installs the missing ones, or fails with the list and the command.
pub fn require(tools: &BTreeSet<ToolName>, policy: Policy, reporter: &Reporter) -> Result<()> {
    let missing = toolbox::missing(tools);
    if missing.is_empty() {
        return Ok(());
    }
    let Some(manager) = MANAGERS.iter().find(|manager| toolbox::is_on_path(manager.command)) else {
        bail!("{}\nhint: none of apt-get, dnf, pacman and nix is here; install what is listed by hand", list(&missing));
    };
    let commands = commands(manager, &missing, rustix::process::geteuid().is_root());
    if policy == Policy::Tell {
        let lines: Vec<String> = commands.iter().map(|command| command.join(" ")).collect();
        bail!("{}\nhint: run again with --yes, or run: {}", list(&missing), lines.join(" && "));
    }
    for command in &commands {
        install(command, reporter)?;
    }
    let still = toolbox::missing(tools);
    if still.is_empty() {
        Ok(())
    } else {
        // Nix's gcc looks for libraries where it was told when it was built, and the flake's was told.
        let hint = match manager.command {
            "nix" => "run it in `nix develop`, which has all of them",
            _ => "they were installed just now, and are still not found on PATH",
        };
        bail!("{}\nhint: {hint}", list(&still))
    }
}

fn list(missing: &[Missing]) -> String {
    let line = |missing: &Missing| format!("\n  {:<20} for {}", missing.tool, missing.package.purpose);
    format!("{} host tools are missing:{}", missing.len(), missing.iter().map(line).collect::<String>())
}

/// The commands that install the packages, in order.
fn commands(manager: &Manager, missing: &[Missing], is_root: bool) -> Vec<Vec<String>> {
    let mut names: Vec<String> = missing
        .iter()
        .filter_map(|missing| missing.package.names.get(manager.column))
        .map(|name| (*name).to_owned())
        .collect();
    if manager.command == "nix" {
        names.iter_mut().for_each(|name| name.insert_str(0, "nixpkgs#"));
    }
    names.sort();
    names.dedup();
    let sudo: &[&str] = if manager.needs_root && !is_root { &["sudo"] } else { &[] };
    let whole =
        |command: &[&str]| -> Vec<String> { sudo.iter().chain(command).map(|word| (*word).to_owned()).collect() };
    let mut commands: Vec<_> = manager.before.iter().map(|command| whole(command)).collect();
    commands.push(whole(manager.install).into_iter().chain(names).collect());
    commands
}

fn install(command: &[String], reporter: &Reporter) -> Result<()> {
    let line = command.join(" ");
    reporter.say(&format!("doctor: {line}"));
    let (program, args) = command.split_first().context("an empty command")?;
    let mut child = Command::new(program);
    // Package managers print a lot; it belongs to people, not to stdout's data.
    child.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdout(std::io::stderr());
    let status = child.status().with_context(|| format!("failed to run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed with {status}\nhint: read what it printed above");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(tools: &[ToolName]) -> Vec<Missing> {
        let package = |tool: &ToolName| toolbox::TOOLS.iter().find(|package| package.has(tool)).unwrap();
        tools.iter().map(|tool| Missing { tool, package: package(tool) }).collect()
    }

    fn check(manager: &str, is_root: bool, expect: &[&str]) {
        let manager = MANAGERS.iter().find(|known| known.command == manager).unwrap();
        let commands = commands(manager, &missing(&["libelf", "flex", "cmp", "diff"]), is_root);
        assert_eq!(commands.iter().map(|command| command.join(" ")).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn every_manager_gets_its_own_names_and_sudo_when_needed() {
        let apt = "apt-get install --yes --quiet --no-install-recommends diffutils flex libelf-dev";
        check("apt-get", true, &["apt-get update --quiet", apt]);
        check("apt-get", false, &["sudo apt-get update --quiet", &format!("sudo {apt}")]);
        check("dnf", true, &["dnf install --assumeyes diffutils elfutils-libelf-devel flex"]);
        check("pacman", true, &["pacman -Sy --noconfirm --needed diffutils flex libelf"]);
        check("nix", false, &["nix profile install nixpkgs#diffutils nixpkgs#elfutils.dev nixpkgs#flex"]);
    }

    #[test]
    fn the_list_says_what_each_is_for() {
        assert!(list(&missing(&["flex"])).contains("flex                 for the kernel's configuration tool"));
    }
}
