# The default image, built by xtask inside Nix's own sandbox. There is no network: what xtask would fetch, Nix fetches
# before, by the same hashes, and lays it into vendor/, where xtask looks first.
#
# Where Nix's sandbox does not let xtask make its own inside it, xtask says so, goes on, and the manifest says
# `hermetic: false`. The build is closed all the same, by Nix.
{
  lib,
  pkgs,
  tools,
  xtask,
}:
let
  read = file: builtins.fromTOML (builtins.readFile file);

  # Each pin from upstream. Its `debian:` sources are paths on the host's own mirrors, and Nix knows none.
  pin =
    name: pin:
    let
      missing = throw "vendor/sources.toml has no https source of ${name}";
      source = lib.findFirst (source: lib.hasPrefix "https://" source.url) missing pin.source;
    in
    {
      name = baseNameOf source.url;
      path = pkgs.fetchurl { inherit (source) url sha256; };
    };

  crate = package: {
    name = "crates/${package.name}-${package.version}.crate";
    path = pkgs.fetchCrate {
      pname = package.name;
      inherit (package) version;
      sha256 = package.checksum;
      unpack = false;
    };
  };

  # What init and the program reach in Cargo.lock, which names a dependency `name` or `name version`.
  locked = (read ../Cargo.lock).package;
  find =
    dependency:
    map (package: package // { key = "${package.name} ${package.version}"; }) (
      lib.filter (package: dependency == package.name || dependency == "${package.name} ${package.version}") locked
    );
  reached = builtins.genericClosure {
    startSet = lib.concatMap find [
      "hello"
      "init"
    ];
    operator = package: lib.concatMap find (package.dependencies or [ ]);
  };

  crates = lib.filter (package: package ? checksum) (reached ++ (read ../vendor/rust-library.lock).package);
  vendor = pkgs.linkFarm "pid1-vendor" (lib.mapAttrsToList pin (read ../vendor/sources.toml) ++ map crate crates);

  # What the image is made of, and what xtask reads: not its own source, which is in `xtask`.
  checkout = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../Cargo.lock
      ../Cargo.toml
      ../apps
      ../cache/Cargo.toml
      ../images
      ../init
      ../kernel-configs
      ../rust-toolchain.toml
      ../vendor/rust-library.lock
      ../vendor/sources.toml
      ../xtask/Cargo.toml
    ];
  };
in
pkgs.runCommand "pid1-hello"
  {
    nativeBuildInputs = tools;
    passthru = { inherit checkout vendor; };
  }
  ''
    cp --recursive --no-preserve=mode ${checkout} checkout
    ln --symbolic ${vendor}/* checkout/vendor/
    cd checkout
    export PATH=${lib.makeBinPath tools}:$PATH
    export PID1_STORE=$NIX_BUILD_TOP/store
    ${xtask}/bin/xtask image hello --offline --out $out
  ''
