# For packagers: make; make check; make install install-links DESTDIR=/tmp/pkg PREFIX=/usr
# Needs Go and GNU make, not git. What "make dist" makes needs no network, either. VERSION is what --version says.
VERSION    =
PREFIX     = /usr/local
BINDIR     = $(PREFIX)/bin
MANDIR     = $(PREFIX)/share/man
DOCDIR     = $(PREFIX)/share/doc/ctbox
LIBEXECDIR = $(PREFIX)/libexec
LINKDIR    = $(LIBEXECDIR)/ctbox
BASHDIR    = $(PREFIX)/share/bash-completion/completions
ZSHDIR     = $(PREFIX)/share/zsh/site-functions
FISHDIR    = $(PREFIX)/share/fish/vendor_completions.d

# The program to install. One that is somewhere else is taken as it is.
CTBOX = bin/ctbox
BUILD = $(filter bin/ctbox,$(CTBOX))

INSTALL = DESTDIR='$(DESTDIR)' CTBOX='$(CTBOX)' BINDIR='$(BINDIR)' MANDIR='$(MANDIR)' DOCDIR='$(DOCDIR)' LINKDIR='$(LINKDIR)' \
	BASHDIR='$(BASHDIR)' ZSHDIR='$(ZSHDIR)' FISHDIR='$(FISHDIR)' scripts/install

all: bin/ctbox

bin/ctbox: bin/version-$(VERSION) go.mod go.sum $(shell find applets cmd -name '*.go')
	VERSION='$(VERSION)' scripts/build $@

# Another VERSION is another binary.
bin/version-$(VERSION):
	rm -f bin/version-*
	mkdir -p bin && touch '$@'

install: $(BUILD)
	$(INSTALL) files

# Links named like the applets, for a PATH prefix: mkimage and sha256 have namesakes in /usr/bin.
install-links:
	$(INSTALL) links

uninstall:
	$(INSTALL) remove

# A tarball of the source and all modules, and packages, in dist/.
dist deb rpm:
	scripts/mk$@ --version='$(VERSION)' dist

# What the program is made of, in CycloneDX's form, on standard output.
sbom: $(BUILD)
	@VERSION='$(VERSION)' scripts/sbom '$(CTBOX)'

check:
	scripts/test --quick

clean:
	rm -rf bin dist

.PHONY: all install install-links uninstall dist deb rpm sbom check clean
