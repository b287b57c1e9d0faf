#!/bin/sh -e
. ./env.sh
redo-ifchange env.sh "$2"
ctbox gz -o "$3" "$2"
