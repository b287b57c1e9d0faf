#!/bin/sh -e
. ./env.sh
redo-ifchange env.sh tree.sh libs.sh simple.files
./tree.sh libs
redo-ifchange libs/bin/hello
ctbox libs simple/bin/* | xargs redo-ifchange
