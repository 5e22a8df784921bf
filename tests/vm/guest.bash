# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# What run-qemu and run-uml have in common: arguments, initrd, timeout, exit status. Sourced by them.
#
#   run-qemu [SOCKET] [OPTION...]      run-uml [SOCKET] [OPTION...]
#
# SOCKET is the vhost-user socket of the share `store`, mounted at /nix/store. Options:
#   --share SOCKET:TAG[:AT]  another share, mounted at AT (default /mnt/TAG); repeatable
#   --tag TAG, --at PATH     of the first share
#   --opts OPTIONS           mount options of all shares (default ro)
#   --no-mount               the devices are there, the command mounts them
#   --sh TEXT                run this shell text
#   --run PATH               run this program of the initrd or of a share
#   --file FILE=/PATH        put a file into the initrd; repeatable
#   --initrd FILE            take this initrd (of make-initrd), with --sh and --file added to it
#   --out FILE               FILE gets what the command writes to /dev/rofs-out (faster than the console)
#   --mem M                  memory in MiB (default 512)
#   --smp N                  processors (QEMU only; default 1)
#   --queues N               request queues (QEMU only; default 1)
#   --device NAME            fs: QEMU's vhost-user-fs-pci (QEMU only; the default)
#                            test: Debian sid's QEMU with vhost-user-test-device-pci, which has DAX windows; the
#                            server must be given --tag, and --queues as here
#   --timeout SECONDS        default 120
#   --append WORDS           more words for the kernel's command line
#   --verbose                show the kernel's messages
#   --  ARG...               more arguments for QEMU or linux.uml
# The guest's console is stdout, and stdin from ROFS-BEGIN on. Exit status: that of the command; 120 a share did not mount; 124 timeout;
# 125 the guest ended (or never began) without a status.

guest_arguments() {
    name=$(basename "$0")
    here=$(cd "$(dirname "$0")" && pwd)
    vm=${ROFS_VM_DIR:-$(realpath -m "$here/../../target/vm")}
    sockets=() tags=() words=() files=() extra=()
    tag=store at=/nix/store opts=ro initrd='' out='' mem=512 smp=1 queues=1 device=fs timeout=120 verbose=no mount=yes run=''
    work=$(mktemp -d /tmp/rofs-guest.XXXXXX)
    trap 'rm -rf "$work"' EXIT
    local first='' rest
    if [[ $# -gt 0 && $1 != -* ]]; then
        first=$1
        shift
    fi
    while [[ $# -gt 0 ]]; do
        case $1 in
        --verbose) verbose=yes; shift; continue ;;
        --no-mount) mount=no; shift; continue ;;
        --) shift; extra=("$@"); break ;;
        --help) sed -n '6,33s/^# \{0,1\}//p' "$here/guest.bash"; exit 0 ;;
        esac
        [[ $# -ge 2 ]] || usage_error "$1 is unknown or lacks its value"
        case $1 in
        --share)
            [[ $2 == *:* ]] || usage_error "--share wants SOCKET:TAG[:AT]"
            rest=${2#*:}
            sockets+=("${2%%:*}")
            tags+=("${rest%%:*}")
            [[ $rest == *:* ]] && rest=${rest#*:} || rest=/mnt/$rest
            words+=("rofs.share=${tags[-1]}:$rest")
            ;;
        --tag) tag=$2 ;;
        --at) at=$2 ;;
        --opts) opts=$2 ;;
        --sh) printf '#!/bin/sh\n%s\n' "$2" >"$work/run"; chmod 755 "$work/run"; files+=("$work/run=/rofs-run") ;;
        --run) run=$2 ;;
        --file) files+=("$2") ;;
        --initrd) initrd=$2 ;;
        --out) out=$(realpath "$2") ;;
        --mem) mem=$2 ;;
        --smp) smp=$2 ;;
        --queues) queues=$2 ;;
        --device) device=$2 ;;
        --timeout) timeout=$2 ;;
        --append) words+=("$2") ;;
        *) usage_error "unknown option $1" ;;
        esac
        shift 2
    done
    if [[ -n $first ]]; then
        sockets=("$first" "${sockets[@]}")
        tags=("$tag" "${tags[@]}")
        words+=("rofs.tag=$tag" "rofs.at=$at")
    else
        words+=("rofs.tag=")
    fi
    if [[ $mount == no ]]; then
        words=("${words[@]//rofs.tag=*/rofs.tag=}")
        words=("${words[@]//rofs.share=*/}")
    fi
    words+=("rofs.opts=$opts" "panic=-1" "rdinit=/init")
    [[ -z $run ]] || words+=("rofs.run=$run")
    [[ $verbose == yes ]] || words+=(quiet loglevel=3)
    if [[ -z $initrd ]]; then
        "$here/make-initrd" "$work/initrd" "${files[@]}"
    else
        ln -s "$(realpath "$initrd")" "$work/given"
        if [[ ${#files[@]} -gt 0 ]]; then
            "$here/make-initrd" "$work/more" "${files[@]}"
            cat "$work/given" "$work/more" >"$work/initrd"
        else
            mv "$work/given" "$work/initrd"
        fi
    fi
    [[ -z $out ]] || : >"$out"
}

usage_error() {
    echo "$name: $1 ($name --help)" >&2
    exit 2
}

# guest_run COMMAND...: runs the guest and exits with its command's status.
guest_run() {
    local status statuses
    set +e
    : >"$work/console"
    # Input is held back until somebody reads it: before, the guest's serial driver drops it. It has no end, because
    # UML takes the console away at the end, and comes by a pipe, because UML cannot wait for a file.
    [[ -e /dev/fd/0 ]] || exec </dev/null
    mkfifo "$work/stdin"
    exec 3<>"$work/stdin" 4<&0
    (
        exec 2>/dev/null
        until grep -q ROFS-BEGIN "$work/console"; do sleep 0.05; done
        exec cat <&4 >&3 3<&- 4<&-
    ) >/dev/null &
    # shellcheck disable=SC2064 # the process of now
    trap "kill $! 2>/dev/null; rm -rf '$work'" EXIT
    timeout --foreground -k 5 "$timeout" "$@" <&3 3<&- 4<&- | tee "$work/console" 3<&- 4<&-
    statuses=("${PIPESTATUS[@]}")
    status=$(tr -d '\r' <"$work/console" | sed -n 's/^ROFS-EXIT \([0-9]*\)$/\1/p' | tail -1)
    if [[ -n $status ]]; then
        exit "$status"
    elif [[ ${statuses[0]} == 124 || ${statuses[0]} == 137 ]]; then
        echo "$name: no end after $timeout s" >&2
        exit 124
    fi
    echo "$name: the guest ended without a status (its own exit status: ${statuses[0]})" >&2
    exit 125
}
