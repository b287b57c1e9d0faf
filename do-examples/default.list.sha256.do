#!/bin/sh -e
# The layer's identity.
. ./env.sh
redo-ifchange env.sh "$2.list"
ctbox sha256 -o "$3" "$2.list"
