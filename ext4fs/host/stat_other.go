//go:build !linux && !darwin && !freebsd

package host

import "io/fs"

// StatOf gives nothing: the system tells no more than info does.
func StatOf(fs.FileInfo) (s Stat, ok bool) { return Stat{}, false }
