package quota_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/quota"
	"github.com/e4kit/e4kit/testimages"
)

// The records that tune2fs wrote are those that debugfs lists, and quota files
// written here are good to e2fsck and mean the same to debugfs.
func TestFile_e2fsprogs(t *testing.T) {
	testimages.RequireLoop(t)
	testimages.RequireTool(t, "tune2fs")
	for _, bs := range []string{"1024", "4096"} {
		t.Run(bs, func(t *testing.T) {
			img := quotaImage(t, bs)
			for k := disk.QuotaKind(0); k < disk.QuotaKinds; k++ {
				m := readQuota(t, img, k)
				f, err := quota.Open(config(m, k, nil))
				if err != nil {
					t.Fatal(err)
				}
				compareList(t, img, k, f)
				rebuild(t, img, k, f)
				extend(t, img, k)
			}
			testimages.Fsck(t, img)
		})
	}
}

// owner is the n-th of many users: near and far ids.
func owner(n int) int {
	if n%3 == 0 {
		return n*7_654_321 + 1
	}
	return 1000 + n
}

func quotaImage(t *testing.T, bs string) string {
	img := filepath.Join(testimages.Scratch(t), "quota.img")
	testimages.Mkfs(t, img, 32<<20, "-b", bs)
	testimages.WithMount(t, img, "", func(dir string) {
		for n := range 200 {
			p := filepath.Join(dir, fmt.Sprint(n))
			if err := os.WriteFile(p, bytes.Repeat([]byte{1}, n*100), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := unix.Chown(p, owner(n), owner(n/2)); err != nil {
				t.Fatal(err)
			}
		}
	})
	testimages.Run(t, "tune2fs", "-O", "quota,project", "-Q", "usrquota,grpquota,prjquota", img)
	testimages.Fsck(t, img)
	return img
}

// readQuota takes a quota file out of the image.
func readQuota(t *testing.T, img string, k disk.QuotaKind) *memory {
	t.Helper()
	f, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	i, err := f.Inode(f.Super().QuotaInode(k))
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, i.Size())
	if _, err := i.ReadAt(data, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return newMemory(f.BlockSize(), data)
}

// writeQuota puts a quota file back, which must not have grown.
func writeQuota(t *testing.T, img string, k disk.QuotaKind, m *memory) {
	t.Helper()
	f, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	i, err := f.Inode(f.Super().QuotaInode(k))
	if err != nil {
		t.Fatal(err)
	}
	if m.size > i.Size() {
		t.Fatalf("%d bytes do not fit into %d", m.size, i.Size())
	}
	m.grow(i.Size())
	blocks, err := i.Map()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(img, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for l := range len(m.data) / m.bs {
		e, err := blocks.Find(disk.LogicalNum(l))
		if err != nil {
			t.Fatal(err)
		}
		at := int64(e.Physical) + int64(l) - int64(e.Logical)
		if _, err := file.WriteAt(m.data[l*m.bs:][:m.bs], at*int64(m.bs)); err != nil {
			t.Fatal(err)
		}
	}
}

func compareList(t *testing.T, img string, k disk.QuotaKind, f *quota.File) {
	t.Helper()
	list, err := f.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, e := range list {
		want = append(want, fmt.Sprint(e.ID, e.Space, e.SpaceSoft, e.SpaceHard, e.Inodes, e.InodeSoft, e.InodeHard))
	}
	var got []string
	for n, line := range strings.Split(testimages.Debugfs(t, img, "lq "+k.String()), "\n") {
		if n > 0 && line != "" {
			got = append(got, strings.Join(strings.Fields(line), " "))
		}
	}
	slices.Sort(want) // debugfs goes block by block
	slices.Sort(got)
	if strings.Join(got, "\n") != strings.Join(want, "\n") || len(got) == 0 || k == disk.QuotaUser && len(got) < 200 {
		t.Errorf("%v quota:\n%s\ndebugfs has\n%s", k, strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
}

// rebuild writes all records into a new file in another order.
func rebuild(t *testing.T, img string, k disk.QuotaKind, f *quota.File) {
	list, err := f.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	m := newMemory(readQuota(t, img, k).bs, nil)
	f = initFile(t, m, k, nil)
	for _, e := range list {
		if err := f.Put(nil, e); err != nil {
			t.Fatal(err)
		}
	}
	writeQuota(t, img, k, m)
	testimages.Fsck(t, img)
	compareList(t, img, k, f)
}

// extend adds limits and ids that need no other blocks to the file.
func extend(t *testing.T, img string, k disk.QuotaKind) {
	m := readQuota(t, img, k)
	f, err := quota.Open(config(m, k, nil))
	if err != nil {
		t.Fatal(err)
	}
	for id := range uint32(3) {
		base := uint32(0)
		if k != disk.QuotaProject {
			base = 1000
		}
		if err := f.SetLimits(nil, base+200+id, quota.Limits{InodeHard: 9, InodeSoft: 8, SpaceHard: 7000, SpaceSoft: 6000}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.SetLimits(nil, 0, quota.Limits{InodeSoft: 1}); err != nil {
		t.Fatal(err)
	}
	writeQuota(t, img, k, m)
	testimages.Fsck(t, img)
	compareList(t, img, k, f)
}
