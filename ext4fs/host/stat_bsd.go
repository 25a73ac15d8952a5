//go:build darwin || freebsd

package host

import (
	"io/fs"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// StatOf gives what info has of it; ok is false if it has nothing.
func StatOf(info fs.FileInfo) (s Stat, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Stat{}, false
	}
	at := func(t syscall.Timespec) time.Time { return time.Unix(int64(t.Sec), int64(t.Nsec)) }
	return Stat{
		Dev: uint64(st.Dev), Ino: uint64(st.Ino), Links: uint64(st.Nlink), UID: st.Uid, GID: st.Gid,
		Major: unix.Major(uint64(st.Rdev)), Minor: unix.Minor(uint64(st.Rdev)),
		Atime: at(st.Atimespec), Mtime: at(st.Mtimespec), Ctime: at(st.Ctimespec),
		Blocks: int64(st.Blocks),
	}, true
}
