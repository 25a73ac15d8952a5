package dir_test

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/dir"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// indexed are images with a directory that the kernel made from these names,
// in this order.
var indexed = []struct {
	image, path string
	n           int
	name        func(i int) string
}{
	{"hash-legacy-signed", "/indexed", 1500, mixedName},
	{"hash-legacy-unsigned", "/indexed", 1500, mixedName},
	{"hash-half_md4-signed", "/indexed", 1500, mixedName},
	{"hash-half_md4-unsigned", "/indexed", 1500, mixedName},
	{"hash-tea-signed", "/indexed", 1500, mixedName},
	{"hash-tea-unsigned", "/indexed", 1500, mixedName},
	{"index-nocsum", "/indexed", 1500, mixedName},
	{"100k-names", "/names", 100_000, func(i int) string { return fmt.Sprintf("file-%d-%s", i, strings.Repeat("p", i%23)) }},
	{"large-dir", "/names", 36_000, func(i int) string { return fmt.Sprintf("%0244d", i) }},
}

func mixedName(i int) string {
	return fmt.Sprintf("%s-%d-%s", []string{"plain", "grün", "日本", "\xff\xc0"}[i%4], i, strings.Repeat("é", i%17))
}

// TestInsert_asKernel: the same names inserted in the same order make the same
// tree, and the same leaves but for the order of records whose hashes are the
// same.
func TestInsert_asKernel(t *testing.T) {
	testimages.RequireTool(t, "mke2fs")
	testimages.RequireLoop(t)
	for _, tt := range indexed {
		t.Run(tt.image, func(t *testing.T) {
			if testing.Short() && tt.n > 10000 {
				t.Skip("large")
			}
			im := openImage(t, testimages.Build(t, testimages.Find(t, tt.image)))
			kernel := im.find(tt.path)
			var names []string
			for i := range tt.n {
				names = append(names, tt.name(i))
			}
			ours := dir.Rebuild(t, kernel, disk.RootInode, names)
			if ours.Blocks != kernel.Blocks || ours.Indexed != kernel.Indexed {
				t.Fatalf("%d blocks, the kernel has %d", ours.Blocks, kernel.Blocks)
			}
			want := treeOf(t, kernel)
			for i, line := range treeOf(t, ours) {
				if line != want[i] {
					t.Fatalf("%s; the kernel's %s", line, want[i])
				}
			}
			same := 0
			for l := range kernel.Blocks {
				a, b := records(t, kernel, l), records(t, ours, l)
				if slices.Equal(a, b) {
					same++
				}
				slices.Sort(a)
				slices.Sort(b)
				if !slices.Equal(a, b) {
					t.Fatalf("block %d: %.300q; the kernel's: %.300q", l, b, a)
				}
			}
			t.Logf("%d blocks, %d with all records in the same order", kernel.Blocks, same)
		})
	}
}

// treeOf describes each block of a tree.
func treeOf(t *testing.T, c *dir.Config) (list []string) {
	t.Helper()
	for b, err := range c.Tree() {
		if err != nil {
			t.Fatal(err)
		}
		if c.MetadataCsum && b.Checksum != dir.ChecksumGood {
			t.Errorf("block %d: checksum %v", b.Block, b.Checksum)
		}
		list = append(list, fmt.Sprintf("%v %d level %d slot %d: %x-%x, %+v, %d/%d, %d names, %d used, %x-%x", b.Kind, b.Block, b.Level, b.Slot,
			b.Low, b.High, b.Info, b.Count, b.Limit, b.Names, b.Used, b.MinHash, b.MaxHash))
	}
	return list
}

// records are the names and inodes of a block.
func records(t *testing.T, c *dir.Config, l disk.LogicalNum) (list []string) {
	b, err := c.Read(l)
	if err != nil {
		t.Fatal(err)
	}
	for it := (disk.DirLayout{BlockSize: c.BlockSize}).Iter(b.Data()); it.Next(); {
		if d := it.Dirent(); d.Inode() != 0 {
			list = append(list, fmt.Sprintf("%s %d %d", d.Name(), d.Inode(), d.Type()))
		}
	}
	return list
}

