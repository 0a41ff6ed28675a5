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
echo "install-packages: all as it should be"
