# Stands in for github:NixOS/nixpkgs (nixos-25.11) in the tests. It has what flake.nix uses and nothing else: another name
# is an error. Where each name is in nixpkgs is said beside it.
{
  outputs = { self }: { lib = import ./lib.nix; };
}
