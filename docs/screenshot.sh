#!/bin/sh
# Takes the picture of a report that the documentation shows, by a headless Chromium.
# Usage: docs/screenshot.sh out/quickstart/report/index.html docs/report.png [WIDTH [HEIGHT]]
set -eu
page=$(realpath "$1")
picture=$(realpath "$2")
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
"${CHROMIUM:-chromium}" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
  --disable-component-update --disable-sync --user-data-dir="$profile" --hide-scrollbars --force-device-scale-factor=1.5 \
  --window-size="${3:-1100},${4:-1500}" --screenshot="$picture" "file://$page"
