#!/bin/sh -e
. ./env.sh
redo-ifchange env.sh "$2.files"
ctbox runlocal --timeout=5m "$2" >"$3"
