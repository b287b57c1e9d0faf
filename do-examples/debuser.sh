#!/bin/sh
# Install Debian without fakeroot: what debootstrap does before there is something to chroot to is done here, the rest
# in a sandbox, where all belongs to root and chown(2) does nothing. debuser.owners says what belongs to others.
# Usage: ./debuser.sh DIR
set -eu

mkdir "$1"
tar -xzf debdownload/packages.tgz -C "$1"
mirror=$(cat debdownload/mirror)
(
	cd "$1"
	debs=$(awk 'NR == FNR { for (i = 1; i <= NF; i++) required[$i]; next }
		$1 in required { print "./" $2 }' debootstrap/required debootstrap/debpaths)
	for deb in $debs; do
		dpkg-deb --extract "$deb" .
	done
	for dir in bin lib lib64 sbin; do
		[ -d "$dir" ] || continue
		cp -a "$dir/." "usr/$dir"
		rm -r "$dir"
		ln -s "usr/$dir" "$dir"
	done
	mkdir -p etc/apt var/lib/dpkg
	: >var/lib/dpkg/status
	: >var/lib/dpkg/available
	echo '# UNCONFIGURED FSTAB FOR BASE SYSTEM' >etc/fstab
	echo "deb $mirror $(cat debootstrap/suite) main" >etc/apt/sources.list
	echo "$mirror" >debootstrap/mirror
)
ctbox runlocal --rw --fake-chown "$1" /debootstrap/debootstrap --second-stage
./debclean.sh "$1"
