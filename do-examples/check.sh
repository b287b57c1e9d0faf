#!/bin/sh
# Check what the containers printed, as far as they have been run.
# Usage: ./check.sh
set -eu
. ./env.sh

failed=0
# check NAME TEST...: say whether test(1) succeeds.
check() {
	name=$1
	shift
	if test "$@"; then result=ok; else result=failed failed=1; fi
	printf 'checking %-20s %s\n' "$name:" "$result" >&2
}

for run in runlocal runkvm rundocker; do
	for tree in simple libs debian; do
		[ -e $tree.$run ] || continue
		case $tree in
		debian) want=$(grep -c '^Status: install ok installed' debian/var/lib/dpkg/status) ;;
		*) want='Hello, world!' ;;
		esac
		check $tree.$run "$(cat $tree.$run)" = "$want"
	done
done
# Laying trees over one another, and laying their lists.
if [ -e overlay.files ]; then
	check overlay.files "$(ctbox listmerge simple.files libs.files inject.files | cmp - overlay.files 2>&1)" = ''
fi
# Two ways to install Debian, one list.
if [ -e debuser.list ] && [ -e debootstrap.list ]; then
	check debuser.list "$(cmp debuser.list debootstrap.list 2>&1)" = ''
fi
exit $failed
