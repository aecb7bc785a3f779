#!/usr/bin/env bash
# Builds experiments/observing/page/vendor from its package.json and package-lock.json, which pin every version. What it
# makes is part of the checkout: only who changes a version needs npm and this.
set -euo pipefail
vendor=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")/experiments/observing/page/vendor
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$vendor"/package*.json "$work"
cd "$work"
npm ci --omit-lockfile-registry-resolved --no-audit --no-fund
bundle() { npx --no-install esbuild --bundle --minify --format=esm --legal-comments=none --outfile="$vendor/$1"; }
printf 'export * from "d3-selection"; export * from "d3-zoom";' | bundle d3.js
printf 'export { default } from "uplot";' | bundle uplot.js
cp node_modules/uplot/dist/uPlot.min.css "$vendor/uplot.css"
for license in node_modules/d3-*/LICENSE node_modules/uplot/LICENSE; do
    package=$(dirname -- "$license")
    printf '%s\n\n%s\n\n' "$(node -p "const p = require('./$package/package.json'); p.name + ' ' + p.version")" "$(cat "$license")"
done >"$vendor/LICENSES.txt"
