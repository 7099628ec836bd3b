#!/usr/bin/env bash
# Installs the version of Azurite that package.json names, outside the tree: where
# the tests look for it. Needs Node.js and npm.
set -euo pipefail
cd "$(dirname "$0")"
version=$(sed -n 's/.*"azurite": "\(.*\)".*/\1/p' package.json)
case "$(uname)" in
Darwin) cache="$HOME/Library/Caches" ;;
*) cache="${XDG_CACHE_HOME:-$HOME/.cache}" ;;
esac
dir="$cache/multilock-test/azurite-$version"
[ ! -e "$dir/node_modules/azurite/dist/src/blob/main.js" ] || exit 0
fresh="$dir.$$"
trap 'rm -rf "$fresh"' EXIT
mkdir -p "$fresh"
cp package.json "$fresh"
npm install --prefix "$fresh" --omit=dev --no-audit --no-fund --loglevel=error >&2
rm -rf "$dir"
mv "$fresh" "$dir"
