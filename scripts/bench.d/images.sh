# shellcheck shell=sh disable=SC2016,SC2034,SC2089,SC2090,SC2154 # texts for another shell; variables are scripts/bench's
# Measurements of images: made from a list and a tree, loaded, run.

# ours is how ctbox makes an image of Debian: here from its list, below from the tree alone.
ours='ctbox mklayer -q -C "$data/debian" "$data/debian.list" >"$tmp/1.layer"; echo "$tmp/1" | ctbox mkimage --tag=bench >"$tmp/1.image"'
from_tree='ctbox fileids "$data/debian" >"$tmp/1.list"
ctbox mklayer -q -C "$data/debian" "$tmp/1.list" >"$tmp/1.layer"; echo "$tmp/1" | ctbox mkimage --tag=bench >"$tmp/1.image"'

# same_images [FORMAT]: the largest files in both archives, which are layers, hold the same, as tar sees it.
same_images() {
	for n in 1 2; do
		mkdir "$tmp/$n.opened"
		tar -xf "$tmp/$n.image" -C "$tmp/$n.opened"
		find "$tmp/$n.opened" -type f -printf '%s %p\n' | sort -n | sed -n '$s/^[0-9]* //p' >"$tmp/largest"
		mv "$(cat "$tmp/largest")" "$tmp/$n.tar"
		rm -r "$tmp/$n.opened"
	done
	same_contents .tar "$@"
}

ratio_image_crane() {
	row 'list and tree to image archive' 'tar, crane append' 0.4
	needs crane tar
	debian
	timed 5 "$ours" 'tar --no-recursion --xattrs -C "$data/debian" -cf "$tmp/2.layer" -T "$data/debian.names"
		crane append --new_layer "$tmp/2.layer" --new_tag bench:latest --output "$tmp/2.image" 2>&1'
	same_images
	verdict
}

# umoci makes a directory, and compresses in any case.
ratio_image_umoci() {
	row 'list and tree to image archive' 'umoci insert, tar' 0.4
	needs umoci tar
	debian
	export BEFORE='rm -rf "$tmp/layout"'
	timed 5 "$ours" 'umoci init --layout "$tmp/layout"; umoci new --image "$tmp/layout:bench"
		umoci insert --image "$tmp/layout:bench" "$data/debian" /; tar -C "$tmp/layout" -cf "$tmp/2.image" .'
	same_images
	verdict
}

# in_store: $store, the options with which buildah and podman have a store of their own.
in_store() {
	test "$(id -u)" = 0 || skip 'needs root'
	store="--root $tmp/store --runroot $tmp/store.run --storage-driver overlay"
	export store
}

# emptied removes what buildah left.
emptied='buildah $store rm --all; buildah $store rmi --all --force'

# buildah makes root the owner of all.
ratio_image_buildah() {
	row 'list and tree to image archive' 'buildah copy, commit' 0.4
	needs buildah
	debian
	in_store
	export BEFORE="$emptied; rm -f "'"$tmp/2.image"'
	timed 5 "$ours" 'c=$(buildah $store from scratch); buildah $store copy -q "$c" "$data/debian" /
		buildah $store commit -q --disable-compression "$c" "docker-archive:$tmp/2.image:bench"'
	same_images '%p %y %m %l\n'
	verdict
}

ratio_mkimage() {
	row 'mkimage of two layers >FILE' 'cat LAYERS >FILE' 1.5
	reason='each byte is digested and checked besides; cat has the kernel copy'
	packed
	grep -v '^\./usr/share' "$data/debian.list" >"$tmp/half.list"
	ctbox mklayer -q -C "$data/debian" "$tmp/half.list" >"$tmp/half.layer"
	timed 11 'printf "%s\n" "$data/debian" "$tmp/half" | ctbox mkimage >"$tmp/1.image"' \
		'cat "$data/debian.layer" "$tmp/half.layer" >"$tmp/2.image"'
	mkdir "$tmp/opened"
	tar -xf "$tmp/1.image" -C "$tmp/opened"
	find "$tmp/opened" -type f -size +1M -exec sha256sum {} + | cut -c 1-64 | sort -u >"$tmp/ours"
	sha256sum "$data/debian.layer" "$tmp/half.layer" | cut -c 1-64 | sort | cmp - "$tmp/ours"
	verdict
}

# docker: a daemon for these measurements alone, which touches no network and no other daemon's files.
docker_alone() {
	needs docker dockerd
	test "$(id -u)" = 0 || skip 'dockerd needs root'
	export DOCKER_HOST="unix://$tmp/docker.sock" DOCKER_CONFIG="$tmp/docker.config" DOCKER_BUILDKIT=0
	test ! -e "$tmp/docker.pid" || return 0
	test ! -e "$tmp/docker.log" || skip "dockerd: $(tail -n 1 "$tmp/docker.log")"
	dockerd --data-root "$tmp/docker" --exec-root "$tmp/docker.run" --pidfile "$tmp/docker.pid" --host "$DOCKER_HOST" \
		--containerd-namespace "${tmp##*/}" --containerd-plugins-namespace "${tmp##*/}-plugins" \
		--bridge=none --iptables=false </dev/null >"$tmp/docker.log" 2>&1 &
	dockerd=$!
	tries=600
	until docker version >/dev/null 2>&1; do
		if [ $((tries -= 1)) = 0 ] || ! kill -0 "$dockerd" 2>/dev/null; then skip "dockerd: $(tail -n 1 "$tmp/docker.log")"; fi
		sleep 0.2
	done
}

