# The functions of nixpkgs' `lib` that flake.nix calls, with the arguments that they take there.
let
  inherit (builtins)
    attrNames
    concatStringsSep
    filter
    listToAttrs
    substring
    stringLength
    ;

  # lib/strings.nix
  hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;

  # lib/attrsets.nix: an output by its name, else the first that the others lie in.
  getOutput = output: package: package.${output} or package.out;
in
rec {
  inherit (builtins) concatMap filter; # lib/lists.nix
  inherit (builtins) mapAttrs; # lib/attrsets.nix
  inherit hasPrefix;

  # lib/lists.nix
  findFirst =
    isWanted: default: list:
    let
      found = filter isWanted list;
    in
    if found == [ ] then default else builtins.head found;

  # lib/attrsets.nix
  genAttrs = names: make: listToAttrs (map (name: { inherit name; value = make name; }) names);
  mapAttrsToList = make: set: map (name: make name set.${name}) (attrNames set);
  getBin = getOutput "bin";
  getDev = getOutput "dev";
  getLib = getOutput "lib";

  # lib/strings.nix
  optionalString = condition: text: if condition then text else "";
  makeBinPath = packages: concatStringsSep ":" (map (package: "${getBin package}/bin") packages);

  # lib/fileset/default.nix
  fileset = {
    unions = files: map (file: if builtins.pathExists file then file else throw "no file ${toString file}") files;
    toSource =
      { root, fileset }:
      builtins.path {
        name = "source";
        path = root;
        filter =
          path: _:
          builtins.any (
            file: path == toString file || hasPrefix "${toString file}/" path || hasPrefix "${path}/" (toString file)
          ) fileset;
      };
  };
}
