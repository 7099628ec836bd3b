#!/usr/bin/env bash
# Passes all checks and tests, and installs the test servers they need.
#
#   ./test.sh              everything
#   ./test.sh core redis   only the modules whose path contains one of the words
#   ./test.sh vulnerabilities   looks for known ones; needs the Go vulnerability database
#
# Needs Go on Debian or Ubuntu; installing the servers needs root or sudo. Set
# MULTILOCK_NO_INSTALL=1 if they are there already.
set -euo pipefail
cd "$(dirname "$0")"
root=$PWD
export GOFLAGS="${GOFLAGS:-} -count=1"

staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.7.0
actionlint=github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
govulncheck=golang.org/x/vuln/cmd/govulncheck@v1.9.0

say() { printf '\n== %s\n' "$*"; }

install_servers() {
	[ "${MULTILOCK_NO_INSTALL:-}" = "" ] || return 0
	say "test servers, and a C compiler"
	local sudo="" missing=()
	[ "$(id -u)" = 0 ] || sudo=sudo
	while read -r file package; do
		[ -e "$file" ] || compgen -G "$file" >/dev/null || missing+=("$package")
	done <<-LIST
		/usr/bin/redis-server redis-server
		/usr/bin/redis-sentinel redis-sentinel
		/usr/lib/postgresql/*/bin/initdb postgresql
		/usr/sbin/pgbouncer pgbouncer
		/usr/share/zookeeper/bin/zkServer.sh zookeeper
		/usr/bin/faketime faketime
		/usr/bin/etcd etcd-server
		/usr/bin/prometheus prometheus
	LIST
	command -v npm >/dev/null || missing+=(npm) # of any origin; for Azurite
	command -v "$(go env CC)" >/dev/null || missing+=(gcc libc6-dev) # for the race detector
	if [ ${#missing[@]} -gt 0 ]; then
		$sudo apt-get update -qq
		# the packages must not start servers of their own
		DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
	fi
	./testservers/install.sh
}

modules() { # directories of the modules, those named in "$@" only
	{ go list -m -f '{{.Dir}}' | sed "s#^$PWD/##"; echo examples/custombackend; } | while read -r dir; do
		if [ $# -eq 0 ]; then echo "$dir"; continue; fi
		for word in "$@"; do case "$dir" in *"$word"*) echo "$dir"; break ;; esac; done
	done
}

in_workspace() { grep -q "^	\./$1$" "$root/go.work"; } # the others are as a third party's would be

checks() {
	say "generated files"
	(cd gen && go run . -check)
	say "format, vet, layers"
	local bad
	bad=$(gofmt -l $(git ls-files '*.go'))
	[ -z "$bad" ] || { echo "gofmt wants to change:" "$bad"; return 1; }
	go vet -trimpath work # the consumer check uses again what this compiles
	for os in darwin windows; do # these are compiled and reasoned about, not run
		echo "vet for $os"
		(cd core && GOOS=$os go vet ./...)
		(cd backends/file && GOOS=$os go vet ./...)
		(cd cmd/multilock && GOOS=$os go vet ./...)
	done
	go run ./tools/layers
	say "documents"
	go run ./tools/doccheck
	go run ./tools/apidocs
	say "licences, compatibility, workflows"
	go run ./tools/licences
	go run ./tools/apicheck
	go run "$actionlint"
	say "staticcheck"
	go run "$staticcheck" work
	say "vulnerabilities: not looked for; ./test.sh vulnerabilities does, as does the workflow test"
}

vulnerabilities() {
	local dir status=0
	for dir in $(modules); do
		echo "$dir"
		(cd "$dir" && { in_workspace "$dir" || export GOWORK=off; } && go run "$govulncheck" ./...) || status=1
	done
	return $status
}

if [ "$*" = vulnerabilities ]; then
	vulnerabilities
	exit
fi

# one module's tests, as its own module too
module() {
	local dir=$1 alone=$2
	cd "$dir"
	in_workspace "$dir" || export GOWORK=off
	go test -race -timeout 30m ./...
	if [ "$dir" = core/simulation ]; then # the race detector leaves time for few schedules
		go test -v -timeout 30m ./... | grep -v '^=== '
	fi
	# commands have no replace lines, so that they can be installed, and stand alone
	# only once the modules they need are released
	if [ "$alone" = yes ] && { grep -q '^replace' go.mod || ! grep -q 'multilock-go/.* v' go.mod; }; then
		GOWORK=off go vet ./...
	fi
}

# tests runs the named modules, some at a time: most of what they do is wait. What
# one prints appears when it has ended, the failures once more at the end.
tests() {
	local alone=$1 dir failed=()
	shift
	local logs running=0
	logs=$(mktemp -d)
	finish() {
		local pid status=0
		wait -n -p pid || status=$?
		running=$((running - 1))
		say "${names[$pid]} (${began[$pid]} s to $SECONDS s)"
		cat "$logs/$pid"
		[ "$status" = 0 ] || failed+=("${names[$pid]}")
	}
	local -A names=() began=()
	for dir in "$@"; do
		[ "$running" -lt "${MULTILOCK_TEST_JOBS:-2}" ] || finish
		(set -e; exec >"$logs/$BASHPID" 2>&1; module "$dir" "$alone") &
		names[$!]=$dir began[$!]=$SECONDS
		running=$((running + 1))
	done
	while [ "$running" -gt 0 ]; do finish; done
	rm -r "$logs"
	[ ${#failed[@]} -eq 0 ] || { say "failed: ${failed[*]}"; return 1; }
}

install_servers
[ $# -gt 0 ] || checks
mapfile -t dirs < <(modules "$@")
if [ $# -eq 0 ]; then tests yes "${dirs[@]}"; else tests no "${dirs[@]}"; fi
if [ $# -eq 0 ]; then
	say "consumer check"
	go run ./tools/consumercheck
fi
say "all passed"
