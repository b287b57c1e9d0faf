#!/bin/sh -e
. ./env.sh
redo-ifchange env.sh can.sh "$2.image"
engine=$(./can.sh rundocker)
ctbox rundocker --engine="$engine" --timeout=5m "$2.image" >"$3"
