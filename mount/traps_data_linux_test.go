package mount_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/testimages"
)

// What an open descriptor may do was decided at its open.
func trapDescriptor(t *testing.T, dir string) {
	write(t, dir+"/f", 0o666)
	script := `exec 3<>` + dir + `/f && cat <&3 && mv ` + dir + `/f ` + dir + `/g && chmod 0 ` + dir + `/x; echo again >&3 && cat /dev/null <&3`
	if out, err := as(t, script); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	f, err := os.OpenFile(dir+"/own", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0)
	must(t, "create without any permission", err)
	_, err = f.WriteString("written all the same")
	check(t, "write", err, nil)
	f.Close()
	if out, err := as(t, "umask 0; set -C; cd "+dir+" && (echo a >&3; chmod 0 theirs; echo b >&3) 3>theirs"); err != nil {
		t.Errorf("write after chmod 0: %v: %s", err, out)
	}
	if out, err := as(t, "cat "+dir+"/theirs"); err == nil {
		t.Errorf("read by path after chmod 0 is allowed: %s", out)
	}
}

func trapLimit(t *testing.T, dir string) {
	write(t, dir+"/f", 0o644)
	limit := int64(1<<32-1) << 12
	check(t, "truncate to the limit", os.Truncate(dir+"/f", limit), nil)
	check(t, "truncate beyond", os.Truncate(dir+"/f", limit+1), unix.EFBIG)
	f, err := os.OpenFile(dir+"/f", os.O_RDWR, 0)
	must(t, "open", err)
	defer f.Close()
	check(t, "ftruncate beyond", f.Truncate(limit+4096), unix.EFBIG)
	check(t, "fallocate beyond", unix.Fallocate(int(f.Fd()), 0, limit, 4096), unix.EFBIG)
	check(t, "negative", syscall.Truncate(dir+"/f", -1), unix.EINVAL)
	if got := stat(t, dir+"/f").Size; got != limit {
		t.Errorf("size %d", got)
	}
	// With the write-back cache FUSE learns of it when the data is written.
	if _, err = f.WriteAt([]byte("x"), limit); err == nil {
		err = f.Sync()
	}
	check(t, "write at the limit", err, unix.EFBIG)
	check(t, "shrink", f.Truncate(3), nil)
}

func trapFallocate(t *testing.T, dir string) {
	const block = 4096
	shadow := testimages.Content(3, 64*block)
	f, err := os.OpenFile(dir+"/f", os.O_RDWR|os.O_CREATE, 0o644)
	must(t, "create", err)
	defer f.Close()
	_, err = f.Write(shadow)
	must(t, "write", err)
	fd := int(f.Fd())
	zero := func(from, to int) { clear(shadow[from:to]) }
	for _, step := range []struct {
		what     string
		mode     uint32
		off, len int64
		want     error
		model    func()
	}{
		{"allocate", 0, 60 * block, 8 * block, nil, func() { shadow = append(shadow, make([]byte, 4*block)...) }},
		{"keep size", unix.FALLOC_FL_KEEP_SIZE, 100 * block, 8 * block, nil, func() {}},
		{"punch", unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, 3*block + 100, 5*block + 50, nil, func() { zero(3*block+100, 8*block+150) }},
		{"punch without keep size", unix.FALLOC_FL_PUNCH_HOLE, 0, block, unix.EOPNOTSUPP, func() {}},
		{"zero", unix.FALLOC_FL_ZERO_RANGE, 20*block + 1, 2 * block, nil, func() { zero(20*block+1, 22*block+1) }},
		{"zero beyond the end", unix.FALLOC_FL_ZERO_RANGE, 67 * block, 4 * block, nil, func() { zero(67*block, 68*block); shadow = append(shadow, make([]byte, 3*block)...) }},
		{"collapse", unix.FALLOC_FL_COLLAPSE_RANGE, 2 * block, 4 * block, nil, func() { shadow = append(shadow[:2*block:2*block], shadow[6*block:]...) }},
		{"insert", unix.FALLOC_FL_INSERT_RANGE, 10 * block, 3 * block, nil, func() {
			shadow = append(append(append([]byte{}, shadow[:10*block]...), make([]byte, 3*block)...), shadow[10*block:]...)
		}},
		{"collapse off a block", unix.FALLOC_FL_COLLAPSE_RANGE, 100, block, unix.EINVAL, func() {}},
		{"insert beyond the end", unix.FALLOC_FL_INSERT_RANGE, 1000 * block, block, unix.EINVAL, func() {}},
		{"no length", 0, 0, 0, unix.EINVAL, func() {}},
		{"two modes", unix.FALLOC_FL_COLLAPSE_RANGE | unix.FALLOC_FL_INSERT_RANGE, 0, block, unix.EOPNOTSUPP, func() {}},
		{"more than there is", 0, 0, 1 << 40, unix.ENOSPC, func() {}},
	} {
		err := unix.Fallocate(fd, step.mode, step.off, step.len)
		if moves := uint32(unix.FALLOC_FL_COLLAPSE_RANGE | unix.FALLOC_FL_INSERT_RANGE); step.mode&moves != 0 && err == unix.EOPNOTSUPP {
			continue // FUSE's kernel side refuses what moves data, before the server hears of it
		}
		check(t, step.what, err, step.want)
		step.model()
		got, err := os.ReadFile(dir + "/f")
		if step.what == "more than there is" { // what was allocated may stay, and only that
			must(t, "truncate", f.Truncate(int64(len(shadow))))
			got, err = os.ReadFile(dir + "/f")
		}
		if err != nil || !bytes.Equal(got, shadow) {
			t.Fatalf("after %s: %d bytes, want %d; differ first at %d; %v", step.what, len(got), len(shadow), differ(got, shadow), err)
		}
	}
}

