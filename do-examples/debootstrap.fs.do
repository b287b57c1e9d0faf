#!/bin/sh -e
redo-ifchange env.sh tree.sh debootstrap.sh debclean.sh debootstrap.options debdownload.fs
./tree.sh debootstrap
redo-ifchange debootstrap/bin/sh debootstrap.fakeroot
