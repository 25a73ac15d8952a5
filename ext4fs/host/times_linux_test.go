package host

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/testimages"
)

// farTree is a directory with a file "f" of the year 2200 and a link "l" to it, of
// 2201, and itself of 2202.
func farTree(t *testing.T) string {
	t.Helper()
	testimages.RequireTool(t, "touch")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("f", filepath.Join(dir, "l")); err != nil {
		t.Fatal(err)
	}
	for _, f := range [][2]string{{"f", "@7258118400.25"}, {"l", "@7289654400"}, {"", "@7321190400"}} {
		testimages.Run(t, "touch", "-h", "-d", f[1], filepath.Join(dir, f[0]))
	}
	return dir
}

var (
	farFile = time.Unix(7258118400, 250000000)
	farLink = time.Unix(7289654400, 0)
	farDir  = time.Unix(7321190400, 0)
)

func TestTimesAt(t *testing.T) {
	dir := farTree(t)
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, tt := range []struct {
		name   string
		follow bool
		want   time.Time
	}{{"", false, farDir}, {"f", false, farFile}, {"l", false, farLink}, {"l", true, farFile}} {
		got, ok := TimesAt(fd, tt.name, tt.follow)
		if !ok || !got.Mtime.Equal(tt.want) || !got.Atime.Equal(tt.want) || time.Since(got.Ctime).Abs() > time.Hour {
			t.Errorf("%q, %v: %+v, %v, want %v", tt.name, tt.follow, got, ok, tt.want)
		}
	}
	if got, ok := TimesAt(fd, "nope", true); ok {
		t.Errorf("of nothing: %+v", got)
	}
}

// TestStatPath and Peek: times are whole also where words have 32 bits.
func TestStatPath(t *testing.T) {
	dir := farTree(t)
	for _, tt := range []struct {
		name string
		stat func(string) (os.FileInfo, error)
		want time.Time
	}{{"f", os.Lstat, farFile}, {"l", os.Lstat, farLink}, {"l", os.Stat, farFile}} {
		path := filepath.Join(dir, tt.name)
		info, err := tt.stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st, ok := StatPath(path, info); !ok || !st.Mtime.Equal(tt.want) || st.Ino == 0 {
			t.Errorf("%s: %+v, %v, want %v", tt.name, st, ok, tt.want)
		}
	}
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p, err := Peek(d, "f")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if !p.Mtime.Equal(farFile) || !p.Atime.Equal(farFile) {
		t.Errorf("peeked: %v and %v", p.Mtime, p.Atime)
	}
}
