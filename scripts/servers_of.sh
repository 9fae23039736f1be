#!/bin/sh
# Unpack the servers of another Debian suite into a folder, beside those of the system: servers_of.sh SUITE FOLDER
# They run unchanged on older Debians; nothing is installed, and no service is started.
set -eu

suite=$1 folder=$2
[ ! -x "$folder/usr/bin/prometheus" ] || exit 0
command -v apt-get >/dev/null 2>&1 || { echo "the servers of Debian $suite need apt-get" >&2; exit 1; }
# The mirror of this machine; on another distribution set MIRROR, and install debian-archive-keyring.
mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN)' | sed -n 's|\([^ ]*/debian/\) Debian$|\1|p' | head -1)}
[ -n "$mirror" ] || { echo "no mirror of Debian is configured: set MIRROR" >&2; exit 1; }

mkdir -p "$folder/apt/etc/apt.conf.d" "$folder/apt/etc/preferences.d" "$folder/apt/state/lists/partial" "$folder/apt/cache/archives/partial"
apt=$(cd "$folder/apt" && pwd)
: >"$apt/state/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/etc/sources.list"
cat >"$apt/apt.conf" <<CONF
Dir "$apt";
Dir::State "state"; Dir::Cache "cache"; Dir::Etc "etc";
Dir::State::status "$apt/state/status";
APT::Sandbox::User "root";
APT::Architecture "$(dpkg --print-architecture)";
# That of a suite under development may have expired; signatures are checked all the same.
Acquire::Check-Valid-Until "false";
CONF
export APT_CONFIG="$apt/apt.conf"
apt-get update -qq
packages="prometheus prometheus-alertmanager prometheus-node-exporter victoria-metrics"
# A package of its own from Debian 13 on.
[ -z "$(apt-cache search --names-only '^promtool$')" ] || packages="$packages promtool"
# shellcheck disable=SC2086 # The names are words.
(cd "$apt" && apt-get download -qq $packages)
for package in "$apt"/*.deb; do
    dpkg-deb -x "$package" "$folder"
done
rm -rf "$apt"
echo "$folder: $("$folder/usr/bin/prometheus" --version 2>&1 | head -1)"
