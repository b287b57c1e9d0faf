#!/bin/sh -e
. ./env.sh
redo-ifchange env.sh "$2.list"
# shellcheck disable=SC2046 # an option and its value
ctbox mklayer $(in_tree "$2") -o "$3" "$2.list"
