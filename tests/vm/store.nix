# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# The derivations of make-store, built by the host's /bin/sh with store-builder.
{ entries, big ? false }:
let
  builder = builtins.path { path = ./store-builder; name = "builder"; };
  build = name: args: derivation ({
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-eu" builder ];
    PATH = "/usr/bin:/bin";
    what = name;
  } // args);
  busyboxBinary = builtins.path { path = /usr/bin/busybox; name = "busybox-binary"; };

  bigDirectory = entries >= 60000;
  # The others hold about 650.
  rest = if entries < 750 then 100 else entries - 650 - (if bigDirectory then 50000 else 0);
  treeSize = if rest > 20000 then 5000 else 500;
  trees = if rest < treeSize then 1 else rest / treeSize;

  packages = rec {
    busybox = build "busybox-1.35" { what = "busybox"; inherit busyboxBinary; };
    hello = build "hello-1.0" { what = "hello"; inherit busybox; };
    names = build "names" { };
    deep = build "deep" { };
    links = build "links" { inherit hello; };
    files = build "files" { };
  }
  // builtins.listToAttrs (builtins.genList (i: {
    name = "tree-${toString i}";
    value = build "tree-${toString i}" { what = "tree"; number = i; count = rest / trees; };
  }) trees)
  // (if bigDirectory then { many = build "many" { count = 50000; }; } else { })
  // (if big then { sparse = build "sparse" { }; } else { });
in
# One path that refers to all others, as a system's profile does; the garbage collector's root.
build "everything" {
  packages = builtins.concatStringsSep "\n" (map (name: "${name} ${packages.${name}}") (builtins.attrNames packages));
}
