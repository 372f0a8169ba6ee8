#!/bin/sh
# Looks for what is worth a second look: an agent in shell. It needs one member of the state, which sed finds.
set -eu
export LC_ALL=C

member() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }
folder=$(member folder)
pause=$(printf '%s' "${CAIRN_WITH:-}" | member pause)

if [ -n "${REPO_ANALYST_JOURNAL:-}" ]; then
    echo "${CAIRN_STEP:-find_concerns} attempt ${CAIRN_ATTEMPT:-1}" >>"$REPO_ANALYST_JOURNAL"
fi

cd "$folder"
found=""
for concern in 'TODO' 'FIXME' 'strcpy(' 'sprintf(' 'system(' 'eval(' 'goto ' 'const_cast' 'reinterpret_cast'; do
    echo "looking for $concern" >&2
    lines=$(grep -rnIF --exclude-dir='.?*' --exclude-dir=build --exclude-dir=node_modules --include='*.h' \
        --include='*.cpp' --include='*.c' --include='*.py' --include='*.sh' --include='*.js' -e "$concern" . |
        sort || true)
    [ -n "$lines" ] || continue
    first=$(printf '%s\n' "$lines" | sed -n '1s|^\./\([^:]*:[0-9]*\):.*|\1|p' | sed 's/[\\"]/\\&/g')
    count=$(printf '%s\n' "$lines" | wc -l | tr -d ' ')
    found="$found${found:+,}\"$concern\":{\"lines\":$count,\"first\":\"$first\"}"
done
sleep "${pause:-0}"
printf '{"concerns":{%s}}\n' "$found"
