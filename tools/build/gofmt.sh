#!/bin/sh
# Fails and lists the files that gofmt would change.
set -eu
bad=$(find . -name '*.go' -not -path './.git/*' -exec gofmt -l {} +)
if [ -n "$bad" ]; then
	printf 'gofmt would change:\n%s\n' "$bad" >&2
	exit 1
fi
