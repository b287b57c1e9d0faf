#!/bin/sh
# Make the tree NAME by NAME.sh, under another name at first, so that half a tree is never taken for a whole one.
# Usage: ./tree.sh NAME
set -eu
. ./env.sh

rm -rf "$1.tmp" "$1.tmp.fakeroot"
if ! "./$1.sh" "$1.tmp" >"$1.log" 2>&1; then
	echo "$1.log ends:" >&2
	tail -n 20 "$1.log" >&2
	exit 1
fi
rm -rf "$1" "$1.fakeroot"
if [ -e "$1.tmp.fakeroot" ]; then mv "$1.tmp.fakeroot" "$1.fakeroot"; fi
mv "$1.tmp" "$1"
