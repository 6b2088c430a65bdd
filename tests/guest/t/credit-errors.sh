# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Stores that are complete to the kernel, and whose pool the host does not know any
# more when they come there: it answers each with an error, and the driver's copy is
# all there is of the page.  It is right, as often as it is read; what the host had
# got before is an error.

set -e
parameters=/sys/module/virtio_tmem/parameters
# The first pages go to the disk, until frontswap has an area.
until swap-held 16 true && [ "$(counter stores_credit)" -gt 16 ]; do usleep 200000; done

# The host has the first batch, and loses it.  What is still gathered comes to its
# successor, along with pages that are stored later.
cat >/run/disaster <<END
[ \$(counter stores_unanswered) -gt 0 ] || { echo nothing is under way; exit 1; }
checkpoint crash-daemon || exit 1
echo 10 >$parameters/store_delay
errors=\$(counter stores_error)
swap-held 8 true || exit 1
tries=0
until [ \$(counter stores_unanswered) = 0 ]; do
    tries=\$((tries + 1))
    [ \$tries -lt 100 ] || { echo the stores are not answered; exit 1; }
    usleep 100000
done
[ \$(counter stores_error) -gt \$errors ] || { echo the host answered no error; exit 1; }
[ \$(counter stores_kept) -gt 0 ] || { echo nothing was kept; exit 1; }
END
echo 10000 >$parameters/store_delay
usleep 100000
swap-held 40 "sh /run/disaster" >/run/said || { cat /run/said; exit 1; }
cat /run/said
grep -qE '^swap-held: right [1-9][0-9]*, lost [1-9][0-9]*, wrong 0' /run/said
# What was kept is freed with its page, and the guest goes on.
pressure --passes 1 --mib 32
