//go:build !linux

package host

import "io/fs"

// StatPath is StatOf of what was found at a path.
func StatPath(_ string, info fs.FileInfo) (s Stat, ok bool) { return StatOf(info) }
