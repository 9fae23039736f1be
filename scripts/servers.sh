#!/bin/sh
# Make sure that the servers named by their Debian packages are there; install them where that is possible.
# No service is started: policy-rc.d keeps the packages from doing so.
set -eu

missing=""
for package in "$@"; do
    case $package in
        prometheus-node-exporter) command=prometheus-node-exporter ;;
        *) command=$package ;;
    esac
    # Upstream's tarballs name Alertmanager without the prefix.
    command -v "$command" >/dev/null 2>&1 || command -v "${command#prometheus-}" >/dev/null 2>&1 || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "not found on PATH:$missing" >&2
    echo "On Debian or Ubuntu: sudo apt-get install --no-install-recommends$missing" >&2
    echo "Elsewhere: install Prometheus and Alertmanager as their documentation says, and put them on PATH." >&2
    echo "With Docker, without any of them: docker compose -f deploy/docker/compose.yaml up --build" >&2
    exit 1
fi

echo "installing$missing ..."
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # The names are words.
apt-get install -qq -y --no-install-recommends $missing >/dev/null 2>&1 || {
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends $missing >/dev/null
}
