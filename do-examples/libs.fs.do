#!/bin/sh -e
redo-ifchange env.sh tree.sh libs.sh simple.files
./tree.sh libs
redo-ifchange libs/bin/hello
