#!/bin/sh
# Print the list of all files in NAME.tar, if there is one, with the owners that they have there; or in the tree NAME, with
# the owners that they are to have: what fakeroot has kept in NAME.fakeroot; or root for all, and then as NAME.owners, an awk
# program, says.
# Usage: ./files.sh NAME
set -eu
. ./env.sh

if [ -e "$1.tar" ]; then
	ctbox fileids -T "$1.tar"
elif [ -e "$1.fakeroot" ]; then
	ctbox fileids -F "$1.fakeroot" "$1"
elif [ -e "$1.owners" ]; then
	ctbox fileids --owner=0:0 -o "$1.unowned" "$1"
	awk -f "$1.owners" "$1.unowned"
	rm "$1.unowned"
else
	ctbox fileids --owner=0:0 "$1"
fi
