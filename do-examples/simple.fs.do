#!/bin/sh -e
redo-ifchange env.sh tree.sh simple.sh hello.c /bin/sh
for program in cc busybox; do
	if found=$(command -v $program); then redo-ifchange "$found"; else redo-ifcreate /usr/bin/$program; fi
done
./tree.sh simple
redo-ifchange simple/bin/hello
