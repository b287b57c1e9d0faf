# For packagers: make; make check; make install DESTDIR=/tmp/pkg PREFIX=/usr
# Needs Go and GNU make, not git. VERSION is what --version says.
PREFIX     = /usr/local
BINDIR     = $(PREFIX)/bin
MANDIR     = $(PREFIX)/share/man
LIBEXECDIR = $(PREFIX)/libexec
LINKDIR    = $(LIBEXECDIR)/ctbox
VERSION    =

all: bin/ctbox

bin/ctbox: bin/version-$(VERSION) go.mod go.sum $(shell find applets cmd -name '*.go')
	VERSION='$(VERSION)' scripts/build $@

# Another VERSION is another binary.
bin/version-$(VERSION):
	rm -f bin/version-*
	mkdir -p bin && touch '$@'

install: bin/ctbox
	install -d '$(DESTDIR)$(BINDIR)'
	install -m 755 bin/ctbox '$(DESTDIR)$(BINDIR)/ctbox'
	for page in man/*.[1-9]; do \
		test -f "$$page" || continue; \
		dir='$(DESTDIR)$(MANDIR)'/man$${page##*.}; \
		install -d "$$dir" && install -m 644 "$$page" "$$dir" || exit 1; \
	done

# Links named like the applets, for a PATH prefix: mkimage and sha256 have namesakes in /usr/bin.
install-links: bin/ctbox
	install -d '$(DESTDIR)$(LINKDIR)'
	up=$$(echo '$(LINKDIR)' | sed 's|//*|/|g; s|^/||; s|/$$||; s|[^/][^/]*|..|g') && \
	for name in $$(bin/ctbox --list); do \
		ln -sf "$$up$(BINDIR)/ctbox" '$(DESTDIR)$(LINKDIR)'/"$$name" || exit 1; \
	done

uninstall: bin/ctbox
	rm -f '$(DESTDIR)$(BINDIR)/ctbox' '$(DESTDIR)$(MANDIR)'/man[1-9]/ctbox.* '$(DESTDIR)$(MANDIR)'/man[1-9]/ctbox-*
	for name in $$(bin/ctbox --list); do rm -f '$(DESTDIR)$(LINKDIR)'/"$$name"; done
	rmdir '$(DESTDIR)$(LINKDIR)' 2>/dev/null || :

check:
	scripts/test --quick

clean:
	rm -rf bin

.PHONY: all install install-links uninstall check clean
