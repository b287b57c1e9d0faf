#!/bin/sh
# Remove from an installed Debian what another installation would have otherwise, and what belongs to this machine.
# Devices go, too: whoever runs a container makes them.
# Usage: ./debclean.sh DIR
set -eu

cd -P "$1"
# fakechroot leaves links to where the tree is now.
# shellcheck disable=SC2016 # that shell is to expand it
find . -type l -lname "$PWD/*" -exec sh -ec 'for link; do
	to=$(readlink "$link")
	ln -snf "${to#"$0"}" "$link"
done' "$PWD" {} +
find var/log var/lib/apt/lists -type f \( -name '*.log' -o -path '*/lists/*' \) -exec rm {} +
rm -rf dev/* run/mount etc/hostname etc/resolv.conf etc/ld.so.cache var/cache/ldconfig/* var/cache/apt/archives/*.deb
