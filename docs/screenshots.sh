#!/usr/bin/env bash
# Makes the pictures in docs/screenshots anew: of the chat, the dashboard and the
# cluster, in light and dark, as their tests see them in Chromium.
#
#   bash docs/screenshots.sh            # all of them
#   bash docs/screenshots.sh chat       # those of one program

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

taken=$(mktemp -d)
trap 'rm -r "$taken"' EXIT
mkdir -p docs/screenshots
if (($# == 0)); then
	set -- chat dashboard cluster
fi
for name; do
	(cd "examples/$name" && go test -count=1 -run '^TestPage' . -args -screenshots="$taken")
	cp "$taken/$name-light.png" "$taken/$name-dark.png" docs/screenshots/
done
