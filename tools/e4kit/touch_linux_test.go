package main

import (
	"os"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/testimages"
)

// TestTouch_hostReference: -r takes both times of a file of the host, of the link
// itself with -h, and as far as ext4 has them.
func TestTouch_hostReference(t *testing.T) {
	inCopy(t)
	testimages.RequireTool(t, "touch")
	if err := os.WriteFile("ref", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("ref", "link"); err != nil {
		t.Fatal(err)
	}
	testimages.Run(t, "touch", "-a", "-d", "@7258118400.25", "ref") // in 2200
	testimages.Run(t, "touch", "-m", "-d", "@-5", "ref")
	testimages.Run(t, "touch", "-h", "-d", "@1600000000", "link")
	far, old, plain := time.Unix(7258118400, 250000000), time.Unix(-5, 0), time.Unix(1600000000, 0)
	for _, tt := range []struct {
		args         []string
		atime, mtime time.Time
	}{
		{[]string{"-r", "ref"}, far, old}, {[]string{"-h", "-r", "link"}, plain, plain}, {[]string{"-r", "link"}, far, old},
	} {
		var w world
		if r := w.run(append(append([]string{"touch"}, tt.args...), "w.img:/new")...); r.code != 0 {
			t.Fatalf("%q: status %d: %s", tt.args, r.code, r.stderr)
		}
		fsys, err := ext4fs.OpenFile("w.img", nil)
		if err != nil {
			t.Fatal(err)
		}
		i, err := fsys.Lookup("new")
		if err != nil {
			t.Fatal(err)
		}
		if st := i.Stat(); !st.Atime.Equal(tt.atime) || !st.Mtime.Equal(tt.mtime) {
			t.Errorf("%q: %v and %v, want %v and %v", tt.args, st.Atime, st.Mtime, tt.atime, tt.mtime)
		}
		if err := fsys.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
