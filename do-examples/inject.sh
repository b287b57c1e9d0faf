#!/bin/sh
# Files to be laid over those of another tree.
# Usage: ./inject.sh DIR
set -eu

mkdir -p "$1/etc"
echo 'This is an overlay.' >"$1/etc/motd"
