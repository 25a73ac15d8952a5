package ext4fs_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
)

var (
	crashes = flag.Int("crashes", 200, "how many crash images to make")
	// Fewer of these: it is the kernel that judges, and replaying fast commits
	// is where it has its own bugs.
	fastCrashes = flag.Int("fast-crashes", 60, "how many crash images with fast commits to make")
	crashSeed   = flag.Uint64("crash-seed", 0, "number of the first crash image")
)

// TestCrash_viewEqualsTheKernelsRecovery catches images at random moments
// under a writing load and compares what is read without touching them with
// the tree that the kernel has after its own recovery, then recovers them.
func TestCrash_viewEqualsTheKernelsRecovery(t *testing.T) {
	testimages.RequireLoop(t)
	testimages.RequireTool(t, "mke2fs", "e2fsck")
	n := *crashes
	if testing.Short() {
		n = min(n, 10)
	}
	dir := testimages.Scratch(t)
	replayed, fast := 0, 0
	for k := range n {
		c, err := testimages.CrashImage(dir, *crashSeed+uint64(k))
		if err != nil {
			t.Fatal(err)
		}
		rec := compareCrash(t, c)
		recoverCrash(t, c)
		if rec.replayed {
			replayed++
		}
		if rec.fast {
			fast++
		}
		for _, f := range []string{c.Path, c.Journal} {
			if f != "" {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	t.Logf("%d images, %d with a journal to replay, %d with fast commits", n, replayed, fast)
	if replayed < n/2 {
		t.Errorf("only %d of %d images needed a replay", replayed, n)
	}
}

type crashKind struct{ replayed, fast bool }

func compareCrash(t *testing.T, c testimages.Crash) (kind crashKind) {
	t.Helper()
	opts := &ext4fs.Options{}
	if c.Journal != "" {
		j, err := device.Open(c.Journal, device.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		opts.Journal = j
	}
	fsys, err := ext4fs.OpenFile(c.Path, opts)
	if err != nil {
		t.Errorf("image %d (%s): %v", c.Seed, c.How, err)
		return kind
	}
	defer fsys.Close()
	if r := fsys.Recovery(); r != nil {
		kind = crashKind{r.Needed, len(r.FastCommits) > 0}
	}
	compareManifest(t, c, fsys, kind.fast)
	return kind
}

// compareTree compares an image that needs no recovery with what it should be.
func compareTree(t *testing.T, c testimages.Crash, fast bool, ignore ...string) {
	t.Helper()
	fsys, err := ext4fs.OpenFile(c.Path, &ext4fs.Options{NoReplay: true})
	if err != nil {
		t.Errorf("image %d (%s): %v", c.Seed, c.How, err)
		return
	}
	defer fsys.Close()
	compareManifest(t, c, fsys, fast, ignore...)
}

func compareManifest(t *testing.T, c testimages.Crash, fsys *ext4fs.FS, fast bool, ignore ...string) {
	t.Helper()
	got, want := manifest(t, fsys).Drop(ignore...), c.Tree.Drop(ignore...)
	if fast {
		// Replaying a name sets its folder's times to the time of the replay,
		// which no record tells.
		got, want = withoutFolderTimes(got), withoutFolderTimes(want)
	}
	if d := testimages.Diff(want, got); d != "" {
		t.Errorf("image %d (%s): the tree differs:\n%s", c.Seed, c.How, d)
	}
}

func withoutFolderTimes(m testimages.Manifest) testimages.Manifest {
	out := m.Drop("MTIME")
	for n, line := range m {
		if strings.Fields(line)[1] != "d" {
			out[n] = line
		}
	}
	return out
}