# stop_docker is for scripts/bench to end with.
stop_docker() {
	stopping=$(cat "$tmp/docker.pid" 2>/dev/null) || return 0
	kill "$stopping" 2>/dev/null || return 0
	while kill -0 "$stopping" 2>/dev/null; do sleep 0.1; done
}

# regular IMAGE FILE: puts the regular files of an image of the engine into FILE, as digests and names, but without what containers are
# given by the engine. COPY changes owners and drops hard links.
regular() {
	rm -rf "$tmp/exported"
	mkdir "$tmp/exported"
	container=$(docker create "$1" /bin/true)
	docker export "$container" | tar -xf - -C "$tmp/exported" --exclude=dev
	docker rm "$container" >/dev/null
	(cd "$tmp/exported" && rm -f .dockerenv etc/hosts etc/hostname etc/resolv.conf etc/mtab &&
		find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$2"
	rm -r "$tmp/exported"
}

ratio_load_docker() {
	row 'tree to loaded image, cold' 'docker build' 0.25
	reason='docker load of the finished archive alone takes a third of docker build'
	daemon=1
	debian
	docker_alone
	printf 'FROM scratch\nCOPY . /\n' >"$tmp/Dockerfile"
	export BEFORE='docker rmi -f $(docker images -aq) 2>/dev/null || :'
	timed 3 "$from_tree; "'docker load -q -i "$tmp/1.image"' 'docker build -q -t bench:theirs -f "$tmp/Dockerfile" "$data/debian" 2>/dev/null'
	docker load -q -i "$tmp/1.image" >/dev/null
	docker tag bench bench:ours
	docker build -q -t bench:theirs -f "$tmp/Dockerfile" "$data/debian" >/dev/null 2>&1
	for side in ours theirs; do regular "bench:$side" "$tmp/$side.txt"; done
	cmp "$tmp/ours.txt" "$tmp/theirs.txt"
	verdict
}

ratio_load_buildah() {
	row 'tree to loaded image, cold, podman' 'buildah copy, commit' 0.25
	reason='podman load alone, which unpacks the archive, takes longer than this; buildah copies into its store'
	needs buildah podman
	debian
	in_store
	export BEFORE="$emptied"
	timed 3 "$from_tree; "'podman $store load -q -i "$tmp/1.image"' 'c=$(buildah $store from scratch)
		buildah $store copy -q "$c" "$data/debian" /; buildah $store commit -q "$c" bench'
	verdict
}

# changed: $ours, from a tree in which one small file changed to the output of what runs, with all else in ctbox's cache and in the engine.
changed() {
	known
	docker_alone
	ctbox mklayer -q -C "$disk/debian" "$disk/debian.known" >"$tmp/base.layer"
	cp -p "$disk/debian/etc/motd" "$tmp/motd"
	export BEFORE='date +%s%N >"$tmp/now"
		for tree in "$disk/debian" "$disk/context/changed"; do if [ -d "$tree" ]; then cp "$tmp/now" "$tree/etc/motd"; fi; done'
	ours='ctbox fileids --cache="$disk/debian.cache" "$disk/debian" | ctbox listdiff "$disk/debian.known" - |
			ctbox mklayer -q --trust-cache="$disk/debian.cache" -C "$disk/debian" >"$tmp/change.layer"
		printf "%s\n" "$tmp/base" "$tmp/change" | ctbox mkimage --tag=bench:ours >"$tmp/1.image"
		ctbox rundocker "$tmp/1.image" cat /etc/motd'
}

# after_change: times $ours and $theirs, and looks whether they print what was in the file. The tree is then as it was.
after_change() {
	for text in "$ours" "$theirs"; do sh -euc "$BEFORE; $text" >/dev/null; done # loads what is not to be loaded again
	timed 3 "$ours" "$theirs"
	cp -p "$tmp/motd" "$disk/debian/etc/motd"
	for n in 1 2; do grep -qx '[0-9]\{19\}' "$tmp/out.$n"; done
	verdict
}

# Docker has cached all but the tree, of which a file has changed.
ratio_change() {
	row 'tree to running, one file changed' 'docker build, run' 0.1
	reason='docker run alone takes half of it, and mkimage copies and digests all layers'
	daemon=1
	changed
	printf 'FROM scratch\nCOPY . /\n' >"$tmp/Dockerfile"
	theirs='docker build -q -t bench:theirs -f "$tmp/Dockerfile" "$disk/debian" 2>/dev/null >"$tmp/id"
		docker run --rm --network none bench:theirs cat /etc/motd'
	after_change
}

# Here who wrote the Dockerfile knew which file would change.
ratio_change_layers() {
	row 'tree to running, one file changed' 'docker build of two layers, run' ''
	daemon=1
	changed
	mkdir -p "$disk/context/changed/etc"
	cp -a "$disk/debian" "$disk/context/debian"
	printf 'FROM scratch\nCOPY debian /\nCOPY changed /\n' >"$disk/context/Dockerfile"
	theirs='docker build -q -t bench:theirs "$disk/context" 2>/dev/null >"$tmp/id"; docker run --rm --network none bench:theirs cat /etc/motd'
	after_change
}

# mke2fs must be told a size. What it makes has other features, and the same files.
ratio_disk() {
	row 'mkdisk of a list' 'mke2fs -d' 1.2
	needs mke2fs
	debian
	export BEFORE='rm -f "$tmp/2.disk"'
	timed 5 'ctbox mkdisk -C "$data/debian" -o "$tmp/1.disk" "$data/debian.list"' 'mke2fs -q -t ext4 -d "$data/debian" "$tmp/2.disk" 1G'
	verdict
}
