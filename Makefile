# SPDX-License-Identifier: GPL-2.0-or-later
#
# The front door: each target calls one script of scripts/ for the work.
# Results are in build/; what another checkout can use again is in the cache,
# ~/.cache/virtio-tmem or $VIRTIO_TMEM_CACHE.

.NOTPARALLEL:
.PHONY: all lib qemu host install modules tmemctl deb deb-host docs demo bench check clean clean-cache help

#? make              lib, qemu, modules and tmemctl; 15 min the first time, then seconds
all: lib qemu modules tmemctl

#? make lib          libtmem alone, into build/libtmem-plain; seconds
lib:
	@scripts/install-deps lib
	@scripts/build-lib plain

#? make qemu         QEMU with the device, into build/bin; 10 min the first time
qemu:
	@scripts/install-deps lib qemu
	@scripts/build-qemu

#? make host         QEMU with all that hosts in production want, into build/host; 10 min
host:
	@scripts/install-deps lib qemu host
	@scripts/build-qemu --host

#? make install      that QEMU and tmemctl, beside the distribution's; DESTDIR= and prefix=/usr/local
install:
	@DESTDIR="$(DESTDIR)" prefix="$(prefix)" scripts/install-host

#? make docs         the manual as HTML and manual pages, into build/docs; seconds
docs:
	@scripts/install-deps docs
	@scripts/build-docs

#? make modules      virtio_tmem.ko for Linux 5.10 and 6.12, into build/modules; 1 min
modules:
	@scripts/install-deps guest
	@scripts/build-modules 5.10
	@scripts/build-modules 6.12

#? make tmemctl      the operator's command line, into build/bin; seconds
tmemctl:
	@scripts/install-deps lib tmemctl
	@scripts/build-tmemctl plain

#? make deb          the module as a Debian package for DKMS, into build/deb; seconds
deb:
	@scripts/install-deps deb
	@scripts/build-deb >/dev/null

#? make deb-host     the host's side as a Debian package, into build/deb-host; 10 min
deb-host: host tmemctl docs
	@scripts/install-deps deb
	@scripts/build-deb-host

#? make demo         a guest swaps into the host's store, live; 90 s once all is built
demo:
	@scripts/demo

#? make bench        libtmem against raw LZ4 and the host's zram; 20 min, on an idle machine
bench:
	@scripts/bench store

#? make check        every test, 15 min once all is built; scripts/check runs parts of it
check:
	@scripts/check normal

#? make clean        remove build/
clean:
	rm -rf build

#? make clean-cache  remove build/ and the cache: sources, kernels, QEMU's tree
clean-cache: clean
	@scripts/clean-cache

#? make help         this list; times are for 2 cores
help:
	@sed -n 's/^#? //p' Makefile
