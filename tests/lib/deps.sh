# shellcheck shell=bash
# Sourced: installs the Debian packages a script needs, and says so. A bare Debian 12 has none of them.

# Run a command as root: directly, or through sudo for everybody else.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		command -v sudo >/dev/null || { echo "$0: run as root, or install sudo" >&2; return 1; }
		sudo -- "$@"
	fi
}

# missing_packages PKG...: prints those that are not installed.
missing_packages() {
	local pkg
	for pkg; do
		# Architecture-qualified and virtual names are not used here, so the plain status is enough.
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$pkg" 2>/dev/null)" = installed ] || echo "$pkg"
	done
}

# need_packages PKG...: installs what is missing; silent when nothing is.
need_packages() {
	local missing log
	mapfile -t missing < <(missing_packages "$@")
	[ ${#missing[@]} -gt 0 ] || return 0
	echo "${0##*/}: installing ${missing[*]}" >&2
	log=$(mktemp)
	# Package lists may be absent (container images) or stale (404 on download): update only then.
	if ! apt_install "${missing[@]}" >"$log" 2>&1; then
		if ! { as_root apt-get -qq update && apt_install "${missing[@]}"; } >>"$log" 2>&1; then
			cat "$log" >&2
			rm -f "$log"
			echo "${0##*/}: cannot install ${missing[*]} (see above)" >&2
			return 1
		fi
	fi
	rm -f "$log"
}

apt_install() {
	# Two runs at once wait for each other's dpkg lock instead of failing.
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
		install --no-install-recommends --yes "$@" </dev/null
}
