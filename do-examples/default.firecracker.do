#!/bin/sh -e
# What firecracker --config-file takes to boot the disk.
. ./env.sh
redo-ifchange env.sh "$2.ext4"
ctbox runkvm -n --vmm=firecracker "$2.ext4" >"$3"
