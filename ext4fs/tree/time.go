package tree

import (
	"cmp"
	"time"
)

// Time is a time as ext4 keeps it, in eight bytes: 34 bits of seconds and the
// nanoseconds. The zero value is the beginning of 1970.
//
//	bits 30-63  seconds since 1970 modulo 2^34, from -2^31 on
//	bits 0-29   nanoseconds
type Time uint64

const (
	nsecBits = 30
	minSec   = -1 << 31          // 1901
	maxSec   = 1<<34 - 1<<31 - 1 // 2446
)

// TimeOf converts a time. Times that ext4 has no place for become the nearest
// one.
func TimeOf(t time.Time) Time { return UnixTime(t.Unix(), int64(t.Nanosecond())) }

// UnixTime is the time so many seconds and nanoseconds (0 to 999999999) after
// the beginning of 1970, or the nearest one that ext4 has a place for.
func UnixTime(sec, nsec int64) Time {
	switch {
	case sec < minSec:
		sec, nsec = minSec, 0
	case sec > maxSec:
		sec, nsec = maxSec, 999_999_999
	}
	nsec = min(max(nsec, 0), 999_999_999)
	return Time(uint64(sec)<<nsecBits | uint64(nsec))
}

// Unix gives seconds since 1970 and nanoseconds.
func (t Time) Unix() (sec int64, nsec int32) {
	sec = int64(t >> nsecBits)
	if sec > maxSec {
		sec -= 1 << 34
	}
	return sec, int32(t & (1<<nsecBits - 1))
}

// Time converts to UTC.
func (t Time) Time() time.Time {
	sec, nsec := t.Unix()
	return time.Unix(sec, int64(nsec)).UTC()
}

// Compare is negative if t is before u, positive if it is after.
func (t Time) Compare(u Time) int {
	a, an := t.Unix()
	b, bn := u.Unix()
	return cmp.Or(cmp.Compare(a, b), cmp.Compare(an, bn))
}

func (t Time) String() string { return t.Time().Format(time.RFC3339Nano) }
