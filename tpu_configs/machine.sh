#!/usr/bin/env bash
# What launch.sh does on the machine: setup MODE | start COMMAND ... | poll | stop.
# The first line of an answer is for launch.sh; what follows is for people.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=${MACHINE_WORK:-/mnt/work} # where the disk is mounted
# On the boot disk: a new machine knows nothing of a command that an old one ran.
notes=${MACHINE_NOTES:-$HOME/.launch}
mkdir -p "$notes"
cannot() {
    echo "cannot: $*"
    exit 2
}

mount_disk() {
    local device options=defaults
    mountpoint -q "$work" && return
    device=$(readlink -e /dev/disk/by-id/google-persistent-disk-1) \
        || cannot "the disk is not attached"
    if [[ $1 == read-only ]]; then
        options=ro,noload
    elif ! sudo blkid "$device" >/dev/null; then
        sudo mkfs.ext4 -q -m 0 "$device" # a new disk
    fi
    sudo mkdir -p "$work"
    sudo mount -o "$options" "$device" "$work"
    [[ $1 == read-only ]] || sudo chown "$(id -u):$(id -g)" "$work"
}

make_environment() {
    # The image has Python 3.10 and packages of its own, which must stay out of this.
    export PATH=$HOME/.local/bin:$PATH
    command -v make >/dev/null || sudo apt-get install --quiet --yes make >/dev/null
    command -v uv >/dev/null || python3 -m pip install --quiet --user uv
    uv python install --quiet 3.11
    make --silent -C "$here" venv DEVICE=tpu PYTHON="$(uv python find 3.11)"
}

environment() {
    export PATH=$here/.venv/bin:$PATH JAX_PLATFORMS=${JAX_PLATFORMS:-tpu,cpu}
    [[ -w $work ]] || return 0
    mkdir -p "$work"/{compiled,cache,logs}
    export JAX_COMPILATION_CACHE_DIR=$work/compiled MMDIFFMASK_CACHE=$work/cache
}

is_running() {
    [[ -f $notes/pid && ! -f $notes/status ]] && kill -0 "$(<"$notes/pid")" 2>/dev/null
}

case $1 in
    setup)
        mount_disk "$2"
        make_environment
        environment
        if ! is_running; then # one process at a time may hold the TPU
            report=$(mmdiffmask doctor --device tpu --workdir "$work" 2>&1) || {
                echo "$report"
                if grep -q mmap <<<"$report"; then
                    cannot "this libtpu does not open this board (jax issue 30834); see" \
                        "docs/tpu.md, section 5"
                fi
                cannot "$(tail -n 1 <<<"$report")"
            }
            echo "$report"
        fi
        echo ready
        ;;
    start)
        shift
        printf -v text '%q ' "$@"
        if is_running; then
            [[ $text == "$(<"$notes/command")" ]] \
                || cannot "the machine runs another command: $(<"$notes/command")"
            echo started
            exit
        fi
        environment
        rm -f "$notes/status" "$notes/pid"
        log=$notes/log
        [[ -d $work/logs ]] && log=$work/logs/$(date +%Y%m%d-%H%M%S).log
        echo "$log" >"$notes/log-name"
        echo "$text" >"$notes/command"
        cd "$here"
        # Its own session, so that the end of this connection does not end it.
        # shellcheck disable=SC2016  # the inner shell expands these
        setsid bash -c '
            echo $$ >"$0/pid"
            trap "" HUP
            "$@" & child=$!
            trap "kill -TERM $child" TERM
            wait $child; status=$?
            while kill -0 $child 2>/dev/null; do wait $child; status=$?; done
            echo $status >"$0/status"
        ' "$notes" "$@" >"$log" 2>&1 </dev/null &
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            [[ -s $notes/pid ]] && break
            sleep 0.2
        done
        echo started
        ;;
    poll)
        if [[ -f $notes/status ]]; then
            echo "status $(<"$notes/status")"
        elif is_running; then
            echo running
        else
            echo absent
        fi
        [[ ! -f $notes/log-name ]] || tail -c 2000 "$(<"$notes/log-name")" \
            | tr '\r' '\n' | tail -n 3
        ;;
    stop)
        ! is_running || kill -TERM "$(<"$notes/pid")"
        for _ in {1..300}; do
            is_running || { echo ended; exit; }
            sleep 1
        done
        echo "still running"
        ;;
esac
