#!/bin/sh -e
# Remove all that clean removes, and what was downloaded and installed.
sh -e ./clean.do
rm -rf debdownload debootstrap debuser ./*.fs ./*.fakeroot .do-made
