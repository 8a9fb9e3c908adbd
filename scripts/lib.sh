# Shared by the scripts: finds a Python, makes the virtual environment, installs sipbot into it.
# shellcheck shell=bash

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="${SIPBOT_VENV:-$ROOT/.venv}"

say() { printf '%s\n' "$*" >&2; }

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        if command -v "$candidate" >/dev/null && is_recent "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    say "sipbot needs Python 3.11 or newer (Debian 12: apt-get install python3 python3-venv)"
    return 1
}

apt_usable() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_install() {
    apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

make_venv() {
    [ -x "$VENV/bin/python" ] && is_recent "$VENV/bin/python" && return
    local python
    python="$(find_python)" || return 1
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        if ! apt_usable || ! apt_install python3-venv >&2; then
            say "$python cannot make virtual environments (Debian: apt-get install python3-venv)"
            return 1
        fi
    fi
    say "making $VENV with $python"
    "$python" -m venv --clear "$VENV"
}

# install_sipbot [EXTRA]: editable, and only when pyproject.toml changed since the last time.
install_sipbot() {
    local extra="${1:+[$1]}" stamp="$VENV/.sipbot${1:+-$1}" wanted
    make_venv || return 1
    wanted="$ROOT $(cksum <"$ROOT/pyproject.toml")"
    if [ -x "$VENV/bin/sipbot" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    say "installing sipbot$extra into $VENV"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
        --editable "$ROOT$extra" >&2 || return 1
    printf '%s\n' "$wanted" >"$stamp"
}
