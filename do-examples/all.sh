#!/bin/sh
# Build, run and check all that can be built and run here; what cannot is left out, and can.sh says why.
# Usage: ./all.sh COMMAND [ARG]...        COMMAND [ARG]... TARGET... builds targets, as redo-ifchange and make do
set -eu
. ./env.sh

targets='simple.image.gz simple.list.sha256 simple.initrd libs.list.sha256 libs.initrd inject.list.sha256 overlay.list.sha256
overlay.layer overlay.initrd overlay.ext4'
runs=
for run in runlocal runkvm rundocker; do
	if ./can.sh $run >/dev/null; then runs="$runs $run"; fi
done
case $runs in *runkvm*) targets="$targets overlay.firecracker" ;; esac

# add_runs IMAGE TREE: an image is for an engine; the tree with all that it needs, for the others.
add_runs() {
	for run in $runs; do
		case $run in
		rundocker) targets="$targets $1.$run" ;;
		*) targets="$targets $2.$run" ;;
		esac
	done
}

add_runs simple libs
if ./can.sh debdownload; then
	if ! "$@" debdownload.fs; then
		echo 'no Debian here: it could not be downloaded' >&2
	else
		if ./can.sh debootstrap; then
			targets="$targets debian.image debian.list.sha256 debian.initrd"
			add_runs debian debian
		fi
		if ./can.sh debuser; then targets="$targets debuser.layer"; fi
	fi
fi
# shellcheck disable=SC2086 # the targets are words
"$@" $targets
./check.sh
