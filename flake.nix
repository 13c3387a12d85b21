# pid1 for users of Nix: the pinned tools as a shell, and the default image built by Nix itself.
#
#   nix develop           a shell with every host tool that `cargo xtask` wants, and the pinned Rust
#   nix build .#image     the default image, built in Nix's own sandbox
#   nix run .#qemu        boots that image; what follows `--` goes to `cargo xtask qemu`
#   nix flake check       the tests that need neither a kernel nor a machine
#
# Nothing is pinned here: rust-toolchain.toml, vendor/sources.toml and the lock files are read.
{
  description = "One static program becomes the whole machine";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";
    rust-overlay = {
      url = "github:oxalica/rust-overlay";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs =
    {
      self,
      nixpkgs,
      rust-overlay,
    }:
    let
      inherit (nixpkgs) lib;

      # What each output is made of, by system.
      each = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (
        system:
        let
          pkgs = import nixpkgs {
            inherit system;
            overlays = [ rust-overlay.overlays.default ];
          };
          toolchain = pkgs.rust-bin.fromRustupToolchainFile ./rust-toolchain.toml;
          tools = import ./nix/tools.nix { inherit lib pkgs toolchain; };
          rust = import ./nix/xtask.nix { inherit lib pkgs toolchain; };
        in
        {
          inherit system pkgs tools rust;
          image = import ./nix/image.nix {
            inherit lib pkgs tools;
            inherit (rust) xtask;
          };
        }
      );
      outputs = make: lib.mapAttrs (_: make) each;

      # pid1 builds x86-64 machines with the host's own gcc, and knows no cross compiler yet. An aarch64 machine gets the
      # image from a remote builder or a binary cache, and boots it under QEMU's emulation.
      inherit (each.x86_64-linux) image;
    in
    {
      packages = {
        x86_64-linux = {
          inherit image;
          inherit (each.x86_64-linux.rust) xtask;
          default = image;
        };
        aarch64-linux = {
          inherit (each.aarch64-linux.rust) xtask;
          default = each.aarch64-linux.rust.xtask;
        };
      };

      # `xtask` itself boots the image: what it tells QEMU, and what it makes of the machine's end, is written once. The
      # checkout is only where it reads the image's spec.
      apps = outputs (
        { pkgs, rust, ... }:
        {
          qemu = {
            type = "app";
            meta.description = "boots the default image in QEMU";
            program = "${pkgs.writeShellScript "pid1-qemu" ''
              export PATH=${lib.makeBinPath [ pkgs.qemu ]}:$PATH
              export CARGO_MANIFEST_DIR=${image.checkout}/xtask
              exec ${rust.xtask}/bin/xtask qemu --built ${image} "$@"
            ''}";
          };
        }
      );

      devShells = outputs (
        {
          system,
          pkgs,
          tools,
          ...
        }:
        {
          default = pkgs.mkShellNoCC {
            packages = tools;
            # Where the firmware is that UEFI boots are tried with. On aarch64 it is ARM's own; QEMU brings one for x86-64.
            OVMF = "${pkgs.OVMF.fd}/FV";
            # Ours first: the toolchain brings another gcc along, which finds no library once the environment is cleared.
            shellHook = ''
              export PATH=${lib.makeBinPath tools}:$PATH
            ''
            + lib.optionalString (system != "x86_64-linux") ''
              echo "pid1: images are x86-64 machines, and this host cannot compile them: see nix build .#packages.x86_64-linux.image" >&2
            '';
          };
        }
      );

      checks = outputs ({ rust, ... }: { inherit (rust) xtask format tests; });

      formatter = outputs ({ pkgs, ... }: pkgs.nixfmt-tree);
    };
}
