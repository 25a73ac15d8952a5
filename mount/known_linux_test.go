package mount_test

import (
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/testimages"
)

// A file lives as long as somebody knows it, also who has not opened it for
// anything (O_PATH), and its number is nobody else's meanwhile.
func TestKnownLivesOn(t *testing.T) {
	for _, opts := range []string{"allow_other", "allow_other,no_open"} {
		t.Run(opts, func(t *testing.T) {
			s := start(t, fresh(t, 16<<20), opts)
			knownLivesOn(t, s.dir)
			s.stop()
		})
	}
}

func TestKnownLivesOnKernel(t *testing.T) {
	testimages.WithMount(t, fresh(t, 16<<20), "", func(dir string) { knownLivesOn(t, dir) })
}

func knownLivesOn(t *testing.T, dir string) {
	before := freeFiles(t, dir)
	write(t, dir+"/f", 0o640)
	fd, err := unix.Open(dir+"/f", unix.O_PATH|unix.O_CLOEXEC, 0)
	must(t, "open", err)
	must(t, "unlink", os.Remove(dir+"/f"))
	var old unix.Stat_t
	must(t, "fstat", unix.Fstat(fd, &old))
	for i := range 40 {
		write(t, fmt.Sprint(dir, "/g", i), 0o600)
		if st := stat(t, fmt.Sprint(dir, "/g", i)); st.Ino == old.Ino {
			t.Errorf("a new file has the number %d too", st.Ino)
		}
	}
	var st unix.Stat_t
	must(t, "fstat", unix.Fstat(fd, &st))
	if st.Nlink != 0 || st.Size != 7 || st.Mode&0o777 != 0o640 || st.Ino != old.Ino {
		t.Errorf("%d links, size %d, mode %o, number %d after %d", st.Nlink, st.Size, st.Mode, st.Ino, old.Ino)
	}
	f, err := os.Open(fmt.Sprint("/proc/self/fd/", fd))
	must(t, "open again", err)
	got, err := io.ReadAll(f)
	check(t, "read", err, nil)
	if string(got) != "content" {
		t.Errorf("it has %q", got)
	}
	f.Close()
	unix.Close(fd)
	for i := range 40 {
		must(t, "unlink", os.Remove(fmt.Sprint(dir, "/g", i)))
	}
	for end := time.Now().Add(5 * time.Second); freeFiles(t, dir) != before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d inodes are free, %d were", freeFiles(t, dir), before)
		}
	}
}

func freeFiles(t *testing.T, dir string) uint64 {
	t.Helper()
	var st unix.Statfs_t
	must(t, "statfs", unix.Statfs(dir, &st))
	return st.Ffree
}

// What is known only is an orphan: after a crash it is gone.
func TestKnownCrash(t *testing.T) {
	s := start(t, fresh(t, 16<<20), "allow_other")
	before := freeFiles(t, s.dir)
	write(t, s.path("f"), 0o600)
	fd, err := unix.Open(s.path("f"), unix.O_PATH|unix.O_CLOEXEC, 0)
	must(t, "open", err)
	defer unix.Close(fd)
	must(t, "unlink", os.Remove(s.path("f")))
	d, err := os.Open(s.dir)
	must(t, "open", err)
	must(t, "fsync", d.Sync())
	d.Close()
	s.kill()
	fsys, err := ext4fs.OpenFile(s.img, &ext4fs.Options{Write: true})
	must(t, "open", err)
	if n := fsys.Recovered().Orphans.Deleted; n != 1 {
		t.Errorf("%d orphans were deleted", n)
	}
	sp, err := fsys.Space()
	must(t, "space", err)
	if sp.InodesFree != before {
		t.Errorf("%d inodes are free, %d were", sp.InodesFree, before)
	}
	must(t, "close", fsys.Close())
	testimages.Fsck(t, s.img)
}

// What a removed file has taken is free when the removal is over, for all that
// anybody can tell.
func TestRemovedIsFree(t *testing.T) {
	s := start(t, fresh(t, 64<<20), "allow_other")
	for range 20 {
		must(t, "write", os.WriteFile(s.path("big"), make([]byte, 40<<20), 0o600))
		free := freeBlocks(t, s.dir)
		must(t, "unlink", os.Remove(s.path("big")))
		if now := freeBlocks(t, s.dir); now < free+39<<8 {
			t.Fatalf("%d blocks are free after %d", now, free)
		}
	}
	s.stop()
}

func freeBlocks(t *testing.T, dir string) uint64 {
	t.Helper()
	var st unix.Statfs_t
	must(t, "statfs", unix.Statfs(dir, &st))
	return st.Bfree
}
