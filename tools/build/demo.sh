#!/bin/sh
# The demonstration: e4kit at its main job on an image that mke2fs made and the
# Linux kernel filled. Arguments: the e4kit binary.
set -eu
e4kit=$1
here=testimages/demo
image=$here/demo.img.gz
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

# Shows a command and runs it; $top is how many lines of it to show.
run() {
	printf '\n$ e4kit %s\n' "$*"
	"$e4kit" "$@" >"$copy/.out"
	head -n "${top:-1000}" "$copy/.out"
	lines=$(wc -l <"$copy/.out")
	if [ "$lines" -gt "${top:-1000}" ]; then echo "... ($((lines)) lines)"; fi
}

run info "$image"
top=24 run ls -lR "$image:/"
run cp -a "$image:/usr" "$copy/"

printf '\n# The copy against the digests that were taken through the kernel'"'"'s own mount:\n'
grep '  usr/' $here/SHA256SUMS >"$copy/.sums"
if command -v sha256sum >/dev/null 2>&1; then sums='sha256sum -c --quiet'; else sums='shasum -a 256 -c --quiet'; fi
(cd "$copy" && $sums .sums)
found=$(cd "$copy" && find usr -type f | wc -l)
wanted=$(grep -c '  usr/' $here/SHA256SUMS)
[ "$((found))" -eq "$wanted" ] || { echo "demo: $found files copied, $wanted expected" >&2; exit 1; }
echo "$wanted files, all good"

printf '\n# The whole image against the manifest of that mount:\n'
"$e4kit" hash "$image:/" >"$copy/.manifest"
cmp $here/demo.manifest "$copy/.manifest"
echo "$(wc -l <"$copy/.manifest" | tr -d ' ') names: type, mode, owner, size, time, content, links, attributes, all as the kernel shows them"

run extents "$image:/var/lib/journal.db"
run extents --map "$image:/var/log/messages"
