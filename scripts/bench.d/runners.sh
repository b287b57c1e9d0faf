# shellcheck shell=sh disable=SC2016,SC2034,SC2154 # texts for another shell; variables are scripts/bench's
# Measurements of starting: ctbox itself, virtual machines, sandboxes.

# The slowest of all applets counts. Start and end of a program that does nothing are what the Go runtime takes.
ratio_start() {
	row 'start of the slowest applet' 'empty Go program' 2.4
	mkdir -p "$tmp/nothing"
	printf 'package main\n\nfunc main() {}\n' >"$tmp/nothing/main.go"
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$tmp/bin/nothing" "$tmp/nothing/main.go"
	set --
	for applet in $(ctbox --list); do set -- "$@" -- ctbox "$applet" --version; done
	timer "${ROUNDS:-200}" 5 "$tmp/out" "$@" -- nothing >"$tmp/all"
	theirs=$(($(ctbox --list | wc -l) + 1))
	slowest=$(sort -k1,1n -k2,2n "$tmp/all" | awk -v theirs="$theirs" '
		{ t[$1, ++n[$1]] = $2 }
		END {
			for (i = 1; i < theirs; i++) if (t[i, int((n[i] + 1) / 2)] > t[slowest, int((n[i] + 1) / 2)]) slowest = i
			print slowest
		}')
	what="start of $(ctbox --list | sed -n "${slowest}p"), the slowest applet"
	awk -v ours="$slowest" -v theirs="$theirs" '$1 == ours { $1 = 1; print } $1 == theirs { $1 = 2; print }' "$tmp/all" >"$tmp/times"
	verdict
}

# guests: a tree whose /init prints hello, as an initrd, and as one with the cookbook's first program.
guests() {
	needs qemu-system-x86_64 busybox cpio
	kernel=$(find /boot -name 'vmlinuz-*' | sort -V | tail -n 1)
	test -r "$kernel" || skip 'no kernel in /boot'
	guests=$tmp/guests
	export guests kernel XDG_CACHE_HOME="$guests"
	test ! -d "$guests" || return 0
	mkdir -p "$guests/hello/bin" "$guests/hello/dev"
	cp "$(command -v busybox)" "$guests/hello/bin/"
	for name in sh cat mount poweroff; do ln -s busybox "$guests/hello/bin/$name"; done
	printf '#!/bin/sh\necho hello\n' >"$guests/hello/init"
	chmod 755 "$guests/hello/init"
	cp -R "$guests/hello" "$guests/cookbook"
	cat >"$guests/cookbook/rdinit" <<'END'
#!/bin/sh
mount -t devtmpfs none /dev
/init >/dev/ttyS1
echo $? >/dev/ttyS2
poweroff -f
END
	chmod 755 "$guests/cookbook/rdinit"
	(cd "$guests/cookbook" && find . | cpio -o -H newc --quiet) >"$guests/cookbook.initrd"
	cat >"$guests/cookbook.sh" <<END
qemu-system-x86_64 -accel tcg -m 128M -kernel $kernel -initrd $guests/cookbook.initrd \\
	-append 'rdinit=/rdinit panic=1 console=ttyS0 loglevel=4' -no-reboot -display none -chardev stdio,mux=on,id=char0 \\
	-chardev file,id=char1,path=$guests/out -chardev file,id=char2,path=$guests/code \\
	-serial chardev:char0 -serial chardev:char1 -serial chardev:char2 </dev/null >$guests/log
tr -d '\r' <$guests/out
END
	ctbox fileids --owner=0:0 "$guests/hello" | ctbox mkinitrd -C "$guests/hello" >"$guests/hello.initrd"
	random 1 >"$guests/hello/mib"
	ctbox fileids --owner=0:0 "$guests/hello" | ctbox mkinitrd -C "$guests/hello" >"$guests/much.initrd"
	runkvm 'hello.initrd' >/dev/null # makes what the others find in the cache
}

runkvm() { ctbox runkvm --accel=tcg --kernel="$kernel" "$guests/$1"; }

ratio_runkvm_cold() {
	row 'runkvm --cold' 'the cookbook with qemu' 0.53
	reason='most of it is the boot of the kernel, which qemu emulates'
	guests
	timed 5 'ctbox runkvm --accel=tcg --kernel="$kernel" --cold "$guests/hello.initrd"' 'sh "$guests/cookbook.sh"'
	same
	verdict
}

ratio_runkvm_warm() {
	row 'runkvm' 'the cookbook with qemu' 0.15
	guests
	timed 5 'ctbox runkvm --accel=tcg --kernel="$kernel" "$guests/hello.initrd"' 'sh "$guests/cookbook.sh"'
	same
	verdict
}

# What 64 MiB take at 10 MiB/s, with the start.
ratio_runkvm_output() {
	row 'runkvm, 64 MiB of output' '10 MiB/s' 1
	guests
	mibs=$(yes /mib | head -n 64 | tr '\n' ' ')
	export mibs
	timed 5 'ctbox runkvm --accel=tcg --kernel="$kernel" "$guests/much.initrd" cat $mibs'
	awk '{ print } { print 2, 6400000000, 0 }' "$tmp/times" >"$tmp/both" && mv "$tmp/both" "$tmp/times"
	test "$(wc -c <"$tmp/out.1")" = 67108864
	verdict
}

# sandboxes: a tree with a static /init that prints hello, as each runner wants it; and $as, which runs a command as an ordinary user,
# $user in $group.
sandboxes() {
	sandboxes=$tmp/sandboxes
	user=$(id -u) group=$(id -g) as="env PATH=$sandboxes/bin"
	if [ "$user" = 0 ]; then user=65534 group=65534 as="setpriv --reuid=65534 --regid=65534 --clear-groups $as"; fi
	test ! -d "$sandboxes" || return 0
	chmod 755 "$tmp"
	mkdir -p "$sandboxes/plain" "$sandboxes/bwrap/dev" "$sandboxes/bwrap/proc" "$sandboxes/bin"
	for dir in dev proc sys tmp; do mkdir -p "$sandboxes/crun/rootfs/$dir"; done
	printf '#include <unistd.h>\nint main(void) { return write(1, "hello\\n", 6) != 6; }\n' >"$sandboxes/hello.c"
	"${CC:-cc}" -Os -static -s -o "$sandboxes/plain/init" "$sandboxes/hello.c"
	cp "$sandboxes/plain/init" "$sandboxes/bwrap/"
	cp "$sandboxes/plain/init" "$sandboxes/crun/rootfs/"
	for program in bwrap chroot crun ctbox timer unshare; do
		if path=$(command -v "$program"); then ln -s "$path" "$sandboxes/bin/"; fi
	done
	if [ "$(id -u)" = 0 ]; then chown -R "$user:$group" "$sandboxes"; fi
}

# against COMMAND...: start to exit of a static hello in runlocal and by COMMAND, as an ordinary user.
against() {
	needs "$1"
	$as ctbox runlocal "$sandboxes/plain" >"$tmp/out.1" 2>"$tmp/why" || skip "$(head -n 1 "$tmp/why")"
	$as "$@" >"$tmp/out.2" 2>"$tmp/why" || skip "$1: $(head -n 1 "$tmp/why")"
	same
	$as timer "${ROUNDS:-200}" 5 "$sandboxes/out" -- ctbox runlocal "$sandboxes/plain" -- "$@" >"$tmp/times"
	cmp "$sandboxes/out.1" "$sandboxes/out.2"
	verdict
}

why_slower='runlocal mounts an overlay and filters system calls, and a Go program takes more than a millisecond to start'

ratio_runlocal_bwrap() {
	row 'runlocal' 'bwrap, all namespaces' 0.75
	reason=$why_slower
	sandboxes
	against bwrap --unshare-all --bind "$sandboxes/bwrap" / --proc /proc --dev /dev /init
}

# One user and no newuidmap is what runlocal has, too. Where both versions of cgroups have controllers crun refuses to start, so
# root hides them, from both sides and from nobody else.
ratio_runlocal_crun() {
	row 'runlocal' 'crun, rootless, no cgroup' 0.4
	reason=$why_slower
	sandboxes
	needs crun
	set -- crun --cgroup-manager=disabled --root="$sandboxes/state" run --bundle="$sandboxes/crun" ctbox-bench
	id='[{"containerID": 0, "hostID": %d, "size": 1}]'
	# shellcheck disable=SC2059 # the format is ours
	maps=$(printf "\"uidMappings\": $id, \"gidMappings\": $id" "$user" "$group")
	(cd "$sandboxes/crun" && $as crun spec --rootless &&
		sed -i "s|\"terminal\": true|\"terminal\": false|; s|\"sh\"|\"/init\"|; s|\"linux\": {|& $maps,|" config.json)
	if $as "$@" 2>&1 | grep -q 'cgroups in hybrid mode' && [ "$(id -u)" = 0 ]; then
		echo 'exec unshare --mount sh -c "mount -t tmpfs none /sys/fs/cgroup && exec \"\$@\"" sh "$@"' >"$sandboxes/hide"
		as="sh $sandboxes/hide $as"
	fi
	against "$@"
}

# The other isolates nothing but users.
ratio_runlocal_unshare() {
	row 'runlocal' 'unshare -r chroot' 2.0
	reason=$why_slower
	sandboxes
	against unshare -r chroot "$sandboxes/plain" /init
}
