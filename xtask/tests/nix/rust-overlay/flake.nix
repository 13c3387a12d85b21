# Stands in for github:oxalica/rust-overlay in the tests: what flake.nix uses of it, and nothing else.
{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";

  outputs =
    { self, nixpkgs }:
    {
      # rust-overlay: flake.nix, `overlays.default`; lib/rust-bin.nix, `fromRustupToolchainFile`.
      overlays.default = final: previous: {
        rust-bin.fromRustupToolchainFile =
          path:
          let
            inherit (builtins.fromTOML (builtins.readFile path)) toolchain;
          in
          derivation {
            inherit (final.stdenv.hostPlatform) system;
            inherit (toolchain) components;
            name = "rust-default-${toolchain.channel}";
            builder = "/bin/sh";
          };
      };
    };
}