// TestChange_oracle changes directories that the kernel made, and asks e2fsck
// and the kernel what they think.
func TestChange_oracle(t *testing.T) {
	testimages.RequireTool(t, "mke2fs", "e2fsck", "debugfs")
	testimages.RequireRoot(t)
	testimages.RequireLoop(t)
	for _, tt := range indexed {
		if tt.n > 10000 {
			continue // the small ones do
		}
		t.Run(tt.image, func(t *testing.T) {
			img := testimages.Copy(t, testimages.Build(t, testimages.Find(t, tt.image)))
			im := openImage(t, img)
			c := im.find(tt.path)
			blocks := dir.Stir(t, c, 1)
			if blocks == nil {
				blocks = dir.Stir(t, c, 2)
			}
			if blocks == nil {
				t.Fatal("the directory became larger")
			}
			changed := writeBlocks(t, img, c, blocks)
			testimages.Fsck(t, img)
			testimages.WithMount(t, img, "ro", func(top string) {
				for i := range tt.n {
					if _, err := os.Lstat(top + tt.path + "/" + tt.name(i)); err != nil {
						t.Error(err)
					}
				}
				list, err := os.ReadDir(top + tt.path)
				if err != nil || len(list) != tt.n {
					t.Errorf("%d names, %v", len(list), err)
				}
			})
			t.Logf("%d of %d blocks changed", changed, len(blocks))
		})
	}
}

// writeBlocks stores a directory's blocks where it has them, and counts those
// that are new.
func writeBlocks(t *testing.T, img string, c *dir.Config, blocks [][]byte) (changed int) {
	t.Helper()
	f, err := os.OpenFile(img, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for l, data := range blocks {
		b, err := c.Read(disk.LogicalNum(l))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(b.Data(), data) {
			changed++
		}
		if _, err := f.WriteAt(data, int64(b.Block())*int64(c.BlockSize)); err != nil {
			t.Fatal(err)
		}
	}
	return changed
}

// TestChange_matrix does so with all directories of many images, and asks
// e2fsck, which knows casefolding and large blocks too.
func TestChange_matrix(t *testing.T) {
	testimages.RequireTool(t, "mke2fs", "e2fsck", "debugfs")
	testimages.RequireLoop(t)
	for _, name := range []string{"ext2-rev0", "ext2-plain", "ext3-4k", "ext4-1k", "ext4-4k", "ext4-64k", "ext2-64k", "ext4-16k",
		"no-csum", "csum-seed", "bigalloc-1k", "casefold", "casefold-strict"} {
		if testing.Short() && name != "ext4-1k" && name != "ext2-64k" && name != "casefold" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			img := testimages.Copy(t, testimages.Build(t, testimages.Find(t, name)))
			im := openImage(t, img)
			changed, skipped, indexed := 0, 0, 0
			im.walk(func(_ string, c *dir.Config, _ []dir.Entry) {
				if c.InlineBlock != nil || c.Encrypted {
					return
				}
				blocks := dir.Stir(t, c, 1)
				if blocks == nil {
					skipped++
					return
				}
				if c.Indexed {
					indexed++
				}
				changed += writeBlocks(t, img, c, blocks)
			})
			testimages.Fsck(t, img)
			t.Logf("%d blocks changed, %d indexed directories; %d directories became larger", changed, indexed, skipped)
			if changed == 0 {
				t.Error("nothing changed")
			}
		})
	}
}

// TestInsert_inlineAsKernel: the kernel's inline directories come out the same
// when their names are inserted again.
func TestInsert_inlineAsKernel(t *testing.T) {
	testimages.RequireTool(t, "mke2fs", "debugfs")
	testimages.RequireLoop(t)
	for _, name := range []string{"inline-data", "inline-data-1k"} {
		same, values := 0, 0
		im := openImage(t, testimages.Build(t, testimages.Find(t, name)))
		im.walk(func(p string, c *dir.Config, list []dir.Entry) {
			if c.InlineBlock == nil || p == "/gone" || p == "/inline/gaps" {
				return // from these two names were removed
			}
			var names []string
			for _, e := range list[2:] {
				names = append(names, string(e.Name))
			}
			ours := dir.Rebuild(t, c, list[1].Inode, names)
			if !bytes.Equal(ours.InlineBlock, c.InlineBlock) || !bytes.Equal(ours.InlineValue, c.InlineValue) {
				t.Errorf("%s: % x % x, the kernel's % x % x", p, ours.InlineBlock, ours.InlineValue, c.InlineBlock, c.InlineValue)
			}
			same++
			if len(c.InlineValue) > 0 {
				values++
			}
		})
		t.Logf("%s: %d inline directories, %d with a value", name, same, values)
		if same == 0 {
			t.Error("none")
		}
	}
}
