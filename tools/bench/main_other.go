//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: the peers are the Linux kernel and e2fsprogs: this runs on Linux only")
	os.Exit(1)
}
