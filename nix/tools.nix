# The host tools of xtask/src/toolbox/table.rs, and those for media. A test compares the two lists.
{
  lib,
  pkgs,
  toolchain,
}:
let
  # What the kernel's host programs are linked with.
  libraries = [
    pkgs.elfutils
    pkgs.openssl
  ];

  # xtask runs build tools with an empty environment, and so without the variables by which a Nix shell leads gcc to
  # libraries. This gcc has their places built in. `-B` is what `gcc -print-file-name` looks through, `-L` what Nix's ld
  # makes the run path of. Headers come last, so that they hide nobody's.
  gcc = pkgs.wrapCCWith {
    inherit (pkgs.gcc) cc;
    nixSupport = {
      cc-cflags = lib.concatMap (library: [
        "-B${lib.getLib library}/lib/"
        "-idirafter"
        "${lib.getDev library}/include"
      ]) libraries;
      # After the shared C library, so that only what asks for `-static` (the tests' programs) gets the other one.
      cc-ldflags = map (library: "-L${lib.getLib library}/lib") libraries ++ [ "-L${pkgs.glibc.static}/lib" ];
    };
  };

  # The command alone: its other names would hide the real ones.
  busybox = pkgs.linkFarm "busybox" [
    {
      name = "bin/busybox";
      path = "${pkgs.pkgsStatic.busybox}/bin/busybox";
    }
  ];
in
[
  toolchain
  gcc
  busybox
]
++ (with pkgs; [
  # the kernel, musl, the programs
  bash
  bc
  binutils
  bison
  bubblewrap
  coreutils
  diffutils
  findutils
  flex
  gawk
  gnugrep
  gnum4
  gnumake
  gnused
  go
  gzip
  lz4
  perl
  xz
  zstd

  # machines, disks, media
  dosfstools
  e2fsprogs
  qemu
  xorriso

  # second opinions in the tests
  cpio
  diffoscope
  dnsmasq
  file
  gnupg
  iproute2
  libarchive
  minisign
  nix
  python3
  python3Packages.jsonschema
  util-linux
])
