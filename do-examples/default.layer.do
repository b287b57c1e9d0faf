#!/bin/sh -e
. ./env.sh
redo-ifchange env.sh "$2.list"
ctbox mklayer -C "$2" -o "$3" "$2.list"
