#!/bin/sh
# Runs a command in the project's own environment, which is made first where it is missing or out of date:
#
#     sh tools/run.sh COMMAND [ARGUMENT ...]
#
# The environment is .venv beside this folder, with the versions of requirements.lock and an editable install. It needs
# Python 3.11 or later with venv, or uv; nothing outside the clone is touched.
set -eu

fail() { echo "tinygraph: $1" >&2; exit 2; }

[ $# -gt 0 ] || fail "expected a command, such as: sh tools/run.sh tinygraph train"
root=$(cd "$(dirname "$0")/.." && pwd)
venv=$root/.venv
stamp=$venv/tinygraph-setup
setup="$root $(cat "$root/requirements.lock" "$root/pyproject.toml" | cksum)"  # an editable install knows its path

# The first Python of at least 3.11 that can make an environment; prints what stands in the way otherwise.
find_python() {
    found=
    for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
        version=$("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
        if ! "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            found=${found:-"Python $version is too old"}
        elif ! "$name" -c 'import ensurepip, venv' 2>/dev/null; then
            found="Python $version has no venv (Debian: apt-get install python3-venv)"
        else
            echo "$name"
            return 0
        fi
    done
    echo "${found:-there is no Python}"
    return 1
}

make_environment() {
    if python=$(find_python); then
        echo "tinygraph: setting up $venv, once" >&2
        rm -rf "$venv"
        "$python" -m venv "$venv" || return
        set -- "$venv/bin/python" -m pip --disable-pip-version-check install --quiet
    elif command -v uv >/dev/null; then
        echo "tinygraph: setting up $venv with uv, once" >&2
        rm -rf "$venv"
        uv venv --quiet --python ">=3.11" "$venv" || return
        set -- uv pip install --quiet --python "$venv/bin/python"
    else
        fail "Python 3.11 or later with venv is needed, or uv: $python"
    fi
    "$@" --require-hashes -r "$root/requirements.lock" &&
        "$@" --no-deps --no-build-isolation -e "$root"
}

if [ "$(cat "$stamp" 2>/dev/null)" != "$setup" ]; then
    make_environment || fail "the environment is not complete; the lines above say why, the same command tries again"
    echo "$setup" >"$stamp"
fi
PATH=$venv/bin:$PATH
export PATH
exec "$@"
