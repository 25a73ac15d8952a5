//go:build !386

package mount

import (
	"os"
	"strconv"
)

// tune raises what the kernel grants a FUSE file system to what it grants a
// disk: read-ahead, and the share of dirty memory, which is kept low for FUSE
// because a server may stop to write. Only root may; else the defaults stay.
func (l *linuxSession) tune() {
	if l.dev == "" {
		return
	}
	dir := "/sys/class/bdi/" + l.dev
	if m, ok := mountAt(l.point); ok && m.block() {
		dir += "-" + fuseblk
	}
	dir += "/"
	for _, s := range []struct {
		file  string
		value int
	}{
		{"read_ahead_kb", maxReadAhead >> 10},
		{"strict_limit", 0},
		{"max_ratio", 100},
	} {
		if err := os.WriteFile(dir+s.file, []byte(strconv.Itoa(s.value)), 0); err != nil {
			l.t.log.Debug("tune", "file", s.file, "error", err)
			return
		}
	}
}
