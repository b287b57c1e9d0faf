# shellcheck shell=sh disable=SC2154 # variables are scripts/bench's
# What scripts/bench measures with: everything that is in $data is made once, the same each time, and left where it is.

# kept NAME FUNCTION [ARG]...: has FUNCTION make $data/NAME, given as its first argument, unless it is there.
kept() {
	test ! -e "$data/$1" || return 0
	rm -rf "$data/$1.part"
	kept_function=$2 kept_name=$1
	shift 2
	"$kept_function" "$data/$kept_name.part" "$@"
	mv "$data/$kept_name.part" "$data/$kept_name"
}

# debian: $data/debian, a tree; debian.names and debian.list, what is in it; debian.layer and debian.image, what becomes of it.
debian() {
	kept debian make_debian
	kept debian.names make_names "$data/debian"
	kept debian.list make_list "$data/debian"
}

make_names() { (cd "$2" && find . -print | sort) >"$1"; }
make_list() { ctbox fileids "$2" >"$1"; }

make_debian() {
	if command -v mmdebstrap >/dev/null && mmdebstrap --quiet --variant=minbase bookworm "$1" 2>"$tmp/why"; then
		return 0
	fi
	rm -rf "$1"
	if command -v debootstrap >/dev/null && debootstrap --variant=minbase bookworm "$1" >"$tmp/why" 2>&1; then
		return 0
	fi
	rm -rf "$1"
	echo "no Debian: $(tail -n 1 "$tmp/why" 2>/dev/null || :); an invented tree stands for it"
	invent "$1"
}

# invent DIR: a tree of the shape of Debian's minbase: 9,000 files, 150 MB, in 900 directories; half of them are below 3 KB, and the largest
# has some MB. They are made of words, so that they can be compressed about as well.
invent() {
	mkdir -p "$1"
	awk -v dir="$1" 'BEGIN {
		srand(1)
		for (i = 0; i < 4096; i++) word[i] = sprintf("%c%x%s", 97 + int(rand() * 26), rand() * 65536, substr("lib usr share mkdir return ", 1 + int(rand() * 20), 6))
		while (length(text) < 4194304) {
			line = ""
			for (i = 0; i < 64; i++) line = line word[int(rand() * rand() * 4096)] (i % 8 == 7 ? "\n" : " ")
			more = more line
			if (length(more) > 65536) { text = text more; more = "" }
		}
		for (d = 0; d < 900; d++) {
			at = sprintf("%s/d%02d/sub%02d", dir, d % 30, d / 30)
			system("mkdir -p " at)
			for (f = 0; f < 10; f++) {
				size = int(exp(7.8 + 2 * sqrt(-2 * log(1 - rand() * 0.9999)) * cos(6.2832 * rand())))
				name = at "/file" f
				printf "%s", substr(text, 1 + int(rand() * 2000000), size) >name
				close(name)
			}
		}
	}'
}

packed() {
	debian
	kept debian.layer make_layer
	kept debian.image make_image
}

make_layer() { ctbox mklayer -q -C "$data/debian" "$data/debian.list" >"$1"; }
make_image() { echo "$data/debian" | ctbox mkimage --tag=bench >"$1"; }

# known: that Debian on a disk, with a cache of it, and its list. What was copied just now is not entered at once.
known() {
	debian
	test ! -e "$disk/debian.known" || return 0
	cp -a "$data/debian" "$disk/debian"
	for _ in 1 2 3; do
		sleep 0.1
		ctbox fileids --cache="$disk/debian.cache" "$disk/debian" >"$disk/debian.list"
	done
	mv "$disk/debian.list" "$disk/debian.known"
}

# big: $data/big-N, a file of $mib MiB.
big() {
	mib=${BIG_MIB:-2048}
	kept "big-$mib" make_big
	big=$data/big-$mib
	export big
}

make_big() {
	random 16 >"$tmp/random"
	i=0
	while [ $i -lt "$mib" ]; do
		head -c "$(((mib - i < 16 ? mib - i : 16) * 1048576))" "$tmp/random"
		i=$((i + 16))
	done >"$1"
}

# random MIB: as many hexadecimal digits, the same ones every time.
random() {
	awk -v n="$1" 'BEGIN { srand(1); for (i = 0; i < n * 131072; i++) printf "%08x", rand() * 4294967295 }'
}

# million: $million, a tree of $records empty files; $million.names and $million.list.
million() {
	if [ "$records" -le 1000000 ]; then
		kept "million-$records" files "$records"
		kept "million-$records.names" make_names "$data/million-$records"
		kept "million-$records.list" make_list "$data/million-$records"
		million=$data/million-$records
	else
		many
		million=$disk/many
		test -e "$million.list" || make_list "$million.list" "$million"
	fi
	export million
}

# many: such a tree on a disk, $disk/many, and many.names. More than a million are the same million, mounted as often as it takes: ten
# million inodes are more than most have, and would need as much memory as all the rest. The mounts are in a namespace of
# scripts/bench, and go with it.
many() {
	test ! -e "$disk/many.names" || return 0
	if [ "$records" -le 1000000 ]; then
		files "$disk/many" "$records"
	else
		test "${BENCH_MOUNTS-}" = own || skip 'only root can mount so many files'
		files "$disk/one" 1000000
		for n in $(seq $((records / 1000000))); do
			mkdir -p "$disk/many/$n"
			mount --bind "$disk/one" "$disk/many/$n"
		done
	fi
	make_names "$disk/many.names" "$disk/many"
}

# files DIR N: N empty files, a thousand in each directory.
files() {
	mkdir "$1"
	(cd "$1" && seq -f d%05g $((($2 + 999) / 1000)) | xargs mkdir &&
		for dir in d*; do (cd "$dir" && seq -f f%05g 1000 | xargs touch); done)
}

# lists: $data/lists-N with old and new, where one record in ten is changed, one deleted, one added, in turn.
lists() {
	kept "lists-$records" make_lists
	old=$data/lists-$records/old new=$data/lists-$records/new
	export old new
}

make_lists() {
	mkdir "$1"
	awk -v n="$records" -v old="$1/old" -v new="$1/new" 'BEGIN {
		digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
		print ". 0040755-0-0-0" >old
		print ". 0040755-0-0-0" >new
		for (i = 0; i < n; i++) {
			dir = sprintf("./usr%05d", i / 1000)
			if (i % 1000 == 0) {
				print dir, "0040755-0-0-0" >old
				print dir, "0040755-0-0-0" >new
			}
			name = sprintf("%s/share-file-%03d", dir, i % 1000)
			if (i % 10 != 8) print name, "0100644-0-0-" digest >old
			if (i % 10 != 7) print name, "0100" (i % 10 == 6 ? 755 : 644) "-0-0-" digest >new
		}
	}'
}

# devices: $devices, a list whose records need nothing on disk, and $tmp/empty, where they are.
devices() {
	kept "devices-$records" make_devices
	devices=$data/devices-$records
	export devices
	mkdir -p "$tmp/empty"
}

make_devices() {
	awk -v n="$records" 'BEGIN {
		for (i = 0; i < n; i++) {
			if (i % 1000 == 0) printf "./d%05d 0040755-0-0-0\n", i / 1000
			printf "./d%05d/n%03d 0020600-0-0-0-rdev=5:%d\n", i / 1000, i % 1000, i % 256
		}
	}' >"$1"
}
