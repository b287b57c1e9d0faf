#!/bin/sh
# simple, and the shared libraries that its programs need.
# Usage: ./libs.sh DIR
set -eu

cp -a simple "$1"
libs=$(ctbox libs "$1"/bin/*)
for lib in $libs; do
	mkdir -p "$1${lib%/*}"
	cp "$lib" "$1$lib"
done
