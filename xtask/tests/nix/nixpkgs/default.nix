# `import nixpkgs { system, overlays }`: the packages that flake.nix names, each as an empty derivation of that name.
{ system, overlays }:
let
  lib = import ./lib.nix;

  package =
    name:
    derivation {
      inherit name system;
      builder = "/bin/sh";
    };
  # A package with further outputs, each a derivation of its own here.
  withOutputs =
    name: outputs: package name // lib.genAttrs outputs (output: package "${name}.${output}");
  # A derivation made by a function; what it was given is in its environment.
  made =
    name: arguments:
    derivation (
      {
        inherit name system;
        builder = "/bin/sh";
      }
      // arguments
    );
  pinned =
    name: url: sha256:
    derivation {
      inherit name url;
      system = "builtin";
      builder = "builtin:fetchurl";
      outputHashMode = "flat";
      outputHashAlgo = "sha256";
      outputHash = sha256;
    };

  # pkgs/by-name/XX/NAME/package.nix, XX being the name's first two letters.
  byName = lib.genAttrs [
    "bc"
    "bison"
    "bubblewrap"
    "coreutils"
    "cpio"
    "diffutils"
    "dnsmasq"
    "dosfstools"
    "e2fsprogs"
    "file"
    "findutils"
    "gnugrep"
    "gnum4"
    "gnumake"
    "gzip"
    "iproute2"
    "libarchive"
    "lz4"
    "minisign"
    "nixfmt-tree"
    "qemu"
    "util-linux"
    "xorriso"
    "xz"
  ] package;

  # pkgs/top-level/all-packages.nix
  topLevel = lib.genAttrs [
    "bash"
    "binutils"
    "diffoscope"
    "flex"
    "gawk"
    "gnupg"
    "gnused"
    "go"
    "nix"
    "perl"
    "python3"
    "zstd"
  ] package;

  packages = byName // topLevel // {
    stdenv.hostPlatform = { inherit system; };

    # pkgs/by-name/el/elfutils, pkgs/development/libraries/{openssl,glibc}, pkgs/applications/virtualization/OVMF
    elfutils = withOutputs "elfutils" [ "dev" ];
    openssl = withOutputs "openssl" [ "dev" ];
    glibc = withOutputs "glibc" [ "dev" "static" ];
    OVMF = withOutputs "OVMF" [ "fd" ];

    # pkgs/top-level/stage.nix; pkgs/os-specific/linux/busybox
    pkgsStatic.busybox = package "pkgsStatic.busybox";

    # pkgs/top-level/python-packages.nix; pkgs/development/python-modules/jsonschema
    python3Packages.jsonschema = package "python3Packages.jsonschema";

    # pkgs/top-level/all-packages.nix: `gcc`, a wrapper, whose `cc` is the compiler proper; `wrapCCWith`, whose arguments
    # reach pkgs/build-support/cc-wrapper/default.nix.
    gcc.cc = package "gcc.cc";
    wrapCCWith =
      { cc, nixSupport }:
      made "gcc" {
        inherit cc;
        text = toString (map (file: [ "${file}:" nixSupport.${file} ]) (builtins.attrNames nixSupport));
      };

    # pkgs/build-support/mkshell/default.nix
    mkShellNoCC =
      { packages, shellHook, OVMF }:
      made "nix-shell" {
        nativeBuildInputs = packages;
        inherit shellHook OVMF;
      };

    # pkgs/build-support/trivial-builders/default.nix
    linkFarm = name: entries: made name { text = builtins.toJSON entries; } // { inherit entries; };
    runCommand =
      name: environment: buildCommand:
      made name (removeAttrs environment [ "passthru" ] // { inherit buildCommand; }) // environment.passthru or { };
    writeShellScript = name: text: made name { inherit text; };

    # pkgs/build-support/fetchurl/default.nix, pkgs/build-support/rust/fetchcrate.nix
    fetchurl = { url, sha256 }: pinned (baseNameOf url) url sha256;
    fetchCrate =
      { pname, version, sha256, unpack }:
      if unpack then throw "the .crate file itself is wanted" else pinned "${pname}-${version}" "crate:${pname}" sha256;

    # pkgs/development/compilers/rust/make-rust-platform.nix; its buildRustPackage is
    # pkgs/build-support/rust/build-rust-package/default.nix
    makeRustPlatform =
      { cargo, rustc }:
      {
        buildRustPackage =
          {
            pname,
            version,
            src,
            cargoLock,
            cargoBuildFlags ? [ ],
            buildPhase ? "",
            installPhase ? "",
            doCheck ? true,
          }:
          made "${pname}-${version}" {
            inherit cargo rustc src cargoBuildFlags buildPhase installPhase doCheck;
            cargoLock = "${cargoLock.lockFile}";
          };
      };
  };
in
builtins.foldl' (previous: overlay: previous // overlay packages previous) packages overlays
