#!/bin/sh -e
# The layers that .image.layers names, the lowest first; they are made in parallel.
. ./env.sh
redo-ifchange env.sh template.json "$1.layers"
sed 's/$/.layer/' "$1.layers" | xargs redo-ifchange
ctbox mkimage -t template.json --platform="$platform" --tag="ctbox-example/$2" -o "$3" "$1.layers"
