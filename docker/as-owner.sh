#!/bin/sh
# Runs a command as the owner of the mounted working copy, so that what it writes there (a migration,
# .coverage, instance/) is the developer's own and nothing is root's.
set -eu

export HOME=/tmp
owner=$(stat -c %u .)
if [ "$(id -u)" = 0 ] && [ "$owner" != 0 ]; then
    set -- setpriv --reuid="$owner" --regid="$(stat -c %g .)" --clear-groups "$@"
fi
exec "$@"
