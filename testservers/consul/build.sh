#!/bin/sh
# Builds the Consul server for the tests and puts it into the user's cache
# directory, where they look for it. It takes several minutes; afterwards nothing
# is done as long as the binary is there.
set -eu
version=1.22.0
case "$(uname -s)" in
Darwin) cache="$HOME/Library/Caches" ;;
*) cache="${XDG_CACHE_HOME:-$HOME/.cache}" ;;
esac
dir="$cache/multilock-test/consul-$version"
if [ -x "$dir/consul" ]; then
	echo "$dir/consul is there"
	exit 0
fi
mkdir -p "$dir"
cd "$(dirname "$0")/build"
GOWORK=off go build -o "$dir/consul.$$" github.com/hashicorp/consul
mv "$dir/consul.$$" "$dir/consul"
echo "built $dir/consul"
