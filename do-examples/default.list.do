#!/bin/sh -e
# The list of a layer: all of the tree, or what it has more than the tree that .diffbase names.
. ./env.sh
redo-ifchange env.sh "$2.files"
if [ -e "$2.diffbase" ]; then
	redo-ifchange "$2.diffbase"
	read -r base <"$2.diffbase"
	redo-ifchange "$base.files"
	ctbox listdiff -o "$3" "$base.files" "$2.files"
else
	redo-ifcreate "$2.diffbase"
	cp "$2.files" "$3"
fi
