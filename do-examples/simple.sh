#!/bin/sh
# The smallest tree: a program, /init to run it, and shells for looking around.
# Usage: ./simple.sh DIR
set -eu

mkdir -p "$1/bin"
cp /bin/sh "$1/bin/sh"
if [ -x /bin/busybox ]; then cp /bin/busybox "$1/bin/busybox"; fi
if command -v cc >/dev/null; then
	cc -O2 -s -o "$1/bin/hello" hello.c
else
	printf '#!/bin/sh\necho "Hello, world!"\n' >"$1/bin/hello"
	chmod 755 "$1/bin/hello"
fi
ln -s bin/hello "$1/init"
