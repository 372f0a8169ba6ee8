#!/usr/bin/env bash
# Runs clang-tidy over the sources of src/, bindings/ and examples/. A source is skipped if it was found clean before on this
# machine with the same code after preprocessing, the same .clang-tidy and the same clang-tidy.
#
#   scripts/lint.sh              every source
#   scripts/lint.sh --since REV  the sources that differ from commit REV, and those of a changed header's name
#   scripts/lint.sh --changed    --since the first parent of HEAD: what the newest commit, or the newest merge, has brought
#
# Exit code: 0 if all are clean. It needs the compile commands of build/release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tidy=clang-tidy-19
known_clean=${XDG_CACHE_HOME:-$HOME/.cache}/cairn-lint
tools=$(cat .clang-tidy && $tidy --version)
export tidy known_clean tools
mkdir -p "$known_clean"

all_sources() { git ls-files 'src/*.cpp' 'bindings/*.cpp' 'examples/*.cpp'; }

# The names, without extension, of what differs from a commit: a header is looked at through the source of its name.
changed_sources() {
    local changed
    changed=$(git diff --name-only --diff-filter=d "$1" -- src include bindings examples |
        sed -E 's|.*/||; s|\.[a-z]+$||' | sort -u)
    all_sources | while read -r source; do
        grep -qxF "$(basename "$source" .cpp)" <<<"$changed" && printf '%s\n' "$source"
    done || true
}

# Prints the code of a source after preprocessing, without comments: what its own compile command makes of it with -E.
preprocessed() {
    python3 - "$1" <<'PYTHON'
import json, os, shlex, subprocess, sys
source = os.path.abspath(sys.argv[1])
entry = next((e for e in json.load(open("build/release/compile_commands.json")) if e["file"] == source), None)
if entry is None:
    sys.exit(f"lint: {sys.argv[1]} is not built by the preset release, so it cannot be checked")
words = shlex.split(entry["command"])
words = words[next(i for i, word in enumerate(words) if word.endswith("++")):]
del words[words.index("-o"):words.index("-o") + 2]
command = [*(word for word in words if word != "-c"), "-E", "-P", "-w"]
sys.exit(subprocess.run(command, cwd=entry["directory"]).returncode)
PYTHON
}

check() {
    local source=$1 key
    key=$( (printf '%s\n' "$tools"; grep -n NOLINT "$source" || true; preprocessed "$source") | sha256sum | cut -d' ' -f1)
    [[ -e $known_clean/$key ]] && return 0
    printf 'lint: %s\n' "$source"
    $tidy -p build/release --quiet "$source" 2>&1 | { grep -vE '^[0-9]+ warnings? generated\.$' || true; } || return 1
    : >"$known_clean/$key"
}
export -f check preprocessed

case "${1:-}" in
'') sources=$(all_sources) ;;
--since) sources=$(changed_sources "${2:?a commit is needed}") ;;
--changed)
    first_parent=$(git rev-parse --quiet --verify HEAD^ || git hash-object -t tree /dev/null)
    sources=$(changed_sources "$first_parent")
    ;;
*)
    printf 'lint: unknown argument %q; there are: --since REV, --changed\n' "$1" >&2
    exit 2
    ;;
esac

printf '%s' "$sources" | xargs --no-run-if-empty -d '\n' -P "${JOBS:-$(nproc)}" -I{} bash -euo pipefail -c 'check "$1"' lint {}
printf 'lint: %d sources are clean\n' "$(grep -c . <<<"$sources" || true)"
