#!/bin/sh -e
exec >&2
redo-always
redo-ifchange env.sh all.sh can.sh check.sh
./all.sh redo-ifchange
