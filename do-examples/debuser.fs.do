#!/bin/sh -e
redo-ifchange env.sh tree.sh debuser.sh debclean.sh debdownload.fs
./tree.sh debuser
redo-ifchange debuser/bin/sh
