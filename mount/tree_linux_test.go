package mount_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/testimages"
)

// The trees of images through the mount are what ext4fs says of them.
func TestReadsTrees(t *testing.T) {
	names := []string{"ext4-4k", "ext2-1k", "inline-data", "bigalloc-4k", "ea-inode", "casefold", "dirty", "verity"}
	if testing.Short() {
		names = names[:3]
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			testimages.RequireLoop(t) // which building takes
			c := testimages.Find(t, name)
			img := testimages.Copy(t, testimages.Build(t, c))
			want := manifest(t, img)
			s := start(t, img, "ro")
			if err := testimages.SameManifest(want, s.dir); err != nil {
				t.Error(err)
			}
			if err := unix.Unmount(s.dir, 0); err != nil {
				t.Error(err)
			}
			if line := s.line(); line != "closed" {
				t.Errorf("the server ended with %q\n%s", line, &s.errs)
			}
		})
	}
}

// A tree of everything, made through the mount, is in the image afterwards.
func TestWritesTree(t *testing.T) {
	for name, kind := range map[string]struct {
		mkfs  []string
		opts  string
		times int64 // the last second that inodes can hold
		lost  []string
	}{
		"ext4":   {times: 15_032_385_535},
		"direct": {times: 15_032_385_535, opts: "direct"},
		"inline": {mkfs: []string{"-O", "inline_data", "-I", "512"}, times: 15_032_385_535},
		// The driver refuses data beyond the limit of a file with the write(2), FUSE
		// takes it into its cache, and the close fails.
		"ext3": {mkfs: []string{"-t", "ext3", "-b", "1024"}, times: 1<<31 - 1, lost: []string{"made/holes/far"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, fresh(t, 128<<20, kind.mkfs...), kind.opts)
			if err := os.Mkdir(s.path("made"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := testimages.FillTree(s.path("made"), testimages.Fill{}); err != nil {
				t.Fatal(err)
			}
			for _, path := range kind.lost {
				must(t, "remove", os.RemoveAll(s.path(path)))
			}
			must(t, "times", os.Chtimes(s.path("made/holes"), time.Time{}, time.Unix(1, 0)))
			seen, err := testimages.ManifestDir(s.dir)
			if err != nil {
				t.Fatal(err)
			}
			s.stop()
			seen = lastTime(seen, kind.times)
			if d := testimages.Diff(seen, manifest(t, s.img)); d != "" {
				t.Errorf("the mount and then the image:\n%s", d)
			}
			testimages.RequireLoop(t)
			testimages.WithMount(t, s.img, "ro", func(dir string) {
				if err := testimages.SameManifest(seen, dir); err != nil {
					t.Errorf("the mount and then the kernel: %v", err)
				}
			})
		})
	}
}

// lastTime returns m as it is when inodes hold no second after last: ext4's driver
// gives the later ones the beginning of that one, which FUSE, whose cache has the
// times as they were wished, shows when it has forgotten them.
func lastTime(m testimages.Manifest, last int64) testimages.Manifest {
	const mtime = 7 // the column
	m = slices.Clone(m)
	for i, line := range m {
		f := strings.Split(line, " ")
		second, _, _ := strings.Cut(f[mtime], ".")
		if n, err := strconv.ParseInt(second, 10, 64); err == nil && n >= last {
			f[mtime] = fmt.Sprintf("%d.000000000", last)
			m[i] = strings.Join(f, " ")
		}
	}
	return m
}

// What cp -a takes in, cp -a gives back.
func TestCopiesTree(t *testing.T) {
	testimages.RequireRoot(t)
	testimages.RequireTool(t, "cp", "rm")
	from := testimages.Scratch(t)
	if err := testimages.FillTree(from, testimages.Fill{Portable: true, Names: 100}); err != nil {
		t.Fatal(err)
	}
	defer exec.Command("chattr", "-R", "-ia", from).Run()
	want, err := testimages.ManifestDir(from)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, fresh(t, 128<<20), "")
	testimages.Run(t, "cp", "-a", from, s.path("in"))
	if err := testimages.SameManifest(want, s.path("in")); err != nil {
		t.Fatalf("copied in: %v", err)
	}
	out := testimages.Scratch(t)
	testimages.Run(t, "cp", "-a", s.path("in"), out+"/out")
	if err := testimages.SameManifest(want, out+"/out"); err != nil {
		t.Errorf("copied out: %v", err)
	}
	testimages.Run(t, "rm", "-rf", s.path("in"))
	s.stop()
	if got := manifest(t, s.img); len(got) != 2 { // the root and lost+found
		t.Errorf("after rm -rf:\n%s", got)
	}
}

// A mount that only reads leaves every byte as it was.
func TestReadOnly(t *testing.T) {
	img := fresh(t, 16<<20)
	before, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, img, "ro")
	if err := os.WriteFile(s.path("f"), nil, 0o644); !is(err, unix.EROFS) {
		t.Errorf("create: %v", err)
	}
	if _, err := os.ReadDir(s.dir); err != nil {
		t.Error(err)
	}
	s.stop()
	after, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Error("the image changed")
	}
}

// A big directory is listed whole, also when it changes meanwhile.
func TestBigDirectory(t *testing.T) {
	const n = 3000
	s := start(t, fresh(t, 64<<20), "")
	for i := range n {
		if err := os.WriteFile(s.path(name(i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, err := os.Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	seen := map[string]int{}
	for gone := 0; ; gone++ {
		list, _ := d.Readdirnames(50)
		if len(list) == 0 {
			break
		}
		for _, l := range list {
			seen[l]++
		}
		os.Remove(s.path(list[0])) // one that was listed
		if err := os.WriteFile(s.path("new-"+name(gone)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if seen[name(i)] != 1 {
			t.Errorf("%s was listed %d times", name(i), seen[name(i)])
			break
		}
	}
	d.Close()
	s.stop()
	fsys, err := ext4fs.OpenFile(s.img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	list, err := fsys.ReadDir(".")
	if err != nil || len(list) != n+1 { // as many came as went, and lost+found
		t.Errorf("%d names in the image, %v", len(list), err)
	}
}
