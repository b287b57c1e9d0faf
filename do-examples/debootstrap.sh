#!/bin/sh
# Install Debian as an ordinary user: fakechroot stands in for chroot(2), fakeroot keeps the owners in DIR.fakeroot.
# Usage: ./debootstrap.sh DIR
set -eu

here=$(pwd -P)
quick=$(command -v eatmydata) || quick=
# shellcheck disable=SC2046 # the options are words
$quick fakechroot -e debootstrap ctbox try-fakeroot "$1.fakeroot" \
	debootstrap --unpack-tarball="$here/debdownload/packages.tgz" \
	$(cat debootstrap.options) "$here/$1" "$(cat debdownload/mirror)"
ctbox try-fakeroot "$1.fakeroot" ./debclean.sh "$1"
