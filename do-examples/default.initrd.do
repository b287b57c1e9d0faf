#!/bin/sh -e
. ./env.sh
redo-ifchange env.sh "$2.files"
ctbox mkinitrd -C "$2" -o "$3" "$2.files"
