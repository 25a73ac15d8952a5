package mount_test

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/testimages"
)

// Which times of files that are append-only or immutable can be changed is the
// same as with the kernel's driver.
func TestTimesOfFixedFiles(t *testing.T) {
	s := start(t, fresh(t, 16<<20), "")
	fixedTimes(t, s.dir)
	s.stop()
}

func TestTimesOfFixedFilesKernel(t *testing.T) {
	testimages.WithMount(t, fresh(t, 16<<20), "", func(dir string) { fixedTimes(t, dir) })
}

func fixedTimes(t *testing.T, dir string) {
	omit, now := unix.Timespec{Nsec: unix.UTIME_OMIT}, unix.Timespec{Nsec: unix.UTIME_NOW}
	given := unix.Timespec{Sec: 1e9, Nsec: 5}
	for _, flag := range []uint32{flagAppend, flagImmutable} {
		f := dir + map[uint32]string{flagAppend: "/append", flagImmutable: "/immutable"}[flag]
		write(t, f, 0o644)
		_, err := ioctlFlags(t, f, flag, 0)
		must(t, "set flags", err)
		nowAllowed := error(unix.EPERM)
		if flag == flagAppend {
			nowAllowed = nil
		}
		for _, tt := range []struct {
			what         string
			atime, mtime unix.Timespec
			want         error
		}{
			{"both given", given, given, unix.EPERM},
			{"mtime given", omit, given, unix.EPERM},
			{"atime given", given, omit, unix.EPERM},
			{"atime now, mtime given", now, given, unix.EPERM},
			{"both now", now, now, nowAllowed},
			{"mtime now", omit, now, unix.EPERM}, // explicit, since the other is not
			{"atime now", now, omit, unix.EPERM},
		} {
			time.Sleep(20 * time.Millisecond) // longer than the kernel's tick
			before := stat(t, f)
			err := unix.UtimesNanoAt(unix.AT_FDCWD, f, []unix.Timespec{tt.atime, tt.mtime}, 0)
			check(t, f+": "+tt.what, err, tt.want)
			if after := stat(t, f); tt.want != nil && (after.Mtim != before.Mtim || after.Atim != before.Atim) {
				t.Errorf("%s: %s: the times have changed", f, tt.what)
			}
		}
		_, err = ioctlFlags(t, f, 0, flag)
		must(t, "clear flags", err)
	}
	fixedLate(t, dir)
}

// fixedLate: what was written and noted before a file became so is kept, and no
// close fails for it.
func fixedLate(t *testing.T, dir string) {
	f, err := os.Create(dir + "/late")
	must(t, "create", err)
	_, err = f.WriteString("content")
	must(t, "write", err)
	must(t, "setxattr", unix.Setxattr(dir+"/late", "user.a", []byte("b"), 0))
	fd := int(f.Fd())
	v, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	must(t, "get flags", err)
	must(t, "set flags", unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(v|flagImmutable)))
	check(t, "close", f.Close(), nil)
	_, err = ioctlFlags(t, dir+"/late", 0, flagImmutable)
	must(t, "clear flags", err)
	if got, err := os.ReadFile(dir + "/late"); string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}

	write(t, dir+"/noted", 0o644)
	must(t, "setxattr", unix.Setxattr(dir+"/noted", "user.a", []byte("b"), 0))
	g, err := os.Open(dir + "/noted")
	must(t, "open", err)
	_, err = ioctlFlags(t, dir+"/noted", flagAppend, 0)
	must(t, "set flags", err)
	check(t, "close", g.Close(), nil)
	_, err = ioctlFlags(t, dir+"/noted", 0, flagAppend)
	must(t, "clear flags", err)
}
