#!/bin/sh
# The whole cookbook from top to bottom as one plain script. It builds everything anew, but for what was downloaded,
# and makes the same files as redo and make, to the last byte.
# Usage: ./pipeline.sh
set -eu
. ./env.sh

# whole FILE COMMAND...: let a command write FILE, whole or not at all, as ctbox -o does.
whole() {
	file=$1
	shift
	"$@" >"$file.tmp"
	mv "$file.tmp" "$file"
}

# tree NAME: build a tree and list it.
tree() {
	echo "$1" >&2
	./tree.sh "$1"
	whole "$1.files" ./files.sh "$1"
}

# layer NAME: pack what a tree has, or has more than that of NAME.diffbase.
layer() {
	if [ -e "$1.diffbase" ]; then
		ctbox listdiff -o "$1.list" "$(cat "$1.diffbase").files" "$1.files"
	else
		whole "$1.list" cat "$1.files"
	fi
	ctbox sha256 -o "$1.list.sha256" "$1.list"
	# shellcheck disable=SC2046 # an option and its value
	ctbox mklayer $(in_tree "$1") -o "$1.layer" "$1.list"
}

# shellcheck disable=SC2046 # an option and its value
initrd() { ctbox mkinitrd $(in_tree "$1") -o "$1.initrd" "$1.files"; }

# shellcheck disable=SC2046 # an option and its value
disk() { ctbox mkdisk $(in_tree "$1") -o "$1.ext4" "$1.files"; }

image() {
	ctbox mkimage -t template.json --platform="$platform" --tag="ctbox-example/$1" -o "$1.image" "$1.image.layers"
}

# run IMAGE TREE: run them wherever that is possible, and keep what they print.
run() {
	if [ -n "$runlocal" ]; then whole "$2.runlocal" ctbox runlocal --timeout=5m "$2"; fi
	if [ -n "$runkvm" ]; then whole "$2.runkvm" ctbox runkvm --timeout=5m "$2.initrd"; fi
	if [ -n "$engine" ]; then
		whole "$1.rundocker" ctbox rundocker --engine="$engine" --timeout=5m "$1.image"
	fi
}

sh -e ./clean.do
runlocal='' runkvm=''
if ./can.sh runlocal; then runlocal=yes; fi
if ./can.sh runkvm; then runkvm=yes; fi
engine=$(./can.sh rundocker) || engine=

tree simple
layer simple
initrd simple
tree libs
layer libs
initrd libs
image simple
ctbox gz -o simple.image.gz simple.image
run simple libs

tree inject
layer inject
ctbox flatten -o overlay.tar <overlay.layers
whole overlay.files ./files.sh overlay
layer overlay
initrd overlay
disk overlay
if [ -n "$runkvm" ]; then
	whole overlay.firecracker ctbox runkvm -n --vmm=firecracker overlay.ext4
fi

if ./can.sh debdownload && ./tree.sh debdownload; then
	if ./can.sh debootstrap; then
		tree debootstrap
		layer debootstrap
		tree debian
		layer debian
		initrd debian
		image debian
		run debian debian
	fi
	if ./can.sh debuser; then
		tree debuser
		layer debuser
	fi
fi
./check.sh
