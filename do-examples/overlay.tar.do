#!/bin/sh -e
# The layers that overlay.layers names, one over another, as one tar.
. ./env.sh
redo-ifchange env.sh overlay.layers
sed 's/$/.layer/' overlay.layers | xargs redo-ifchange
ctbox flatten -o "$3" <overlay.layers
