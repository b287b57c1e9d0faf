#!/bin/sh
# Download a small Debian. MIRROR can name another source than debootstrap's own. What is here already is kept, as
# long as debootstrap.options stay the same.
# Usage: ./debdownload.sh DIR
set -eu

if cmp -s debootstrap.options debdownload/options; then
	cp -al debdownload "$1"
	exit
fi
mkdir "$1"
# What fakeroot unpacks keeps the owners that the archive has.
# shellcheck disable=SC2046 # the options are words
TAR_OPTIONS='--owner=0 --group=0' debootstrap --make-tarball="$PWD/$1/packages.tgz" \
	$(cat debootstrap.options) "$PWD/$1/unpacked" ${MIRROR:+"$MIRROR"}
tar -xzOf "$1/packages.tgz" debootstrap/deburis | sed -n '1s|.* \(.*\)/pool/.*|\1|p' >"$1/mirror"
cp debootstrap.options "$1/options"