// differ is where a and b first do.
func differ(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func trapSeek(t *testing.T, dir string) {
	f, err := os.OpenFile(dir+"/f", os.O_RDWR|os.O_CREATE, 0o644)
	must(t, "create", err)
	defer f.Close()
	for _, at := range []int64{0, 1 << 20, 5 << 20} {
		_, err := f.WriteAt(make([]byte, 4096), at)
		must(t, "write", err)
	}
	must(t, "truncate", f.Truncate(8<<20))
	for _, c := range []struct {
		off    int64
		whence int
		want   int64
		err    error
	}{
		{0, unix.SEEK_DATA, 0, nil}, {0, unix.SEEK_HOLE, 4096, nil}, {4096, unix.SEEK_DATA, 1 << 20, nil},
		{1 << 20, unix.SEEK_HOLE, 1<<20 + 4096, nil}, {5<<20 + 4096, unix.SEEK_DATA, -1, unix.ENXIO},
		{6 << 20, unix.SEEK_HOLE, 6 << 20, nil}, {8 << 20, unix.SEEK_DATA, -1, unix.ENXIO}, {9 << 20, unix.SEEK_HOLE, -1, unix.ENXIO},
	} {
		got, err := unix.Seek(int(f.Fd()), c.off, c.whence)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("seek %d whence %d: %d, %v; want %d, %v", c.off, c.whence, got, err, c.want, c.err)
		}
	}
}

func trapAppend(t *testing.T, dir string) {
	const writers, times = 4, 50
	done := make(chan error, writers)
	for w := range writers {
		go func() {
			f, err := os.OpenFile(dir+"/f", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
			for i := 0; i < times && err == nil; i++ {
				_, err = fmt.Fprintf(f, "%d %04d\n", w, i)
			}
			if f != nil {
				err = errors.Join(err, f.Close())
			}
			done <- err
		}()
	}
	for range writers {
		check(t, "append", <-done, nil)
	}
	got, err := os.ReadFile(dir + "/f")
	if err != nil || bytes.Count(got, []byte("\n")) != writers*times || len(got) != writers*times*7 {
		t.Errorf("%d bytes in %d lines, %v", len(got), bytes.Count(got, []byte("\n")), err)
	}
}

func trapDirect(t *testing.T, dir string) {
	data := aligned(1 << 20)
	copy(data, testimages.Content(9, len(data)))
	fd, err := unix.Open(dir+"/f", unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT, 0o644)
	must(t, "open", err)
	defer unix.Close(fd)
	n, err := unix.Pwrite(fd, data, 0)
	if n != len(data) || err != nil {
		t.Fatalf("direct write: %d, %v", n, err)
	}
	got, err := os.ReadFile(dir + "/f")
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("direct and then buffered: differ at %d, %v", differ(got, data), err)
	}
	f, err := os.OpenFile(dir+"/f", os.O_RDWR, 0)
	must(t, "open", err)
	defer f.Close()
	_, err = f.WriteAt([]byte("buffered"), 8192)
	must(t, "write", err)
	copy(data[8192:], "buffered")
	back := aligned(1 << 20)
	n, err = unix.Pread(fd, back, 0)
	if n != len(data) || err != nil || !bytes.Equal(back, data) {
		t.Errorf("buffered and then direct: %d, %v, differ at %d", n, err, differ(back, data))
	}
}

// aligned is memory for direct I/O.
func aligned(n int) []byte {
	b := make([]byte, n+4096)
	skip := -uintptr(unsafe.Pointer(&b[0])) & 4095
	return b[skip : int(skip)+n]
}

func trapCopyRange(t *testing.T, dir string) {
	data := testimages.Content(4, 300_000)
	must(t, "write", os.WriteFile(dir+"/a", data, 0o644))
	a, err := os.Open(dir + "/a")
	must(t, "open", err)
	defer a.Close()
	b, err := os.Create(dir + "/b")
	must(t, "create", err)
	defer b.Close()
	from, to, left := int64(1000), int64(77), 250_000
	for left > 0 {
		n, err := unix.CopyFileRange(int(a.Fd()), &from, int(b.Fd()), &to, left, 0)
		if err != nil || n == 0 {
			t.Fatalf("copy_file_range: %d, %v", n, err)
		}
		left -= n
	}
	got, err := os.ReadFile(dir + "/b")
	if err != nil || !bytes.Equal(got, append(make([]byte, 77), data[1000:251_000]...)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func trapLocks(t *testing.T, dir string) {
	write(t, dir+"/f", 0o644)
	a, err := os.OpenFile(dir+"/f", os.O_RDWR, 0)
	must(t, "open", err)
	defer a.Close()
	b, err := os.OpenFile(dir+"/f", os.O_RDWR, 0)
	must(t, "open", err)
	defer b.Close()
	check(t, "flock", unix.Flock(int(a.Fd()), unix.LOCK_EX|unix.LOCK_NB), nil)
	check(t, "flock of another", unix.Flock(int(b.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
	check(t, "unlock", unix.Flock(int(a.Fd()), unix.LOCK_UN), nil)
	check(t, "flock of another", unix.Flock(int(b.Fd()), unix.LOCK_EX|unix.LOCK_NB), nil)
	lock := func(f *os.File, kind int16) error {
		return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: 2, Len: 3})
	}
	check(t, "lock", lock(a, unix.F_WRLCK), nil)
	check(t, "lock of another", lock(b, unix.F_RDLCK), unix.EAGAIN)
	check(t, "unlock", lock(a, unix.F_UNLCK), nil)
	check(t, "lock of another", lock(b, unix.F_RDLCK), nil)
}
