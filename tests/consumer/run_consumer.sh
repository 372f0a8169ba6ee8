#!/usr/bin/env bash
# Goal: an installed cairn can be used with find_package(cairn), and brings none of our own compiler flags.
# Method: installs the tree that was just built into an empty prefix. Then configures, builds and runs a project that
# knows only that prefix, and reads how it was compiled. Only the library and the program are installed.
#
#   run_consumer.sh BUILD_FOLDER CONSUMER_PROJECT [SANITIZERS]
#
# Exit code 77: skipped, because a program without the sanitizers cannot link a library that was built with them.
set -euo pipefail

if [[ -n ${3:-} ]]; then
    printf '%s: Skipped\nwhat was built with -fsanitize=%s links into no program without it\n' "$0" "$3"
    exit 77
fi

build=$1
project=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    printf 'FAILED: %s\n' "$1" >&2
    exit 1
}

cmake --install "$build" --prefix "$work/prefix" >"$work/install.log" || fail "install: $(cat "$work/install.log")"
[[ -x $work/prefix/bin/cairn ]] || fail "the program is not installed as bin/cairn"
[[ -f $work/prefix/include/cairn/cairn.h ]] || fail "the headers are not installed"

cmake -S "$project" -B "$work/consumer" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_CXX_COMPILER_LAUNCHER="$(command -v ccache || true)" || fail "configure"
cmake --build "$work/consumer" || fail "build"

if grep -nE -- '-Werror|-Wall|-Wconversion|-fsanitize' "$work/consumer/compile_commands.json"; then
    fail "our compiler flags reach the consumer"
fi
if grep -nF "$build" "$work/consumer/compile_commands.json" || grep -rnF "$build" "$work/prefix/lib" --include='*.cmake'; then
    fail "the installed package refers to the tree that it was built in"
fi

printed=$("$work/consumer/consumer" "sqlite:$work/consumer.db") || fail "the consumer's program"
[[ $printed == '{"step":1,"note":"from a consumer"}' ]] || fail "the consumer's program printed: $printed"
# The same with pkg-config, from a tree that has been moved.
command -v pkg-config >/dev/null || fail "pkg-config is missing"
mv "$work/prefix" "$work/moved"
PKG_CONFIG_PATH=$(find "$work/moved" -type d -name pkgconfig)
export PKG_CONFIG_PATH
[[ $(pkg-config --modversion cairn) == "$("$work/moved/bin/cairn" version | cut -d' ' -f2)" ]] || fail "the version of cairn.pc"
# shellcheck disable=SC2046  # words are wanted
$(command -v ccache || true) "${CXX:-g++}" -std=c++23 "$project/main.cpp" $(pkg-config --cflags --libs cairn) \
    -o "$work/with_pkg_config" || fail "pkg-config: compile and link"
printed=$("$work/with_pkg_config" "sqlite:$work/pkg_config.db") || fail "pkg-config: the consumer's program"
[[ $printed == '{"step":1,"note":"from a consumer"}' ]] || fail "pkg-config: the program printed: $printed"

# Files that a user expects beside the program.
share=$work/moved/share
for file in man/man1/cairn.1 bash-completion/completions/cairn zsh/site-functions/_cairn fish/vendor_completions.d/cairn.fish; do
    [[ -s $share/$file ]] || fail "share/$file is not installed"
done

printf 'found, compiled, linked, saved and loaded\n'
