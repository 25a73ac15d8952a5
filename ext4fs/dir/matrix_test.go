package dir_test

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/dir"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// matrix are the images that differ in their directories.
var matrix = []string{
	"ext2-rev0", "ext2-plain", "ext2-1k", "ext3-4k", "ext4-1k", "ext4-4k", "ext4-64k", "ext2-64k", "ext4-16k", "no-csum", "csum-seed",
	"bigalloc-1k", "inline-data", "inline-data-1k", "encrypt", "encrypt-1k", "casefold", "casefold-strict",
	"hash-legacy-signed", "hash-legacy-unsigned", "hash-half_md4-signed", "hash-half_md4-unsigned", "hash-tea-signed", "hash-tea-unsigned",
	"index-nocsum", "large-dir", "100k-names",
}

// TestMatrix compares the names of all directories with the kernel's list,
// looks up each, and takes up the ordered list at many places.
func TestMatrix(t *testing.T) {
	testimages.RequireTool(t, "mke2fs", "debugfs", "e2fsck")
	testimages.RequireLoop(t)
	for _, name := range matrix {
		t.Run(name, func(t *testing.T) {
			built := testimages.BuildFull(t, testimages.Find(t, name))
			im := openImage(t, built.Path)
			got := map[string]bool{}
			indexed := 0
			im.walk(func(p string, c *dir.Config, list []dir.Entry) {
				if c.Indexed {
					indexed++
					checkTree(t, p, c, list)
				}
				checkDirectory(t, im, p, c, list)
				for _, e := range list {
					if s := c.DisplayName(e); s != "." && s != ".." {
						got[escape(path.Join(p, s))] = true
					}
				}
			})
			for _, line := range built.Tree {
				p, _, _ := strings.Cut(line, " ")
				if !got[p] && p != "/" {
					t.Errorf("%s is missing", p)
				}
				delete(got, p)
			}
			delete(got, "/lost+found")
			for p := range got {
				t.Errorf("%s is too much", p)
			}
			t.Logf("%d names, %d indexed directories", len(built.Tree), indexed)
		})
	}
}

func checkDirectory(t *testing.T, im *image, p string, c *dir.Config, list []dir.Entry) {
	t.Helper()
	var order []dir.Entry
	for e, err := range c.From(0) {
		if err != nil {
			t.Fatalf("%s: From: %q: %v", p, e.Name, err)
		}
		order = append(order, e)
	}
	if !slices.Equal(sorted(c, list), sorted(c, order)) {
		t.Errorf("%s: From gives other names than Entries: %d, %d", p, len(order), len(list))
	}
	step := max(1, len(order)/100)
	for i := 0; i < len(order); i += step {
		next := order[i+1:]
		for e, err := range c.From(order[i].Cookie) {
			if err != nil || len(next) == 0 || string(e.Name) != string(next[0].Name) || e.Cookie != next[0].Cookie {
				t.Fatalf("%s: behind %q comes %q, %v", p, order[i].Name, e.Name, err)
			}
			if next = next[1:]; len(order)-len(next) > i+150 {
				next = nil
				break
			}
		}
		if len(next) > 0 {
			t.Fatalf("%s: the list behind %q ends early", p, order[i].Name)
		}
	}
	for _, e := range list {
		shown := c.DisplayName(e)
		got, err := c.Lookup([]byte(shown))
		if err != nil || got.Inode != e.Inode || got.Block != e.Block || got.Offset != e.Offset || got.Hash != e.Hash || got.Type != e.Type {
			t.Fatalf("%s: Lookup(%q) = %+v, %v; want %+v", p, shown, got, err, e)
		}
		if c.Filetype && e.Type != disk.EntryType(im.inode(e.Inode).Mode()) {
			t.Errorf("%s: %q has type %d", p, shown, e.Type)
		}
		absent := shown + "~"
		if len(shown) >= 255 {
			absent = shown[:254]
		}
		if _, err := c.Lookup([]byte(absent)); !errors.Is(err, fs.ErrNotExist) && !slices.ContainsFunc(list, func(e dir.Entry) bool { return string(e.Name) == absent }) {
			t.Fatalf("%s: Lookup(%q): %v", p, absent, err)
		}
	}
}

func sorted(c *dir.Config, list []dir.Entry) (s []string) {
	for _, e := range list {
		s = append(s, c.DisplayName(e))
	}
	slices.Sort(s)
	return s
}

// checkTree holds a tree against what a checker demands.
func checkTree(t *testing.T, p string, c *dir.Config, list []dir.Entry) {
	t.Helper()
	names, blocks := 0, disk.LogicalNum(0)
	last := uint32(0)
	for b, err := range c.Tree() {
		if err != nil {
			t.Fatalf("%s: block %d: %v", p, b.Block, err)
		}
		blocks++
		want := dir.ChecksumNone
		if c.MetadataCsum {
			want = dir.ChecksumGood
		}
		if b.Checksum != want {
			t.Errorf("%s: block %d: checksum %v: %08x, %08x", p, b.Block, b.Checksum, b.Stored, b.Computed)
		}
		if b.Kind != dir.TreeLeaf {
			continue
		}
		names += b.Names
		if b.Low < last {
			t.Errorf("%s: block %d: key %x after %x", p, b.Block, b.Low, last)
		}
		last = b.Low
		if b.Names > 0 && (b.MinHash < b.Low&^1 || !b.Last && b.MaxHash > b.High&^1) {
			t.Errorf("%s: block %d: hashes %x-%x in %x-%x", p, b.Block, b.MinHash, b.MaxHash, b.Low, b.High)
		}
	}
	if names != len(list)-2 || blocks != c.Blocks {
		t.Errorf("%s: the tree has %d names in %d blocks, the directory %d in %d", p, names, blocks, len(list)-2, c.Blocks)
	}
}
