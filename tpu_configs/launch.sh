#!/usr/bin/env bash
# A Cloud TPU machine with a disk that outlives it, from a laptop; docs/tpu.md.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage() {
    cat <<'TEXT'
usage: launch.sh up|run|status|down [options] [-- COMMAND ...]

  up      makes disk and machine, waits for it, sets it up
  run     the same, then COMMAND on the machine; goes on after preemption; then down
  status  what there is, and what it runs
  down    deletes machine and request; the disk stays

  --accelerator v2-8|v3-8|v5litepod-8|v6e-8   kind of machine (v2-8)
  --zone ZONE      (one that has had the kind)
  --name NAME      of machine, request and disk (mmdiffmask)
  --spot           cheaper, may be taken away
  --queue          wait in line for a machine
  --disk-gb N      size of a new disk (200)
  --read-only      many machines may attach the disk so; runs then lie elsewhere
  --keep           run: leave the machine when COMMAND ends, and on Ctrl-C
  --dry-run        print every command, do nothing

up and run delete the machine again where they are stopped by Ctrl-C.
TEXT
}

say() { printf 'launch%s: %s\n' "${dry:+, dry run}" "$*" >&2; }
fail() { say "$*"; exit 2; }

dry=''
action=${1:-}
[[ $action == -h || $action == --help ]] && { usage; exit 0; }
[[ $action =~ ^(up|run|status|down)$ ]] || { usage >&2; exit 2; }
shift
kind=v2-8 zone='' name=mmdiffmask spot='' queue='' disk_gb=200 mode=read-write
keep='' command=()
while (($#)); do
    case $1 in
        --accelerator | --zone | --name | --disk-gb)
            (($# > 1)) || fail "$1 needs a value"
            case $1 in
                --accelerator) kind=$2 ;;
                --zone) zone=$2 ;;
                --name) name=$2 ;;
                --disk-gb) disk_gb=$2 ;;
            esac
            shift
            ;;
        --spot) spot=1 ;;
        --queue) queue=1 ;;
        --read-only) mode=read-only ;;
        --keep) keep=1 ;;
        --dry-run) dry=1 ;;
        --) shift; command=("$@"); break ;;
        *) fail "$1: no such option; see launch.sh --help" ;;
    esac
    shift
done
# Zones that have had the kind; disks that it takes; the image with its driver.
case $kind in
    v2-8) default=us-central1-b disk_type=pd-balanced image=tpu-ubuntu2204-base ;;
    v3-8) default=europe-west4-a disk_type=pd-balanced image=tpu-ubuntu2204-base ;;
    v5litepod-8) default=us-west4-a disk_type=pd-balanced image=v2-alpha-tpuv5-lite ;;
    v6e-8) default=us-east5-a disk_type=hyperdisk-balanced image=v2-alpha-tpuv6e ;;
    *) fail "--accelerator $kind: must be v2-8, v3-8, v5litepod-8 or v6e-8" ;;
esac
zone=${zone:-$default}
disk=$name-disk
[[ $name =~ ^[a-z]([-a-z0-9]{0,40}[a-z0-9])?$ ]] \
    || fail "--name $name: small letters, digits and hyphens, a letter first"
