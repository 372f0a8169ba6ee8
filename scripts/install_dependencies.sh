#!/usr/bin/env bash
# Installs the Debian 12 packages that a step of cairn's build needs. Every make target calls this first.
#
#   scripts/install_dependencies.sh GROUP...      groups: build python test sanitize lint bench
#   scripts/install_dependencies.sh --list GROUP...   print the packages, install nothing
#
# If everything is installed, it prints nothing, uses no network and needs no rights. Otherwise it lists the missing
# packages and runs apt-get, as root or through sudo. CAIRN_SKIP_DEPENDENCIES=1 turns it off (other systems, own
# toolchains).
set -euo pipefail

packages_of() {
    case "$1" in
    build) # the compiler and the libraries: enough for the library, the program and the examples (one agent is in Python)
        echo g++ cmake ninja-build ccache make pkg-config libsimdjson-dev nlohmann-json3-dev libzstd-dev libxxhash-dev \
            libsqlite3-dev libfmt-dev libspdlog-dev libcli11-dev libyaml-cpp-dev python3
        ;;
    test) # binutils: nm, for the rule that the library never aborts or prints; python3: the trajectories' own expander
        echo libgtest-dev libgmock-dev librapidcheck-dev binutils python3
        ;;
    python) # the binding, and for its tests the packages that its users have
        echo pybind11-dev python3-dev python3-pytest python3-pytest-asyncio python3-pydantic python3-sqlalchemy \
            python3-aiosqlite python3-asyncpg python3-greenlet mypy
        ;;
    sanitize) # clang with the runtimes of AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer
        echo clang-19 libclang-rt-19-dev llvm-19
        ;;
    lint) echo clang-tidy-19 clang-format-19 ;;
    bench) echo libbenchmark-dev jq ;;
    *)
        echo "install_dependencies: no package group '$1'; there are: build python test sanitize lint bench" >&2
        exit 2
        ;;
    esac
}

is_installed() {
    [[ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]
}

list_missing() { fold -s -w 100 <<<"${missing[*]}" | sed 's/^/    /; s/ *$//'; }

give_up() {
    printf 'install_dependencies: %s\n' "$1" >&2
    printf '  Packages needed (names of Debian 12):\n%s\n' "$(list_missing)" >&2
    printf '  With these or their like in place, CAIRN_SKIP_DEPENDENCIES=1 skips this check.\n' >&2
    exit 1
}

list_only=no
if [[ "${1:-}" == --list ]]; then
    list_only=yes
    shift
fi
(($# > 0)) || set -- build

wanted=()
for group in "$@"; do
    packages=$(packages_of "$group")
    read -r -a names <<<"$packages"
    wanted+=("${names[@]}")
done

if [[ $list_only == yes ]]; then
    printf '%s\n' "${wanted[@]}"
    exit 0
fi
[[ "${CAIRN_SKIP_DEPENDENCIES:-0}" == 1 ]] && exit 0

missing=("${wanted[@]}")
command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
    give_up "this is not a Debian-like system (no apt-get), so nothing can be installed from here."

missing=()
for package in "${wanted[@]}"; do
    is_installed "$package" || missing+=("$package")
done
((${#missing[@]} == 0)) && exit 0

as_root=()
if ((EUID != 0)); then
    command -v sudo >/dev/null || give_up "packages are missing, and installing them needs root or sudo."
    as_root=(sudo)
fi

printf "To %s cairn, these packages are missing and will now be installed with apt-get:\n%s\n" "$*" "$(list_missing)"
"${as_root[@]}" apt-get update --quiet=2 ||
    printf 'install_dependencies: apt-get update failed; trying with the package lists that are here.\n' >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --quiet=2 --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}" ||
    give_up "apt-get could not install the packages; its own message stands above."
