#!/bin/sh
# pipeline.sh TREE CTBOX [ARG]...: make one result of each kind of a tree, with a command that is ctbox; print their digests.
# They are made in the current directory, which is empty.
set -eu
tree=$1
shift
SOURCE_DATE_EPOCH=0
export SOURCE_DATE_EPOCH
printf '{"architecture": "amd64", "os": "linux", "config": {"Env": ["A=b"]}}\n' >template.json

# A base, and one in which names are deleted, are another's and are added, by an editor of text.
"$@" fileids --owner=1000:100 "$tree" >base.list
LC_ALL=C awk '
	$0 ~ / 010/ && NR % 7 == 0 && !/-link=/ { sub(/-1000-100-/, "-4000000-0-") }
	{ print }
	END { print "./zdev 0040755-0-0-0"; print "./zdev/console 0020600-0-0-0-rdev=5:1"; print "./zdev/fifo 0010644-0-5-0" }
' base.list >edited.list
LC_ALL=C grep -av '^\./[345]' edited.list >new.list
"$@" listdiff base.list new.list >top.list
"$@" listdiff --added-only base.list new.list >added.list
for name in base top; do
	"$@" sha256 $name.list >$name.list.sha256
	"$@" mklayer -q -C "$tree" $name.list >$name.layer
done

"$@" mklayer -q -C "$tree" --root-entry -z gzip base.list >layer.gz
"$@" mklayer -q -C "$tree" -z zstd base.list >layer.zst
"$@" mklayer -q -C "$tree" --mtime=keep base.list >layer.keep
SOURCE_DATE_EPOCH=900000000 "$@" mklayer -q -C "$tree" --mtime=clamp base.list >layer.clamp
"$@" mkinitrd -C "$tree" new.list >initrd 2>warnings
SOURCE_DATE_EPOCH=900000000 "$@" mkinitrd -C "$tree" -z gzip new.list >initrd.gz 2>>warnings
"$@" mkinitrd -C "$tree" -z zstd new.list >initrd.zst 2>>warnings
"$@" gz initrd >initrd.gz.gz
"$@" memcalc initrd initrd.gz initrd.zst >memory

"$@" dockjson -t template.json base >base.json
printf 'base\ntop\n' >layers
"$@" mkimage -q -t template.json --cmd=/init --tag=x:1 --digest-file=digests -o image layers
"$@" mkimage -q -t template.json -z gzip layers >image.gz
"$@" mkimage -q -z zstd --label=a=b --created=2001-02-03T04:05:06Z layers >image.zst
"$@" mkimage -q -t template.json --format=v1 layers >image.v1
"$@" mkimage -q -t template.json --format=oci-dir -o image.oci layers
find image.oci -type f | LC_ALL=C sort | xargs "$@" sha256 >oci.sums
rm -rf image.oci

rm warnings
(LC_ALL=C; printf '%s\n' *) | xargs "$@" sha256
