package mount_test

import (
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// What the kernel has taken into its cache fails when it is stored. Who has the
// file open hears of it with his next write, and can go on when there is space.
func TestFullImageFailsWrites(t *testing.T) {
	s := start(t, fresh(t, 16<<20), "allow_other,default_permissions")
	f, err := os.OpenFile(s.path("f"), os.O_CREATE|os.O_RDWR, 0o644)
	must(t, "create", err)
	defer f.Close()
	other, err := os.Open(s.path("f"))
	must(t, "open", err)
	defer other.Close()
	chunk := make([]byte, 1<<20)
	for n := range 32 {
		if _, err = f.Write(chunk); err != nil {
			check(t, "write", err, unix.ENOSPC)
			t.Logf("full at %d MiB", n)
			break
		}
	}
	if err == nil { // the kernel had not begun to store any of it
		check(t, "fsync", other.Sync(), unix.ENOSPC)
		_, err = other.ReadAt(chunk[:1], 0)
		must(t, "read through another descriptor", err)
		_, err = other.Seek(0, io.SeekEnd)
		must(t, "seek there", err)
		_, err = os.Stat(s.path("f"))
		must(t, "stat", err)
		_, err = f.Write(chunk)
		check(t, "write", err, unix.ENOSPC)
	}

	must(t, "truncate", f.Truncate(0))
	if _, err = f.WriteAt([]byte("fits"), 0); err != nil {
		// A page of the first try that was stored, in vain, after it was told.
		check(t, "write", err, unix.ENOSPC)
		_, err = f.WriteAt([]byte("fits"), 0)
	}
	must(t, "write", err)
	_ = f.Sync() // may still tell of the first try
	must(t, "fsync", f.Sync())
	got, err := os.ReadFile(s.path("f"))
	if string(got) != "fits" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	must(t, "close", f.Close())
	must(t, "close", other.Close())
	s.stop()
}
