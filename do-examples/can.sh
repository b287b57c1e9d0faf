#!/bin/sh
# Find out whether something can be done here, by trying it; if not, say why. What SKIP names cannot be done.
# For rundocker, print an engine that works.
# Usage: ./can.sh runlocal|runkvm|rundocker|debdownload|debootstrap|debuser
set -eu
. ./env.sh

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/tree"
printf '. 0040755-0-0-0\n./games 0042775-0-60-0\n' >"$tmp/list" # an engine that has no group 60 cannot run Debian
what=$1

no() {
	echo "no $what here: $*" >&2
	exit 1
}

# works COMMAND: whether it comes so far as to look for a program to run, and there is none.
works() {
	status=0
	"$@" /none >"$tmp/out" 2>&1 || status=$?
	[ "$status" = 127 ]
}

need() { ctbox need "$@" 2>"$tmp/out" || no "$(cat "$tmp/out")"; }

case " ${SKIP-} " in *" $what "*) no 'it is in SKIP' ;; esac
case $what in
debuser) need dpkg-deb ;;
debootstrap) need debootstrap fakeroot fakechroot ;;
debdownload)
	case $PWD in *[!-+,./:=@_0-9A-Za-z]*) no "debootstrap does not understand the name $PWD" ;; esac
	need debootstrap wget
	;;
runkvm)
	ctbox mkinitrd -C "$tmp/tree" -o "$tmp/initrd" "$tmp/list"
	ctbox runkvm -n "$tmp/initrd" >"$tmp/out" 2>&1 || no "$(cat "$tmp/out")"
	;;
rundocker)
	ctbox mklayer -C "$tmp/tree" -o "$tmp/empty.layer" "$tmp/list"
	echo "$tmp/empty" | ctbox mkimage --platform="$platform" -o "$tmp/image"
	for engine in docker podman nerdctl; do
		command -v "$engine" >/dev/null || continue
		if works ctbox rundocker --engine="$engine" --rmi --timeout=60 "$tmp/image"; then
			echo "$engine"
			exit
		fi
	done
	[ -s "$tmp/out" ] || need docker
	no "$(cat "$tmp/out")"
	;;
esac
case $what in
debuser | runlocal) works ctbox runlocal "$tmp/tree" || no "$(cat "$tmp/out")" ;;
esac
