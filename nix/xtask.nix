# xtask, compiled by Nix with the pinned toolchain, and those of its tests that need no machine and no kernel.
{
  lib,
  pkgs,
  toolchain,
}:
let
  platform = pkgs.makeRustPlatform {
    cargo = toolchain;
    rustc = toolchain;
  };
  inherit ((builtins.fromTOML (builtins.readFile ../Cargo.toml)).workspace.package) version;
  build =
    arguments:
    platform.buildRustPackage (
      {
        inherit version;
        cargoLock.lockFile = ../Cargo.lock;
      }
      // arguments
    );
in
{
  xtask = build {
    pname = "xtask";
    # Of the programs cargo wants to see that they are there.
    src = lib.fileset.toSource {
      root = ../.;
      fileset = lib.fileset.unions [
        ../Cargo.lock
        ../Cargo.toml
        ../apps
        ../cache
        ../init
        ../xtask/Cargo.toml
        ../xtask/src
      ];
    };
    cargoBuildFlags = [ "--package=xtask" ];
    doCheck = false;
  };

  # Every other test runs build tools in namespaces, or boots machines: `cargo xtask test` in `nix develop`.
  tests = build {
    pname = "pid1-tests";
    src = ../.;
    buildPhase = "cargo test --offline --package init --lib && cargo test --offline --package xtask --test tidy";
    installPhase = "touch $out";
    doCheck = false;
  };

  format = pkgs.runCommand "pid1-format" { nativeBuildInputs = [ toolchain ]; } ''
    cd ${../.}
    export CARGO_HOME=$TMPDIR
    cargo fmt --all --check
    touch $out
  '';
}
