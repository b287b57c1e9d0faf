# shellcheck shell=sh disable=SC2016,SC2034,SC2154 # texts for another shell; variables are scripts/bench's
# Peak memory, and how cost grows with the number of records.

memory_fileids() {
	million
	peak "fileids DIR, $records files" 32 'ctbox fileids "$million"'
	peak "fileids <NAMES, $records files" 32 'ctbox fileids -C "$million" <"$million.names"'
}

# The first run makes the cache, the others find all in it. A cache is not relied on in memory.
memory_fileids_cache() {
	many
	tree=$disk/many
	export tree
	peak "fileids --cache DIR, new, $records files" 32 'ctbox fileids --cache="$tree.cache" "$tree"'
	peak "fileids --cache DIR, $records files" 32 'ctbox fileids --cache="$tree.cache" "$tree"'
	cp "$tmp/out.1" "$tmp/walked"
	ctbox fileids --cache="$tree.cache" -C "$tree" <"$tree.names" >"$tmp/named"
	peak "fileids --cache <NAMES, $records files" 32 'ctbox fileids --cache="$tree.cache" -C "$tree" <"$tree.names"'
	cmp "$tmp/walked" "$tmp/out.1"
}

memory_listdiff() {
	lists
	peak "listdiff, $records lines" 32 'ctbox listdiff "$old" "$new"'
	peak "listdiff --added-only, $records lines" 32 'ctbox listdiff --added-only "$old" "$new"'
	peak "listdiff, $records lines, all new" 32 'ctbox listdiff /dev/null "$new"'
	peak "listdiff, $records lines, all deleted" 32 'ctbox listdiff "$old" /dev/null'
}

memory_mklayer() {
	devices
	peak "mklayer, $records devices" 64 'ctbox mklayer -C "$tmp/empty" "$devices" >/dev/null'
	lists
	awk '/file/ { print $1, "-" }' "$old" >"$tmp/deleted.list"
	peak "mklayer, $records deletions" 64 'ctbox mklayer -q -C "$tmp/empty" "$tmp/deleted.list" >/dev/null'
}

memory_mklayer_files() {
	million
	for z in none gzip zstd; do
		peak "mklayer -z $z, $records files" 64 "ctbox mklayer -z $z"' -C "$million" "$million.list" >/dev/null'
	done
}

memory_mkinitrd() {
	devices
	peak "mkinitrd, $records devices" 64 'ctbox mkinitrd -C "$tmp/empty" "$devices" >/dev/null'
}

memory_mkinitrd_files() {
	million
	for z in none gzip zstd; do
		peak "mkinitrd -z $z, $records files" 64 "ctbox mkinitrd -z $z"' -C "$million" "$million.list" >/dev/null'
	done
}

# A file as large as anybody likes, that takes no space.
memory_sparse() {
	gib=${SPARSE_GIB:-4}
	mkdir -p "$tmp/sparse"
	truncate -s "${gib}G" "$tmp/sparse/file"
	peak "sha256, $gib GiB of holes" 64 'ctbox sha256 "$tmp/sparse/file"'
	printf './file 0100644-0-0-%s\n' "$(cat "$tmp/out.1")" >"$tmp/sparse.list"
	chmod 644 "$tmp/sparse/file"
	peak "mklayer, $gib GiB of holes" 64 'ctbox mklayer -q -C "$tmp/sparse" "$tmp/sparse.list" >/dev/null'
}

# grows WHAT COMMAND: records the exponent of time over records, for a hundredth, a tenth and all of them; $n in COMMAND is their number.
grows() {
	row "$1" 'records to the power of' 1.1
	unit=exponent
	timed 5 "n=$((records / 100)); $2" "n=$((records / 10)); $2" "n=$records; $2"
	slope=$(awk -f "$parts/slope.awk" -v records="$records" "$tmp/times")
	record "${slope%% *}" '' '' '' '' "$(judge "${slope%% *}")" '' '' "$rounds" "${slope#* }"
}

scale_fileids() {
	million
	grows 'fileids <NAMES' 'head -n "$n" "$million.names" | ctbox fileids -C "$million"'
}

scale_listdiff() {
	lists
	for n in $((records / 100)) $((records / 10)) "$records"; do
		for side in old new; do head -n "$n" "$data/lists-$records/$side" >"$tmp/$side.$n"; done
	done
	grows 'listdiff' 'ctbox listdiff "$tmp/old.$n" "$tmp/new.$n"'
}

scale_mklayer() {
	million
	grows 'mklayer' 'head -n "$n" "$million.list" | ctbox mklayer -C "$million" >/dev/null'
}

scale_mkinitrd() {
	million
	grows 'mkinitrd' 'head -n "$n" "$million.list" | ctbox mkinitrd -C "$million" >/dev/null'
}
