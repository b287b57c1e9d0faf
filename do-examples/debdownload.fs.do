#!/bin/sh -e
redo-ifchange env.sh tree.sh debdownload.sh debootstrap.options
./tree.sh debdownload
redo-ifchange debdownload/packages.tgz
