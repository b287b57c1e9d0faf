#!/bin/sh -e
# The list of the whole tree. A tree that was made anew and is the same makes nothing else anew.
redo-ifchange env.sh files.sh
if [ -e "$2.tar" ] || [ -e "$2.tar.do" ]; then
	redo-ifchange "$2.tar"
else
	redo-ifcreate "$2.tar" "$2.tar.do"
	redo-ifchange "$2.fs"
fi
if [ -e "$2.owners" ]; then redo-ifchange "$2.owners"; else redo-ifcreate "$2.owners"; fi
./files.sh "$2" >"$3"
redo-stamp <"$3"