[[ $disk_gb =~ ^[1-9][0-9]*$ ]] || fail "--disk-gb $disk_gb: must be a whole number"
[[ $action != run || ${#command[@]} -gt 0 ]] \
    || fail "run: name a command after --, such as -- mmdiffmask doctor --device tpu"
[[ $dry ]] || command -v gcloud >/dev/null || fail "gcloud is not installed"

poll_s=${LAUNCH_POLL_S:-30} # seconds between looks
scratch=$(mktemp -d)
errors=$scratch/errors
may_cost='' # a machine was asked for, and whoever ends the script has not deleted it
trap 'rm -rf "$scratch"; [[ ! $may_cost || $dry ]] || say "$name may be there and cost:" \
    "launch.sh down --zone $zone --name $name"' EXIT
exec 3>&1 4>&2
is_started='' was_active=''
is_active='' # what a dry run takes for true: everything goes well
[[ $dry && $action =~ ^(status|down)$ ]] && is_active=1

show() {
    local text
    printf -v text '%q ' "$@"
    printf '%s\n' "${text% }" >&3
}
call() { if [[ $dry ]]; then show "$@"; else "$@"; fi; }
# The answer of a command; a dry run prints the command and answers with $1.
ask() {
    local answer=$1
    shift
    if [[ $dry ]]; then show "$@"; printf '%s\n' "$answer"; else "$@"; fi
}
tpu() { gcloud_tpu=(gcloud compute tpus "$1" "$2" "$name" --zone="$zone" "${@:3}"); }
# A signal ends the wait at once, which it would not end a plain sleep.
pause() { [[ $dry ]] || { sleep "$poll_s" >/dev/null 2>&1 3>&- 4>&- & wait $! || :; }; }

# The state of the request ($1 queued-resources) or the machine (tpu-vm), or NONE.
state_of() {
    local answer format='value(state)' text
    [[ $1 == tpu-vm ]] || format='value(state.state)'
    answer=NONE
    if [[ $is_active ]]; then
        [[ $1 == tpu-vm ]] && answer=READY
        [[ $1 != tpu-vm && $queue ]] && answer=ACTIVE
    fi
    tpu "$1" describe --format="$format"
    if text=$(ask "$answer" "${gcloud_tpu[@]}" 2>"$errors"); then
        printf '%s\n' "${text:-ERROR}"
    elif grep -qiE 'not_found|not found' "$errors"; then
        echo NONE
    else
        echo ERROR
    fi
}

# none, waiting, active, preempted, failed, deleting or error, from both states.
state() {
    local request machine
    request=$(state_of queued-resources)
    machine=$(state_of tpu-vm)
    case $request/$machine in
        *ERROR*) echo error ;;
        *DELETING*) echo deleting ;;
        FAILED/*) echo failed ;;
        SUSPEND*/* | */PREEMPTED | */TERMINATED | */STOPPED | ACTIVE/NONE) echo preempted ;;
        */READY) echo active ;;
        NONE/NONE) echo none ;;
        *) echo waiting ;;
    esac
}

# Deletes request and machine, until neither is there; a name stays taken until then.
remove() {
    local request machine tries=0
    while :; do
        request=$(state_of queued-resources)
        machine=$(state_of tpu-vm)
        [[ $request/$machine == NONE/NONE ]] && { may_cost=''; return; }
        if ((++tries > 20)); then
            may_cost=1
            fail "$name in $zone is still there (request $request, machine $machine)"
        fi
        if [[ $request != NONE && $request != DELETING ]]; then
            tpu queued-resources delete --force --quiet
            call "${gcloud_tpu[@]}" 2>"$errors" || cat "$errors" >&2
        fi
        if [[ $request == NONE && $machine != NONE && $machine != DELETING ]]; then
            tpu tpu-vm delete --quiet
            call "${gcloud_tpu[@]}" 2>"$errors" || cat "$errors" >&2
        fi
        is_active=''
        [[ $dry ]] && return
        pause
    done
}

check_kind() {
    local kinds
    kinds=$(ask "$kind" gcloud compute tpus accelerator-types list --zone="$zone" \
        --format='value(type)' 2>"$errors") || fail "$zone: $(tail -n 1 "$errors")"
    # The docs' kinds of one host alone: others would be several processes.
    kinds=$(grep -xE 'v2-8|v3-8|v5litepod-8|v6e-8' <<<"$kinds" | sort -u | tr '\n' ' ' || :)
    say "$zone has ${kinds:-none of the kinds that this script knows}"
    [[ " $kinds" == *" $kind "* ]] || fail "$zone has no $kind: choose another" \
        "--accelerator or --zone (gcloud compute tpus locations list)"
}

