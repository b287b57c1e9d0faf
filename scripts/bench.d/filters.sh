# shellcheck shell=sh disable=SC2016,SC2034,SC2154 # texts for another shell; variables are scripts/bench's
# Measurements of the filters that make lists, layers and initrds, and of gz.

# ids: $tmp/ids.py, the cookbook's way to make a list.
ids() {
	cat >"$tmp/ids.py" <<'END_OF_PYTHON'
import hashlib, os, stat, sys

out = sys.stdout.buffer
for line in sys.stdin.buffer:
    name = line.rstrip(b"\n")
    info = os.lstat(name)
    digest = "0"
    if stat.S_ISREG(info.st_mode):
        with open(name, "rb") as f:
            digest = hashlib.file_digest(f, "sha256").hexdigest()
    elif stat.S_ISLNK(info.st_mode):
        digest = hashlib.sha256(os.readlink(name)).hexdigest()
    out.write(b"%s %07o-%d-%d-%s\n" % (name, info.st_mode, info.st_uid, info.st_gid, digest.encode()))
END_OF_PYTHON
}

ratio_fileids_python() {
	row 'fileids DIR' 'find, sort, python3' 0.40
	needs python3
	debian
	ids
	timed 9 'ctbox fileids "$data/debian"' 'cd "$data/debian"; find . -print | sort | python3 "$tmp/ids.py"'
	sed -i 's/-\(rdev\|xattr\|link\)=[^ ]*$//' "$tmp/out.1" # which the cookbook does not have
	same
	verdict
}

ratio_fileids_xargs() {
	row 'fileids DIR' 'find, xargs -P2 sha256sum' 0.45
	needs sha256sum
	debian
	timed 9 'ctbox fileids "$data/debian"' 'cd "$data/debian"; find . -type f -print0 | xargs -0 -P2 sha256sum'
	same_digests
	verdict
}

# same_digests: the list and the lines of sha256sum, which come in any order, are of the same files and digests.
same_digests() {
	sed -n 's/^\(.*\) 010[0-7]*-[0-9]*-[0-9]*-\([0-9a-f]*\).*/\2  \1/p' "$tmp/out.1" | sort >"$tmp/ours"
	sort "$tmp/out.2" | cmp - "$tmp/ours"
}

# The other opens, asks for, reads, digests and closes the same files, on all processors, and knows their names beforehand.
ratio_fileids_limit() {
	row 'fileids DIR' 'SHA-256 and system calls' 1.25
	debian
	(cd "$data/debian" && find . -type f -print) >"$tmp/files"
	go build -o "$tmp/bin/limit" "$parts/limit.go"
	timed 11 'ctbox fileids "$data/debian"' 'cd "$data/debian"; limit "$tmp/files"'
	same_digests
	verdict
}

ratio_fileids_cache() {
	row 'fileids --cache DIR' 'fileids DIR' 0.15
	reason='one look at each name takes two fifths of it, and the start of a Go program a tenth'
	known
	timed 9 'ctbox fileids --cache="$disk/debian.cache" "$disk/debian"' 'ctbox fileids "$disk/debian"'
	same
	verdict
}

ratio_listdiff() {
	row "listdiff --added-only, $records lines" 'comm -13' 1.0
	needs comm
	lists
	timed 9 'ctbox listdiff --added-only "$old" "$new"' 'comm -13 "$old" "$new"'
	same
	verdict
}

ratio_listdiff_deleted() {
	row "listdiff, $records lines" 'comm -3' 1.0
	reason='it reads the new list once more for hard links, and writes what comm does not'
	needs comm
	lists
	timed 9 'ctbox listdiff "$old" "$new"' 'comm -3 "$old" "$new"'
	verdict
}

# contents ARCHIVE DIR FORMAT: unpacks a tar or an initrd with tools that are not ours and describes it in DIR.txt, as find prints it.
contents() {
	rm -rf "$2"
	mkdir "$2"
	case $1 in
	*.initrd) (cd "$2" && cpio -idm --quiet <"$1") ;;
	*) tar -xpf "$1" -C "$2" ;;
	esac
	(cd "$2" && find . -mindepth 1 -printf "$3" | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$2.txt"
	rm -rf "$2"
}

# same_contents SUFFIX [FORMAT]: $tmp/1SUFFIX and $tmp/2SUFFIX hold the same, in what find prints in this format.
same_contents() {
	contents "$tmp/1$1" "$tmp/tree1" "${2-%p %y %m %U %G %l\n}"
	contents "$tmp/2$1" "$tmp/tree2" "${2-%p %y %m %U %G %l\n}"
	cmp "$tmp/tree1.txt" "$tmp/tree2.txt"
}

ratio_mklayer_tar() {
	row 'mklayer >FILE' 'tar --no-recursion >FILE' 0.9
	needs tar
	debian
	timed 11 'ctbox mklayer -C "$data/debian" "$data/debian.list" >"$tmp/1.tar"' \
		'tar --no-recursion --xattrs -C "$data/debian" -cf - -T "$data/debian.names" >"$tmp/2.tar"'
	same_contents .tar
	verdict
}

ratio_mklayer_bsdtar() {
	row 'mklayer >FILE' 'bsdtar -n >FILE' ''
	needs bsdtar tar
	debian
	timed 9 'ctbox mklayer -C "$data/debian" "$data/debian.list" >"$tmp/1.tar"' \
		'bsdtar -n -C "$data/debian" -cf - -T "$data/debian.names" >"$tmp/2.tar"'
	same_contents .tar
	verdict
}

