#!/bin/sh -e
redo-ifchange env.sh tree.sh simple.sh hello.c /bin/sh
if [ -x /bin/busybox ]; then redo-ifchange /bin/busybox; else redo-ifcreate /bin/busybox; fi
if cc=$(command -v cc); then redo-ifchange "$cc"; else redo-ifcreate /usr/bin/cc; fi
./tree.sh simple
redo-ifchange simple/bin/hello
