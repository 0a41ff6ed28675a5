#!/usr/bin/env bash
# deploy/install-packages: silent when nothing is missing, one sentence when it cannot help. Installs nothing: what it
# would run is replaced by programs that only say what they were asked.
set -euo pipefail

root=$(cd -- "$(dirname -- "$0")/../.." && pwd)
fake=$(mktemp -d)
trap 'rm -rf "$fake"' EXIT

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# program NAME TEXT: a program for the PATH of the script under test. Never a link: the next one of that name would be
# written through it.
program() {
    printf '#!/bin/sh\n%s\n' "$2" >"$fake/$1"
    chmod 755 "$fake/$1"
}
real_program() { program "$1" "exec $(command -v "$1") \"\$@\""; }

# install ARGUMENTS: runs it with the fake programs and what it needs of the real ones; sets `said` and `code`.
install() {
    code=0
    said=$(PATH=$fake /bin/sh "$root/deploy/install-packages" "$@" 2>&1) || code=$?
}

for tool in dirname grep awk cat env; do real_program "$tool"; done
program rm 'exit 0'
program chmod 'exit 0'
program tee 'cat >/dev/null'
program id 'echo 1000'

install
[[ $code -eq 1 && $said == *"this system has no dpkg-query"*packages.txt* ]] || fail "no dpkg: $code, $said"

program apt-get 'echo "apt-get $*"'
program dpkg-query 'echo "installed "'
install
[[ $code -eq 0 && -z $said ]] || fail "nothing is missing: $code, $said"

# shellcheck disable=SC2016  # for the fake program
program dpkg-query 'for last; do :; done; case $last in clang | redis-tools) exit 1 ;; esac; echo "installed "'
install
[[ $code -eq 1 && $said == *"without root or sudo they cannot be installed: redis-tools clang." ]] ||
    fail "no root: $code, $said"
[ "$(wc -l <<<"$said")" -eq 1 ] || fail "more than one sentence: $said"

install --for build
[[ $code -eq 0 && -z $said ]] || fail "only what builds: $code, $said"
install --for build --for show
[[ $code -eq 1 && $said == *"installed: redis-tools." ]] || fail "only what builds and shows: $code, $said"
install --for fun
[[ $code -eq 1 && $said == *"no section '# to fun'."* ]] || fail "no such section: $code, $said"

program id 'echo 0'
# shellcheck disable=SC2016
program apt-get '[ "$1" != update ]'
install
[[ $code -eq 1 && $said == *"apt-get update failed"* ]] || fail "no network: $code, $said"

# The policy that keeps services from starting: made and taken away again, one that a killed run left too, and no other.
# The script is a copy with another place for it, since it is a file of the system.
mkdir "$fake/deploy"
policy=$fake/policy-rc.d
cp "$root/deploy/packages.txt" "$fake/deploy/"
sed "s|^policy=.*|policy=$policy|" "$root/deploy/install-packages" >"$fake/deploy/install-packages"
grep -qx "policy=$policy" "$fake/deploy/install-packages" || fail "the copy has the system's policy"
for tool in rm chmod tee sed; do real_program "$tool"; done
# shellcheck disable=SC2016
program apt-get "[ \"\$1\" = update ] || cat '$policy' >'$fake/seen'"

# with_policy TEXT STAYS: runs it where the policy is TEXT (none: -); is it there afterwards?
with_policy() {
    rm -f "$policy" "$fake/seen"
    [ "$1" = - ] || printf '%s\n' "$1" >"$policy"
    code=0
    said=$(PATH=$fake /bin/sh "$fake/deploy/install-packages" 2>&1) || code=$?
    [ "$code" -eq 0 ] || fail "with the policy '$1': $code, $said"
    if [ -e "$policy" ]; then stays=yes; else stays=no; fi
    [ "$stays" = "$2" ] || fail "the policy '$1' should stay: $2"
}
left='# from skerry, while it installs packages'
with_policy - no
grep -qx 'exit 101' "$fake/seen" || fail "services may start while packages are installed"
cp "$fake/seen" "$fake/ours"
with_policy 'exit 104' yes
with_policy "$left" no
grep -q "$left" "$fake/seen" || fail "what a killed run left is gone while packages are installed"
with_policy "$(cat "$fake/ours")" no
with_policy "$(sed "s/process [0-9]*/process $$/" "$fake/ours")" yes # of one that still runs

program dpkg-query 'echo "installed "'
with_policy 'exit 104' yes
with_policy "$(cat "$fake/ours")" no
[ -z "$said" ] || fail "nothing is missing, and it says: $said"
echo "install-packages: all as it should be"
