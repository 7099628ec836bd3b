#!/usr/bin/env bash
# Installs the test servers that have no Debian package: Consul is built once from
# its Go module, Azurite comes from npm. Both are kept outside the tree.
set -euo pipefail
cd "$(dirname "$0")"
for server in ./*/install.sh ./*/build.sh; do
	[ -e "$server" ] || continue
	echo "$(basename "$(dirname "$server")")"
	"$server"
done
