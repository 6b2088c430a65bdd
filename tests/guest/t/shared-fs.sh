# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# cleancache of a shared file system: two mounts of one UUID, each with a pool of
# its own, as tests/guest/modules/shared-fs.c has them.

set -e
insmod /shared-fs.ko
said "shared-fs: all right"
checkpoint sane
