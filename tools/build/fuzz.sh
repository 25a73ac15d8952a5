#!/bin/sh
# Runs every fuzz target of the tree for $FUZZTIME each, or those whose
# "./package FuzzName" matches the regular expression $FUZZ. Inputs that fail land
# in the package's testdata/fuzz, where plain tests then run them too.
set -eu
grep -rn --include='*_test.go' '^func Fuzz' . | sed 's/^\(.*\)\/[^/]*_test\.go:[0-9]*:func \(Fuzz[A-Za-z0-9_]*\).*/\1 \2/' | grep -e "${FUZZ:-.}" | sort |
	while read -r dir name; do
		echo "fuzz $dir $name"
		go test -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-30s}" -fuzzminimizetime 1s "$dir" </dev/null
	done