ratio_mklayer_cat() {
	row 'mklayer >FILE' 'cat LAYER >FILE' 1.3
	reason='SHA-256 of what is read takes longer than cat, for which the kernel copies'
	packed
	timed 11 'ctbox mklayer -C "$data/debian" "$data/debian.list" >"$tmp/1.tar"' 'cat "$data/debian.layer" >"$tmp/2.tar"'
	cmp "$tmp/1.tar" "$tmp/2.tar"
	verdict
}

# The first does not prove what the cache knows.
ratio_mklayer_trust() {
	row 'mklayer --trust-cache >FILE' 'mklayer >FILE' ''
	known
	timed 9 'ctbox mklayer --trust-cache="$disk/debian.cache" -C "$disk/debian" "$disk/debian.known" >"$tmp/1.tar"' \
		'ctbox mklayer -C "$disk/debian" "$disk/debian.known" >"$tmp/2.tar"'
	cmp "$tmp/1.tar" "$tmp/2.tar"
	verdict
}

ratio_mklayer_zstd() {
	row 'mklayer -z zstd >FILE' 'tar | zstd -T0 >FILE' ''
	needs tar zstd
	debian
	timed 5 'ctbox mklayer -z zstd -C "$data/debian" "$data/debian.list" >"$tmp/1.tar"' \
		'tar --no-recursion --xattrs -C "$data/debian" -cf - -T "$data/debian.names" | zstd -q -T0 >"$tmp/2.tar"'
	for n in 1 2; do zstd -qdf "$tmp/$n.tar" -o "$tmp/$n.plain" && mv "$tmp/$n.plain" "$tmp/$n.tar"; done
	same_contents .tar
	verdict
}

ratio_mkinitrd() {
	row 'mkinitrd >FILE' 'cpio -oHnewc >FILE' 0.6
	needs cpio
	debian
	timed 9 'ctbox mkinitrd -C "$data/debian" "$data/debian.list" >"$tmp/1.initrd"' \
		'cd "$data/debian"; cpio -oHnewc --quiet <"$data/debian.names" >"$tmp/2.initrd"'
	same_contents .initrd
	verdict
}

ratio_sha256() {
	row "sha256, ${BIG_MIB:-2048} MiB" 'openssl dgst -sha256' 1.1
	needs openssl
	big
	timed 5 'ctbox sha256 "$big"' 'openssl dgst -sha256 -r "$big" | cut -c 1-64'
	same
	verdict
}

ratio_gz_gzip() {
	row 'gz, an image' 'gzip --rsyncable -6' 0.13
	reason='two processors do nothing but compress; the library takes a quarter of the time of gzip'
	gzip --rsyncable </dev/null >/dev/null 2>&1 || skip 'no gzip that has --rsyncable'
	packed
	timed 3 'ctbox gz "$data/debian.image" >"$tmp/1.gz"' 'gzip --rsyncable -6 <"$data/debian.image" >"$tmp/2.gz"'
	gzip -dc "$tmp/1.gz" | cmp - "$data/debian.image"
	verdict
	row 'gz, an image: bytes' 'gzip --rsyncable -6' 1.03
	reason='a member knows nothing of what came before it, and the library packs somewhat less than zlib'
	sizes "$(wc -c <"$tmp/1.gz")" "$(wc -c <"$tmp/2.gz")"
	changed_gz
}

# changed_gz: a line more in one file; and what rsync moves to bring the compressed image that is there up to date.
changed_gz() {
	row 'gz, one file changed: bytes moved' 'gzip --rsyncable -6' 1.3
	reason='what follows a change is as before from the next entry on that the window lets be; gzip need not wait for an entry'
	needs rsync
	file=$(find "$data/debian" -type f -size +8k -size -64k | sort | sed -n 100p)
	mkdir "$tmp/changed"
	cp -a "$data/debian" "$tmp/changed/tree"
	echo 'one line more' >>"$tmp/changed/tree/${file#"$data/debian/"}"
	ctbox fileids "$tmp/changed/tree" | ctbox mklayer -C "$tmp/changed/tree" >"$tmp/changed/tree.layer"
	echo "$tmp/changed/tree" | ctbox mkimage --tag=bench >"$tmp/changed/image"
	ctbox gz "$tmp/changed/image" >"$tmp/changed/1.gz"
	gzip --rsyncable -6 <"$tmp/changed/image" >"$tmp/changed/2.gz"
	sizes "$(moved 1.gz)" "$(moved 2.gz)"
	rm -rf "$tmp/changed"
}

# moved NAME: bytes that rsync sends of $tmp/changed/NAME to where there is $tmp/NAME.
moved() {
	rsync -I --no-whole-file --stats "$tmp/changed/$1" "$tmp/$1" | tr -d , | sed -n 's/^Literal data: \([0-9]*\).*/\1/p'
}

ratio_gz_pigz() {
	row 'gz, an image' 'pigz -R -p2 -6' 0.35
	needs pigz
	packed
	timed 5 'ctbox gz "$data/debian.image" >"$tmp/1.gz"' 'pigz -R -p2 -6 <"$data/debian.image" >"$tmp/2.gz"'
	for n in 1 2; do gzip -dc "$tmp/$n.gz" | cmp - "$data/debian.image"; done
	verdict
}