make_disk() {
    local found
    if found=$(ask '' gcloud compute disks describe "$disk" --zone="$zone" \
        --format='value(name)' 2>"$errors"); then
        [[ -z $found ]] || { say "disk $disk is there"; return; }
    elif ! grep -qiE 'not_found|not found' "$errors"; then
        fail "disk $disk: $(tail -n 1 "$errors")"
    fi
    [[ $mode == read-write ]] || [[ $dry ]] || fail "disk $disk is not there yet: fill one" \
        "without --read-only first"
    call gcloud compute disks create "$disk" --zone="$zone" --size="${disk_gb}GB" \
        --type="$disk_type" --quiet 2>"$errors" || fail "disk $disk: $(tail -n 1 "$errors")"
}

# Asks for the machine once. What cannot be mended by waiting ends the script.
make_machine() {
    local project flags=()
    project=$(ask PROJECT gcloud config get-value project 2>"$errors" || :)
    [[ $project ]] || fail "no project: gcloud config set project PROJECT"
    flags+=(--quiet --accelerator-type="$kind")
    flags+=("--data-disk=source=projects/$project/zones/$zone/disks/$disk,mode=$mode")
    [[ $spot ]] && flags+=(--spot)
    may_cost=1
    say "asks for a $kind${spot:+, spot}${queue:+, in line} in $zone"
    if [[ $queue ]]; then
        # A request that nobody waits for any more ends by itself.
        tpu queued-resources create --node-id="$name" --runtime-version="$image" \
            --valid-until-duration=24h "${flags[@]}"
    else
        tpu tpu-vm create --version="$image" "${flags[@]}"
    fi
    if call "${gcloud_tpu[@]}" 2>"$errors"; then
        is_active=$dry
    elif grep -qiE 'already.?exists' "$errors"; then
        say "$name is there already"
        pause
    elif may_cost='' && grep -qi quota "$errors"; then # refused: nothing was made
        cat "$errors" >&2
        fail "the project's quota does not allow a $kind${spot:+, spot} in $zone:" \
            "delete requests that still count (gcloud compute tpus queued-resources list" \
            "--zone=$zone), or ask for more quota"
    elif grep -qiE 'capacity|exhausted|stockout' "$errors"; then
        cat "$errors" >&2
        [[ $was_active ]] || fail "no $kind is free in $zone now: wait in line with --queue"
        pause
    else
        fail "$(tail -n 1 "$errors")"
    fi
}

# Returns when the machine is there, whatever happened to it before.
ensure() {
    local now before='' lost=0 reason
    while :; do
        now=$(state)
        [[ $now == "$before" ]] || say "$name: $now"
        before=$now
        case $now in
            active) was_active=1; return ;;
            none) make_machine ;;
            preempted)
                # It is not queued again by itself, and counts against the quota.
                was_active=1
                [[ $(state_of queued-resources) == NONE ]] || queue=1
                remove
                ;;
            failed)
                tpu queued-resources describe --format='value(state.failedData.error.message)'
                reason=$("${gcloud_tpu[@]}" 2>"$errors" || :)
                remove
                fail "the request failed and was deleted: ${reason:-no reason was said}"
                ;;
            error)
                ((++lost < 5)) || fail "$(tail -n 1 "$errors")"
                pause
                ;;
            *) pause ;;
        esac
    done
}

# The answer of machine.sh on the machine; a dry run answers with $1.
on_machine() {
    local text
    printf -v text '%q ' bash mmdiffmask/tpu_configs/machine.sh "${@:2}"
    tpu tpu-vm ssh --quiet --command="${text% }"
    ask "$1" "${gcloud_tpu[@]}" 2>"$errors"
}

