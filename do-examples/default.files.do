#!/bin/sh -e
# The list of the whole tree. A tree that was made anew and is the same makes nothing else anew.
redo-ifchange env.sh files.sh "$2.fs"
if [ -e "$2.owners" ]; then redo-ifchange "$2.owners"; else redo-ifcreate "$2.owners"; fi
./files.sh "$2" >"$3"
redo-stamp <"$3"
