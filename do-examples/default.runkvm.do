#!/bin/sh -e
. ./env.sh
redo-ifchange env.sh "$2.initrd"
ctbox runkvm --timeout=5m "$2.initrd" >"$3"
