package format_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/format"
	"github.com/e4kit/e4kit/ext4fs/tree"
	"github.com/e4kit/e4kit/testimages"
)

// TestProof_reproducible makes the same image of a tree, of one whose files
// were made in another order and at another time, and of an archive, with one
// processor and with many.
func TestProof_reproducible(t *testing.T) {
	testimages.RequireRoot(t)
	testimages.RequireTool(t, "e2fsck", "tar")
	src := proofSource(t)
	// Archives have no sockets, and no links of devices.
	for _, name := range []string{"special/socket", "special/null-too"} {
		if err := os.Remove(filepath.Join(src.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	src = newSource(t, src.dir)
	twin := &source{dir: filepath.Join(testimages.Scratch(t), "twin")}
	if err := backwards(src.dir, twin.dir); err != nil {
		t.Fatal(err)
	}
	if err := testimages.SameManifest(src.want, twin.dir); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(testimages.Scratch(t), "source.tar")
	// Without --acls, which writes the names of users that the host knows.
	testimages.Run(t, "tar", "-c", "-S", "--format=posix", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-f", archive, "-C", src.dir, ".")

	when := time.Unix(1_900_000_000, 0)
	clamp := tree.TimeOf(when)
	rules := tree.Options{ClampTime: &clamp, MtimeOnly: true, ContentHoles: true, Time: clamp}
	tests := []struct {
		name  string
		from  tree.Source
		procs int
	}{
		{"tree", tree.Dir(src.dir), 0},
		{"one processor", tree.Dir(src.dir), 1},
		{"another order", tree.Dir(twin.dir), 8},
		{"archive", tree.Tar(archive), 2},
	}
	for n, o := range []format.Options{
		{Size: format.SizeAuto}, {Size: format.SizeMin, BlockSize: 1024}, {Size: 64 << 20, BlockSize: 4096},
		{Size: 96 << 20, Features: []string{"inline_data", "quota", "ea_inode", "metadata_csum_seed", "orphan_file"}},
	} {
		if testing.Short() && n > 0 {
			break
		}
		o.Reproducible, o.Time, o.Zeroed = true, when, true
		var first string
		for _, tt := range tests {
			sum := buildSum(t, o, rules, tt.from, tt.procs)
			if first == "" {
				first = sum
			}
			if sum != first {
				t.Errorf("size %d, features %q: other bytes by %s", o.Size, o.Features, tt.name)
			}
		}
	}
}

// buildSum makes an image and gives its digest.
func buildSum(t *testing.T, o format.Options, rules tree.Options, from tree.Source, procs int) string {
	t.Helper()
	if procs > 0 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
	}
	tr, err := tree.Load(t.Context(), rules, from)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	img := build(t, o, tr)
	defer os.Remove(img)
	testimages.Fsck(t, img)
	f, err := os.Open(img)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// backwards copies a tree so that the last names are made first, and one of its
// files holds zeros where the source has holes.
func backwards(from, to string) error {
	var names []string
	err := filepath.WalkDir(from, func(path string, _ fs.DirEntry, err error) error {
		if path != from {
			names = append(names, strings.TrimPrefix(path, from+"/"))
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.Sort(names)
	slices.Reverse(names)
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	const script = `tar -c -S --format=posix --xattrs --xattrs-include='*' --acls --no-recursion -C "$1" --null -T - -f - |
		tar -x -p --xattrs --xattrs-include='*' --acls --numeric-owner -C "$2" -f - &&
		cp -a --sparse=never "$1/holes/maps" "$2/holes/dense" && mv "$2/holes/dense" "$2/holes/maps" &&
		touch -r "$1/holes" "$2/holes" && touch -r "$1" "$2"`
	cmd := exec.Command("sh", "-c", script, "sh", from, to)
	cmd.Stdin = strings.NewReader(strings.Join(names, "\x00"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("tar: %w: %s", err, out)
	}
	return nil
}
