// Command make makes the demo image anew: go run ./testimages/demo/make DIR.
//
// mke2fs makes the file system and the Linux kernel fills it, so that what
// e4kit shows of it was made by others. It needs root and loop devices. DIR
// gets demo.img.gz, demo.manifest (the tree through the kernel's mount) and
// SHA256SUMS (its regular files, as sha256sum -c reads it).
package main

import (
	"fmt"
	"os"

	"github.com/e4kit/e4kit/testimages"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: make DIR")
		os.Exit(2)
	}
	if err := testimages.MakeDemo(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "make demo image:", err)
		os.Exit(1)
	}
}
