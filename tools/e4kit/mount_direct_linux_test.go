package main

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/testimages"
)

// testMountDirect: what a mount reads in large pieces does not stay in memory as
// pages of the image as well; with -o direct neither does what it writes.
func testMountDirect(t *testing.T, l *mountLab) {
	var fs unix.Statfs_t
	if err := unix.Statfs(l.img, &fs); err != nil || fs.Type == unix.TMPFS_MAGIC {
		testimages.Absent(t, "needs an image on a disk")
	}
	const size, most = 16 << 20, 4 << 20 // most: what goes in small pieces, and metadata
	l.must("mount", "-o", "direct", l.img, l.dir)
	if err := os.WriteFile(filepath.Join(l.dir, "a"), testimages.Content(3, size), 0o600); err != nil {
		t.Fatal(err)
	}
	l.must("umount", l.dir)
	if n := cached(t, l.img); n > most {
		t.Errorf("%d bytes of the image in memory after direct writes", n)
	}
	forgetFile(t, l.img)
	l.must("mount", l.img, l.dir)
	got, err := os.ReadFile(filepath.Join(l.dir, "a"))
	if err != nil || string(got) != string(testimages.Content(3, size)) {
		t.Errorf("other content, %v", err)
	}
	if n := cached(t, l.img); n > most {
		t.Errorf("%d bytes of the image in memory after a stream", n)
	}
	l.must("umount", l.dir)
}

// cached is how much of a file is in the page cache, in bytes.
func cached(t *testing.T, name string) uint64 {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Cachestat_t
	if err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &st, 0); err != nil {
		testimages.Absent(t, "needs cachestat(2): "+err.Error())
	}
	return st.Cache * uint64(os.Getpagesize())
}

// forgetFile takes a file out of the page cache.
func forgetFile(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}
