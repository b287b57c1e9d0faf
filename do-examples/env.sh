#!/bin/sh
# Not to be run but to be read by what runs here, with "."; all that could make a difference to a result is set here.
# To have another date in the images, change it here: redo and make build again what depends on this file.
export SOURCE_DATE_EPOCH=1767225600 LC_ALL=C
umask 022

# The ctbox of this clone, if it has been built, and the programs that Debian keeps from users' PATH.
PATH=$(cd .. && pwd)/bin:$PATH:/usr/sbin:/sbin
export PATH
command -v ctbox >/dev/null || {
	echo 'no ctbox in PATH: run make in the directory above' >&2
	exit 1
}

case $(uname -m) in
x86_64) platform=linux/amd64 ;;
aarch64) platform=linux/arm64 ;;
*) platform=linux/$(uname -m) ;;
esac
export platform

# in_tree NAME: the options that say where the files of a list are: in NAME.tar, if there is one, or in the tree NAME.
in_tree() {
	if [ -e "$1.tar" ]; then echo "-T $1.tar"; else echo "-C $1"; fi
}
