#!/usr/bin/env bash
# deploy/skerry.service: systemd finds nothing wrong with it; and a systemd of its own, process 1 of a container that has this
# machine's /usr and nothing else of it, starts a node by it, reloads, restarts and stops it. SK_BUILD is the build folder.
# Exit code 77, with a sentence: this machine cannot do that.
set -euo pipefail

root=$(cd -- "$(dirname -- "$0")/../.." && pwd)
build=${SK_BUILD:?the build folder}
work=$(mktemp -d)
container=''
boot=''

finish() {
    [ -z "$container" ] || kill "$container" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap finish EXIT

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    [ -z "$boot" ] || { in_it systemctl status --no-pager skerry && in_it tail -n 20 "$log"; } >&2 || true
    exit 1
}

skip() {
    printf 'skipped: %s\n' "$*" >&2
    exit 77
}

# until_true WHAT COMMAND...: waits for it, half a minute at most.
until_true() {
    local what=$1 tries=300
    shift
    until "$@" >/dev/null 2>&1; do
        ((tries-- > 0)) || fail "waited for: $what"
        sleep 0.1
    done
}

# -- what systemd-analyze says ---------------------------------------------------------------------------------------------

command -v systemd-analyze >/dev/null || skip "there is no systemd-analyze (package systemd)"
sed "s|/usr/local/bin/skerryd|$build/skerryd|" "$root/deploy/skerry.service" >"$work/skerry.service"
said=$(systemd-analyze verify --man=no "$work/skerry.service" 2>&1) || fail "systemd-analyze verify: $said"
[ -z "$said" ] || fail "systemd-analyze verify: $said"

# -- the container ---------------------------------------------------------------------------------------------------------

[ "$(id -u)" -eq 0 ] || skip "starting the unit takes root"
command -v systemd-nspawn >/dev/null || skip "there is no systemd-nspawn (package systemd-container)"
mkdir -p "$work/etc/skerry" "$work/etc/systemd/system" "$work/etc/systemd/system-preset" "$work/etc/systemd/system.conf.d"
echo 'disable *' >"$work/etc/systemd/system-preset/00-nothing-else.preset"
cp "$root/deploy/skerry.service" "$work/etc/systemd/system/"
printf 'root:x:0:0::/:/bin/sh\nskerry:x:7101:7101::/var/lib/skerry:/usr/sbin/nologin\n' >"$work/etc/passwd"
printf 'root:x:0:\nskerry:x:7101:\n' >"$work/etc/group"
cp /etc/os-release "$work/etc/"
"$build/skerryctl" keygen "$work/etc/skerry/node.key" >/dev/null
chown 7101:7101 "$work/etc/skerry/node.key"
chmod 755 "$work/etc" "$work/etc/skerry"
cat >"$work/etc/skerry/skerry.yaml" <<'END'
region: eu
cluster: unit
data_dir: /var/lib/skerry
replication: {key_file: /etc/skerry/node.key}
log: {file: /var/log/skerry/skerryd.log}
END
log=/var/log/skerry/skerryd.log
# What leaks is looked for elsewhere: here it may not be, under SystemCallFilter.
printf '[Manager]\nDefaultEnvironment=ASAN_OPTIONS=detect_leaks=0\n' >"$work/etc/systemd/system.conf.d/sanitizer.conf"

systemd-nspawn --quiet --boot --register=no --keep-unit --private-network --link-journal=no --console=pipe \
    --machine=skerry-unit-$$ --directory=/ --volatile=yes --bind="$work/etc:/etc" --tmpfs=/usr/local/bin \
    --bind-ro="$build/skerryd:/usr/local/bin/skerryd" --bind-ro="$build/skerryctl:/usr/local/bin/skerryctl" \
    systemd.unit=basic.target >"$work/console" 2>&1 </dev/null &
container=$!

in_it() { timeout 20 nsenter --target "$boot" --all "$@"; }
# Its process 1, and not a process on the way there, from which systemctl would ask this machine's systemd.
has_booted() {
    boot=$(pgrep --parent "$container") && grep -q '^NSpid:.*[[:space:]]1$' "/proc/$boot/status" &&
        in_it test -e /etc/systemd/system-preset/00-nothing-else.preset && in_it systemctl --quiet is-active basic.target
}
for ((tries = 300; ; tries--)); do
    ! has_booted 2>/dev/null || break
    kill -0 "$container" 2>/dev/null || skip "no container can be started here: $(tail -n 1 "$work/console")"
    ((tries > 0)) || skip "systemd comes to nothing in a container here: $(tail -n 1 "$work/console")"
    sleep 0.1
done

# -- the unit --------------------------------------------------------------------------------------------------------------

property() { in_it systemctl show --property="$1" --value skerry; }
answers() { in_it redis-cli -p 7101 GET kept | grep -qx 1; }
logged() { in_it sh -c "cat $log.1 $log 2>/dev/null" | grep "$@"; }
# Has a node begun so many times?
began() { [ "$(logged -c ' ready ')" -ge "$1" ]; }
restarted() { [ "$(property NRestarts)" -ge "$1" ]; }
port_is_taken() { in_it bash -c 'exec 3<>/dev/tcp/127.0.0.1/7101'; }

in_it systemctl start skerry || fail "it does not start"
until_true "a node that takes a write" in_it redis-cli -p 7101 SET kept 1
for start in 2 3; do
    in_it systemctl restart skerry || fail "it does not start again"
    until_true "start $start" began "$start"
done
answers || fail "after two restarts the write is gone"

in_it mv "$log" "$log.1"
in_it systemctl reload skerry || fail "it is not told to open its log again"
until_true "a new log file" in_it test -s "$log"

in_it systemctl kill --signal=KILL skerry
until_true "start 4, after kill -9" began 4
[ "$(logged -o 'incarnation=[0-9a-f]*' | sort -u | wc -l)" -eq 1 ] || fail "a restart took a new incarnation"

in_it systemctl stop skerry || fail "it does not stop"
[ "$(property Result) $(property ActiveState)" = "success inactive" ] || fail "it was not stopped the clean way"
[[ $(logged . | tail -n 1) == *node.stopped* ]] || fail "its last words are others"

# More starts in a short time than systemd makes by default: somebody else listens there for that long.
in_it systemd-run --quiet --unit=holder /usr/bin/python3 -c '
import socket, time
with socket.create_server(("127.0.0.1", 7101)):
    time.sleep(60)'
until_true "a port that is taken" port_is_taken
in_it systemctl start skerry || fail "it does not start while its port is taken"
until_true "the seventh start" restarted 6
in_it systemctl stop holder
until_true "a node that has its port" answers
[ "$(property ActiveState)" = active ] || fail "it is not there to stay"
echo "unit: all as it should be"
