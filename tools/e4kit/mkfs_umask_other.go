//go:build !unix

package main

import "io/fs"

// umask has no meaning here.
func umask() fs.FileMode { return 0 }
