#!/usr/bin/env bash
# deploy/demo from nothing to the end of its tour, twice, and each of its refusals.
# SK_BUILD is the build folder of the tests; the demo builds into a folder of its own in there.
set -euo pipefail

root=$(cd -- "$(dirname -- "$0")/../.." && pwd)
demo=$root/deploy/demo
build=${SK_BUILD:?the build folder}
export DEMO_BUILD=$build/demo-build
holder=''

finish() {
    [ -z "$holder" ] || kill "$holder"
    "$demo" stop >/dev/null || true
}
trap finish EXIT

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    printf '%s\n' "${said:-}" >&2
    tail -n 5 "$DEMO_BUILD"/demo/*/skerryd.log >&2 || true
    exit 1
}

# demo_says CODE TEXT ARGUMENTS...: runs it; its exit code is CODE and it says TEXT.
demo_says() {
    local expected=$1 text=$2 code=0
    shift 2
    said=$("$demo" "$@" 2>&1 </dev/null) || code=$?
    [ "$code" -eq "$expected" ] || fail "demo $*: exit code $code, not $expected"
    [[ $said == *"$text"* ]] || fail "demo $* should say: $text"
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A first port such that it, the next two, and the three a hundred above are free, below the ephemeral range.
choose_ports() {
    local first offset
    for ((first = 12101; first < 30000; first += 200)); do
        for offset in 0 1 2 100 101 102; do
            if listens $((first + offset)); then continue 2; fi
        done
        export DEMO_PORT=$first
        return
    done
    fail "no free ports"
}

hold_port() {
    /usr/bin/python3 -c 'import socket, sys, time
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(600)' "$1" &
    holder=$!
    until listens "$1"; do sleep 0.05; done
}

# Not kill -0: what nobody has waited for yet has a number, and nothing else.
is_there() { [ -n "$( (tr -d '\0' <"/proc/$1/cmdline") 2>/dev/null)" ]; }

node_ids() { cat "$DEMO_BUILD"/demo/{eu,us,ap}/skerryd.pid; }

choose_ports
"$demo" clean >/dev/null

demo_says 2 "usage:" sideways
demo_says 0 "usage:" --help
demo_says 0 "No node was running." stop

hold_port $((DEMO_PORT + 101))
demo_says 1 "port $((DEMO_PORT + 101)) is in use by another program"
[ "$(wc -l <<<"$said")" -eq 1 ] || fail "a used port should be one sentence"
kill "$holder"
wait "$holder" || true
holder=''

mkdir -p "$build/no-compiler"
printf '#!/bin/sh\necho "no compiler today" >&2; exit 1\n' >"$build/no-compiler/cmake"
chmod 755 "$build/no-compiler/cmake"
PATH=$build/no-compiler:$PATH demo_says 1 "the build failed; $DEMO_BUILD/demo/build.log says why."
grep -q "no compiler today" "$DEMO_BUILD/demo/build.log" || fail "the log of the build"
rm -r "$build/no-compiler"

demo_says 0 "That was the tour"
ids=$(node_ids)
demo_says 0 "running already"
[ "$ids" = "$(node_ids)" ] || fail "a second start should leave the nodes alone"
demo_says 0 "Stopped: eu us ap." stop
demo_says 0 "That was the tour" # over the data of the first
killed=$(cat "$DEMO_BUILD/demo/ap/skerryd.pid")
kill -9 "$killed"
# It goes when the system has the time for it, and its ports after it.
while is_there "$killed" || listens $((DEMO_PORT + 2)) || listens $((DEMO_PORT + 102)); do sleep 0.05; done
demo_says 0 "every link is up" --no-tour
demo_says 0 "Removed" clean
[ ! -e "$DEMO_BUILD/demo" ] || fail "clean should remove everything"
echo "demo: all as it should be"
