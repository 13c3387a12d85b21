//! Every host tool that pid1 runs, and the packages that bring them.

/// A tool as [`TOOLS`] names it.
pub type ToolName = &'static str;

/// How a tool is found and recognized.
pub enum Kind {
    /// A command on the user's `PATH`.
    Command,
    /// A command of the Rust toolchain that runs xtask.
    Rust,
    /// A library with its headers, found by asking gcc for this file.
    Library(&'static str),
}

/// Tools that come in one package.
pub struct Package {
    /// Their names.
    pub tools: &'static [ToolName],
    /// How they are found.
    pub kind: Kind,
    /// What the tools are for, for the user.
    pub purpose: &'static str,
    /// The package's name for apt, dnf, pacman and nix.
    pub names: [&'static str; 4],
}

impl Package {
    /// Whether the tool comes in this package.
    pub fn has(&self, tool: ToolName) -> bool {
        self.tools.contains(&tool)
    }
}

const fn package(tools: &'static [ToolName], purpose: &'static str, names: [&'static str; 4]) -> Package {
    Package { tools, kind: Kind::Command, purpose, names }
}

const fn library(
    tool: &'static [ToolName],
    file: &'static str,
    purpose: &'static str,
    names: [&'static str; 4],
) -> Package {
    Package { tools: tool, kind: Kind::Library(file), purpose, names }
}

/// Every host tool that any step runs, by package. Rust's own come with rustup.
pub const TOOLS: &[Package] = &[
    Package { tools: RUST, kind: Kind::Rust, purpose: "Rust programs", names: ["rustup"; 4] },
    package(&[BWRAP], "closing build tools in", ["bubblewrap"; 4]),
    package(GCC, "the kernel, musl, linking", ["gcc", "gcc", "gcc", "gcc"]),
    package(BINUTILS, "the kernel, musl, linking", ["binutils", "binutils", "binutils", "binutils"]),
    package(&["make"], "the kernel, musl", ["make", "make", "make", "gnumake"]),
    package(&["flex"], "the kernel's configuration tool", ["flex"; 4]),
    package(&["bison"], "the kernel's configuration tool", ["bison"; 4]),
    package(&["bc"], "the kernel's time constants", ["bc"; 4]),
    package(&["m4"], "the kernel's configuration tool", ["m4", "m4", "m4", "gnum4"]),
    package(&["perl"], "the kernel's scripts", ["perl"; 4]),
    package(&["xz"], "the kernel's compression", ["xz-utils", "xz", "xz", "xz"]),
    package(&["gzip"], "the kernel's embedded configuration", ["gzip"; 4]),
    package(&["zstd"], "the kernel's compression", ["zstd"; 4]),
    package(&["lz4"], "the kernel's compression", ["lz4"; 4]),
    package(&["sed"], "build scripts", ["sed", "sed", "sed", "gnused"]),
    package(&["grep"], "build scripts", ["grep", "grep", "grep", "gnugrep"]),
    package(&["awk"], "build scripts", ["mawk", "gawk", "gawk", "gawk"]),
    package(&["find", "xargs"], "build scripts", ["findutils"; 4]),
    package(&["cmp", "diff"], "build scripts", ["diffutils"; 4]),
    package(&["sh"], "build scripts", ["dash", "bash", "bash", "bash"]),
    package(COREUTILS, "build scripts", ["coreutils"; 4]),
    library(
        &["libc"],
        "libc_nonshared.a",
        "the kernel's host programs",
        ["libc6-dev", "glibc-devel", "glibc", "glibc.dev"],
    ),
    library(
        &["libelf"],
        "libelf.so",
        "the kernel's objtool",
        ["libelf-dev", "elfutils-libelf-devel", "libelf", "elfutils.dev"],
    ),
    library(
        &["libcrypto"],
        "libcrypto.so",
        "certificates in larger kernels",
        ["libssl-dev", "openssl-devel", "openssl", "openssl.dev"],
    ),
    package(&["go"], "Go programs", ["golang-go", "golang", "go", "go"]),
    package(&[QEMU], "booting the image", ["qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86", "qemu"]),
    package(&[MKE2FS], "volumes with ext4", ["e2fsprogs"; 4]),
    package(&[MKFS_VFAT], "volumes with FAT", ["dosfstools"; 4]),
    package(&[GPGV], "the signature of kernel.org's checksums", ["gpgv", "gnupg2", "gnupg", "gnupg"]),
    package(&["gpg"], "the tests: a key of their own", ["gnupg", "gnupg2", "gnupg", "gnupg"]),
    package(&["cpio"], "the tests: a second reader of the initramfs", ["cpio"; 4]),
    package(
        &["bsdtar"],
        "the tests: a third reader of the initramfs",
        ["libarchive-tools", "bsdtar", "libarchive", "libarchive"],
    ),
    package(&["file"], "the tests: a second opinion on binaries", ["file"; 4]),
    package(
        &["busybox"],
        "the tests: a static program from elsewhere",
        ["busybox-static", "busybox", "busybox", "pkgsStatic.busybox"],
    ),
    package(
        &["diffoscope"],
        "the tests: a second opinion on what is the same",
        ["diffoscope-minimal", "diffoscope", "diffoscope", "diffoscope"],
    ),
    package(&["dnsmasq"], "the tests: a DHCP server", ["dnsmasq-base", "dnsmasq", "dnsmasq", "dnsmasq"]),
    package(&["nix"], "the tests: does flake.nix evaluate", ["nix-bin", "nix", "nix", "nix"]),
    package(&["minisign"], "the tests: a second opinion on signatures", ["minisign"; 4]),
    package(
        &["jsonschema"],
        "the tests: does the manifest keep to its schema?",
        ["python3-jsonschema", "python3-jsonschema", "python-jsonschema", "python3Packages.jsonschema"],
    ),
    package(&["python3"], "the tests: another writer of JSON", ["python3", "python3", "python", "python3"]),
    package(&["unshare"], "the tests: a small disk of their own", ["util-linux"; 4]),
    package(&["mount"], "the tests: a small disk of their own", ["mount", "util-linux", "util-linux", "util-linux"]),
    package(&["ip"], "the tests: a network of their own", ["iproute2", "iproute", "iproute2", "iproute2"]),
];

/// The sandbox.
pub const BWRAP: ToolName = "bwrap";
/// The machine emulator.
pub const QEMU: ToolName = "qemu-system-x86_64";
/// Makes ext4.
pub const MKE2FS: ToolName = "mke2fs";
/// Makes FAT.
pub const MKFS_VFAT: ToolName = "mkfs.vfat";
/// Judges signatures.
pub const GPGV: ToolName = "gpgv";
/// What every Rust program is built with.
pub const RUST: &[ToolName] = &["rustc", "cargo"];
/// The C compiler, under both names that build systems call.
pub const GCC: &[ToolName] = &["gcc", "cc", "cpp"];
/// The assembler, the linker and their friends.
pub const BINUTILS: &[ToolName] = &["as", "ld", "ar", "nm", "objcopy", "objdump", "strip", "readelf", "ranlib", "size"];
/// What shell scripts take for granted.
pub const COREUTILS: &[ToolName] = &[
    "basename",
    "cat",
    "chmod",
    "cp",
    "cut",
    "date",
    "dirname",
    "echo",
    "env",
    "expr",
    "false",
    "head",
    "install",
    "ln",
    "ls",
    "mkdir",
    "mktemp",
    "mv",
    "nproc",
    "od",
    "printf",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "sha1sum",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "tail",
    "tee",
    "test",
    "touch",
    "tr",
    "true",
    "truncate",
    "uname",
    "uniq",
    "wc",
    "whoami",
    "id",
];
