package inject_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/inject"
	"github.com/e4kit/e4kit/testimages"
)

// TestJob_farTimes: times of the host beyond 2038 and before 1970 are kept, on
// machines with words of 32 bits too.
func TestJob_farTimes(t *testing.T) {
	testimages.RequireTool(t, "touch")
	top := filepath.Join(t.TempDir(), "top")
	if err := os.Mkdir(top, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "old"} {
		if err := os.WriteFile(filepath.Join(top, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("file", filepath.Join(top, "link")); err != nil {
		t.Fatal(err)
	}
	want := map[string]time.Time{
		"file": time.Unix(7258118400, 250000000), "old": time.Unix(-1000000000, 0),
		"link": time.Unix(7289654400, 0), "": time.Unix(7321190400, 0),
	}
	for name, at := range want {
		testimages.Run(t, "touch", "-h", "-d", at.UTC().Format("2006-01-02 15:04:05.999999999Z"), filepath.Join(top, name))
	}
	edit(t, small(t), func(fsys *ext4fs.FS) {
		j := inject.New(fsys, everything(t))
		in := mkdir(t, fsys, "in")
		j.AddHost(top, false, inject.Place{Dir: in.Dir, Name: "tree", Path: "in/tree"})
		j.AddHost(filepath.Join(top, "file"), false, inject.Place{Dir: in.Dir, Name: "one", Path: "in/one"})
		if _, err := j.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		check := func(path string, want time.Time) {
			i, err := fsys.LookupNoFollow(path)
			if err != nil {
				t.Error(err)
				return
			}
			if st := i.Stat(); !st.Mtime.Equal(want) {
				t.Errorf("%s: %v, want %v", path, st.Mtime, want)
			}
		}
		for name, at := range want {
			check(filepath.Join("in/tree", name), at)
		}
		check("in/one", want["file"])
	})
}
