# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# What rofs-vm reads of a `config.microvm` of microvm.nix:
#
#     nix eval --json .#nixosConfigurations.NAME.config.microvm --apply "import ./microvm.nix" > NAME.json
#
# `nix eval --json` alone cannot print one: it has all of nixpkgs in it (`vmHostPackages`), and options
# without a value, as `macvtap.link` of an interface that is none.
let
  plain =
    value:
    let
      tried = builtins.tryEval value;
    in
    if tried.success then data tried.value else null;
  data =
    value:
    if builtins.isFunction value then
      null
    else if builtins.isList value then
      map plain value
    else if !builtins.isAttrs value then
      value
    else if value ? outPath then
      plain value.outPath
    else
      builtins.mapAttrs (_: plain) value;
in
microvm:
data (
  removeAttrs microvm [
    "vmHostPackages"
    "deploy"
  ]
)
