#!/bin/sh
# Make sure that the servers named by their Debian packages are there; install them where that is possible.
# No service is started: policy-rc.d keeps the packages from doing so.
set -eu

missing=""
for package in "$@"; do
    # Upstream's tarballs name Alertmanager without the prefix.
    command -v "$package" >/dev/null 2>&1 || command -v "${package#prometheus-}" >/dev/null 2>&1 || missing="$missing $package"
    # A package of its own from Debian 13 on.
    if [ "$package" = prometheus ] && ! command -v promtool >/dev/null 2>&1; then
        apt-cache show promtool >/dev/null 2>&1 && missing="$missing promtool"
    fi
done
[ -n "$missing" ] || exit 0

# Nobody is asked for a password: sudo is used where CI has it without one.
as=""
[ "$(id -u)" = 0 ] || [ -z "${CI:-}" ] || ! sudo -n true 2>/dev/null || as="sudo -n"

if { [ "$(id -u)" != 0 ] && [ -z "$as" ]; } || ! command -v apt-get >/dev/null 2>&1; then
    echo "not found on PATH:$missing" >&2
    echo "On Debian or Ubuntu: sudo apt-get install --no-install-recommends$missing" >&2
    echo "Elsewhere: install Prometheus and Alertmanager as their documentation says, and put them on PATH." >&2
    echo "With Docker, without any of them: docker compose -f deploy/docker/compose.yaml up --build" >&2
    exit 1
fi

echo "installing$missing ..."
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' | $as tee /usr/sbin/policy-rc.d >/dev/null
    $as chmod +x /usr/sbin/policy-rc.d
    trap '$as rm -f /usr/sbin/policy-rc.d' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # The names are words.
$as apt-get install -qq -y --no-install-recommends $missing >/dev/null 2>&1 || {
    $as apt-get update -qq
    $as apt-get install -qq -y --no-install-recommends $missing >/dev/null
}
