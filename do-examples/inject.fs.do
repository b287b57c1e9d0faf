#!/bin/sh -e
redo-ifchange env.sh tree.sh inject.sh
./tree.sh inject
