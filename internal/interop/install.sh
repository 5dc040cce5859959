#!/usr/bin/env bash
# Installs the libraries that the tests of this directory have as peers: from Debian
# with apt-get, as root, and from npm. Those in Go come with the module. What is
# installed already is used as it is.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# in_python reports whether Debian's Python has a module.
in_python() { /usr/bin/python3 -c "import $1" 2>/dev/null; }

missing=()
for module in websockets aiohttp tornado autobahn; do
	in_python "$module" || missing+=("python3-$module")
done
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
if ((${#missing[@]})); then
	echo "installing ${missing[*]}"
	log=$(mktemp)
	if ! {
		apt-get update -q &&
			DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
	} >"$log" 2>&1; then
		cat "$log" >&2
		exit 1
	fi
	rm "$log"
fi
npm ci --no-audit --no-fund
