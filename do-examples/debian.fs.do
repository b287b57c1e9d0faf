#!/bin/sh -e
redo-ifchange env.sh tree.sh debian.sh debootstrap.files
./tree.sh debian
redo-ifchange debian/init debian.fakeroot
