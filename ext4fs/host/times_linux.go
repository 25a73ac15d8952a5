package host

import (
	"io/fs"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// NarrowTimes: what the stat calls give has 32 bits for seconds, which end in 2038.
// So it is on machines with words of 32 bits; TimesAt knows better.
const NarrowTimes = strconv.IntSize == 32

// Times are those of a file.
type Times struct{ Atime, Mtime, Ctime time.Time }

// TimesAt reads the times of a name in an open directory, or of the directory for
// "", with all their 64 bits. ok is false on kernels before 4.11, which cannot tell.
func TimesAt(dir int, name string, follow bool) (t Times, ok bool) {
	flags := unix.AT_EMPTY_PATH
	if !follow {
		flags |= unix.AT_SYMLINK_NOFOLLOW
	}
	var st unix.Statx_t
	_, err := retry(func() (int, error) { return 0, unix.Statx(dir, name, flags, unix.STATX_BASIC_STATS, &st) })
	at := func(t unix.StatxTimestamp) time.Time { return time.Unix(t.Sec, int64(t.Nsec)) }
	return Times{at(st.Atime), at(st.Mtime), at(st.Ctime)}, err == nil
}

// StatPath is StatOf of what was found at a path. It knows all times.
func StatPath(path string, info fs.FileInfo) (s Stat, ok bool) {
	s, ok = StatOf(info)
	if NarrowTimes && ok {
		s.widen(unix.AT_FDCWD, path, info.Mode()&fs.ModeSymlink == 0)
	}
	return s, ok
}

// widen reads the times anew.
func (s *Stat) widen(dir int, name string, follow bool) {
	if t, ok := TimesAt(dir, name, follow); ok {
		s.Atime, s.Mtime, s.Ctime = t.Atime, t.Mtime, t.Ctime
	}
}
