package host_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs/host"
	"github.com/e4kit/e4kit/testimages"
)

func TestSpans(t *testing.T) {
	dir := testimages.Scratch(t)
	f, err := os.Create(dir + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const k = 64 << 10
	for _, at := range []int64{2 * k, 5 * k} {
		if _, err := f.WriteAt(bytes.Repeat([]byte{1}, k), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(9 * k); err != nil {
		t.Fatal(err)
	}
	var got []host.Span
	for s, err := range host.Spans(f, 9*k) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, s)
	}
	want := []host.Span{{Off: 2 * k, Len: k}, {Off: 5 * k, Len: k}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	info, err := f.Stat()
	if err != nil || !host.MayHaveHoles(info) {
		t.Errorf("no holes: %v", err)
	}
	if id, ok := host.IDOf(info); !ok || id.Ino == 0 {
		t.Error("no inode number")
	}
	for s := range host.Spans(f, 9*k) { // stops when asked
		if s != want[0] {
			t.Errorf("%v", s)
		}
		break
	}
	for s, err := range host.Spans(f, 2*k) {
		t.Errorf("beyond the size: %v, %v", s, err)
	}
}

func TestXattrs(t *testing.T) {
	dir := testimages.Scratch(t)
	for _, err := range []error{os.WriteFile(dir+"/f", nil, 0o644), os.Symlink("f", dir+"/link")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	big := bytes.Repeat([]byte("v"), 1500)
	if err := unix.Setxattr(dir+"/f", "user.big", big, 0); err != nil {
		testimages.Absent(t, "needs user attributes: "+err.Error())
	}
	if err := unix.Setxattr(dir+"/f", "user.empty", nil, 0); err != nil {
		t.Fatal(err)
	}
	all := func(string) bool { return true }
	got, err := host.Xattrs(dir+"/link", true, all)
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	for _, x := range got {
		if x.Name == "user.big" && !bytes.Equal(x.Value, big) || x.Name == "user.empty" && len(x.Value) != 0 {
			t.Errorf("%s is %q", x.Name, x.Value)
		}
	}
	if got, err := host.Xattrs(dir+"/link", false, all); err != nil || len(got) != 0 {
		t.Errorf("of the link: %v, %v", got, err)
	}
	if got, err := host.Xattrs(dir+"/f", false, func(n string) bool { return n == "user.empty" }); err != nil || len(got) != 1 {
		t.Errorf("of one name: %v, %v", got, err)
	}
	if _, err := host.Xattrs(dir+"/none", false, all); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
}

func TestRoot_file(t *testing.T) {
	dir := testimages.Scratch(t)
	for _, err := range []error{
		os.MkdirAll(dir+"/root/d", 0o755), os.WriteFile(dir+"/root/d/f", []byte("0123456789"), 0o644),
		os.WriteFile(dir+"/outside", nil, 0o644), os.Symlink("d", dir+"/root/l"), os.Symlink("root", dir+"/r"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	irregular := errors.New("irregular")
	for _, walk := range []bool{false, true} {
		r, err := host.OpenRoot(dir + "/r")
		if err != nil {
			t.Fatal(err)
		}
		if walk {
			r.WalkOnly()
		}
		f, err := r.File("d/f", 5, irregular)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 4)
		if n, err := f.ReadAt(p, 1); n != 4 || err != nil || string(p) != "1234" {
			t.Errorf("%d, %v, %q", n, err, p)
		}
		if n, err := f.ReadAt(p, 3); n != 2 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
		if _, err := f.ReadAt(p, 5); err != io.EOF {
			t.Errorf("behind the end: %v", err)
		}
		if f.Found() != 10 {
			t.Errorf("found %d", f.Found())
		}
		h, off, ok := f.Host()
		if !ok || off != 0 {
			t.Fatal("no host file")
		}
		if n, err := h.ReadAt(p, 6); n != 4 || err != nil {
			t.Errorf("host file: %d, %v", n, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if _, err := h.ReadAt(p, 6); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("after closing: %v", err)
		}
		for path, want := range map[string]error{
			"d": irregular, "l/f": syscall.ELOOP, "none": fs.ErrNotExist, "d/f/x": syscall.ENOTDIR, "../outside": syscall.EXDEV, "d/../../outside": syscall.EXDEV,
		} {
			_, err := r.File(path, 1, irregular)
			if !errors.Is(err, want) && !(path == "l/f" && errors.Is(err, syscall.ENOTDIR)) {
				t.Errorf("%s: %v, want %v", path, err, want)
			}
		}
		if fd, err := r.Dir("l"); err == nil {
			unix.Close(fd)
			t.Error("followed a link to a directory")
		}
		long, err := r.File("d/f", 20, irregular)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := long.ReadAt(make([]byte, 20), 0); n != 10 || err != io.ErrUnexpectedEOF {
			t.Errorf("shorter than promised: %d, %v", n, err)
		}
		if err := errors.Join(long.Close(), r.Close()); err != nil {
			t.Error(err)
		}
	}
}
