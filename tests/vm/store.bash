# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# What make-store and store-op have in common: running Nix on the store below a directory. Sourced by them.

# nix_in DIR COMMAND [ARG...]: runs a Nix command on the store DIR/nix/store, whose paths are named /nix/store/...: in a
# mount namespace of its own, DIR/nix is /nix. So Nix writes the files straight to where the server reads them, which
# its chroot stores (--store DIR) do not: they build elsewhere and move. A /nix of this machine is neither seen nor touched.
nix_in() {
    local dir
    dir=$(realpath "$1")
    shift
    mkdir -p "$dir"/nix/{store,var/nix,var/log} "$dir/home"
    [[ -d /nix ]] || mkdir /nix
    # shellcheck disable=SC2016 # the inner shell expands it
    env -i PATH="$PATH" HOME="$dir/home" LC_ALL=C.UTF-8 USER=root NIX_STORE_DIR=/nix/store NIX_STATE_DIR=/nix/var/nix \
        NIX_LOG_DIR=/nix/var/log/nix NIX_CONF_DIR="$dir/home" NIX_REMOTE='' NIX_CONFIG='
sandbox = false
substitute = false
build-users-group =
auto-optimise-store = false
fsync-metadata = false
use-sqlite-wal = true' \
        unshare -m --wd / /bin/sh -c 'mount --bind "$0/nix" /nix && exec "$@"' "$dir" "$@"
}
