#!/bin/sh -e
# Remove what was built. What was downloaded and installed stays, because that takes long to make; see xclean.
rm -rf simple libs inject debian simple.fs libs.fs inject.fs debian.fs overlay.tar debian.fakeroot ./*.tmp ./*.tmp.fakeroot ./*.log ./*.unowned \
	./*.files ./*.list ./*.list.sha256 ./*.layer ./*.initrd ./*.ext4 ./*.firecracker ./*.image ./*.gz ./*.runlocal ./*.runkvm ./*.rundocker \
	./*.do-out ./*.do-tmp
