#!/bin/sh -e
# A disk with the tree, for a virtual machine.
. ./env.sh
redo-ifchange env.sh "$2.files"
# shellcheck disable=SC2046 # an option and its value
ctbox mkdisk $(in_tree "$2") -o "$3" "$2.files"
