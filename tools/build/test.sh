#!/bin/sh
# Runs "go test" with the given arguments. The test processes of one run share
# the images they build, in a folder that goes away afterwards.
set -eu

base=/dev/shm # in memory, where there is such
[ -d $base ] && [ -w $base ] || base=${TMPDIR:-/tmp}
# The name is fixed per clone and not per run, so that go may reuse results.
images=$base/e4kit-images-$(id -u)-$(pwd | cksum | cut -d' ' -f1)
if [ -d "$images" ]; then
	pid=$(cat "$images/pid" 2>/dev/null || true)
	if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then
		images=$images-$$ # another run of this clone is at work
	else
		rm -rf "$images" # left by a run that was killed
	fi
fi
mkdir "$images"
echo $$ >"$images/pid"
trap 'rm -rf "$images"' EXIT
trap 'exit 130' INT TERM

echo "go test $*"
E4KIT_IMAGE_CACHE=$images go test "$@"
