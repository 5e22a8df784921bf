# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# The derivations of make-system: systems as `nixos-rebuild build` makes them, as far as rofs-vm can tell.
{ linux, busybox }:
let
  builder = builtins.path { path = ./system-builder; name = "builder"; };
  build = name: args: derivation ({
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-eu" builder ];
    PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
    what = name;
    busybox = builtins.storePath busybox;
  } // args);
  kernel = builtins.path { path = linux + "/kernel"; name = "linux-6.12"; };
  modules = builtins.path { path = linux + "/modules"; name = "linux-6.12-modules"; };
  nix = build "nix-2.8" { what = "nix"; };
  system = args: build "nixos-system-test-25.11" ({
    what = "system";
    inherit kernel modules nix;
    own = "no";
  } // args);
  initrd = builtins.path { path = linux + "/initrd"; name = "initrd"; };
in
build "systems" {
  inherit nix;
  # With nothing in it that knows of virtual machines ...
  plain = system { };
  # ... and one that mounts the store for itself, as with microvm.nix's guest module.
  own = system { own = "yes"; inherit initrd; };
}