# The files of this checkout that git does not ignore.
pack_source() {
    [[ $dry ]] || {
        git -C "$root" ls-files -co --exclude-standard -z 2>"$errors" \
            | tar -C "$root" --null -T - -czf "$scratch/source.tar.gz" \
                --ignore-failed-read 2>>"$errors"
    } || fail "$root: cannot be packed: $(tail -n 1 "$errors")"
}

copy_source() {
    local unpack='mkdir -p mmdiffmask && tar -xzf source.tar.gz -C mmdiffmask'
    call gcloud compute tpus tpu-vm scp "$scratch/source.tar.gz" "$name:source.tar.gz" \
        --zone="$zone" --quiet 2>"$errors" || return
    tpu tpu-vm ssh --quiet --command="$unpack"
    call "${gcloud_tpu[@]}" 2>"$errors"
}

# Copies the source and makes the environment; returns where the machine is gone, too.
set_up() {
    local answer tries
    for tries in 1 2 3 4 5; do
        answer=''
        ! copy_source || answer=$(on_machine ready setup "$mode") || :
        [[ -z $answer ]] || printf '%s\n' "$answer" >&2
        ! grep -q '^cannot: ' <<<"$answer" || finish 2 "this machine will not do"
        [[ $(tail -n 1 <<<"$answer") != ready ]] || return 0
        cat "$errors" >&2
        [[ $(state) == active ]] || return 0
        say "the machine does not answer as it should ($tries of 5)"
        pause
    done
    finish 2 "the machine could not be set up"
}

# Waits for the command; sets `outcome` to its status, or to "again".
watch() {
    local answer last='' line silent=0
    while :; do
        pause
        if ! answer=$(on_machine 'status 0' poll); then
            if [[ $(state) != active ]]; then outcome=again; return; fi
            ((++silent % 10)) || say "the machine is there but has not answered $silent times"
            continue
        fi
        silent=0
        line=$(tail -n +2 <<<"$answer")
        [[ -z $line || $line == "$last" ]] || printf '%s\n' "$line" >&2
        last=$line
        case $answer in
            running*) ;;
            'status 75'* | absent*) outcome=again; return ;; # stopped, its state saved
            status*) outcome=$(head -n 1 <<<"$answer"); outcome=${outcome#status }; return ;;
            *) say "the machine says: $answer" ;;
        esac
    done
}

finish() {
    trap '' INT TERM
    exec 2>&4 # a signal may have come while errors went to a file
    set +e    # nothing keeps the machine from being deleted
    [[ $# -lt 2 ]] || say "$2"
    if [[ $keep ]]; then
        may_cost=1
    else
        remove
        say "machine deleted; disk $disk in $zone stays (gcloud compute disks delete)"
    fi
    exit "$1"
}
interrupted() {
    trap '' INT TERM
    exec 2>&4
    say "stopped"
    if [[ $is_started && ! $keep ]]; then
        say "asks the command to save and end"
        on_machine ended stop >&2 || :
    fi
    finish 130
}

case $action in
    up | run)
        check_kind
        pack_source
        make_disk
        trap interrupted INT TERM
        outcome=again
        while [[ $outcome == again ]]; do
            ensure
            set_up
            [[ $action == run ]] || { [[ $(state) == active ]] && break; continue; }
            if answer=$(on_machine started start "${command[@]}"); then
                is_started=1
                [[ $answer != cannot:* ]] || keep=1 finish 2 "$answer"
                watch
            fi
        done
        [[ $action == up ]] || finish "$outcome" "the command ended with status $outcome"
        may_cost=1
        say "ready: launch.sh run --keep --zone $zone --name $name -- COMMAND"
        ;;
    status)
        now=$(state)
        say "$name in $zone: $now"
        [[ $now != active && ! $dry ]] || on_machine 'status 0' poll || cat "$errors" >&2
        ;;
    down)
        remove
        say "machine deleted; disk $disk in $zone stays (gcloud compute disks delete)"
        ;;
esac
