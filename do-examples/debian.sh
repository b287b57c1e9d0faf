#!/bin/sh
# The Debian of debootstrap, and an application.
# Usage: ./debian.sh DIR
set -eu

cp debootstrap.fakeroot "$1.fakeroot"
ctbox try-fakeroot "$1.fakeroot" cp -a debootstrap "$1"
cat >"$1/init" <<'END'
#!/bin/sh
dpkg-query -W | wc -l
END
chmod 755 "$1/init"
