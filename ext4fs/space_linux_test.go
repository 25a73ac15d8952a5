package ext4fs_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/testimages"
)

// TestSpace_likeStatfs compares the free space of clean images with what the
// kernel says of them.
func TestSpace_likeStatfs(t *testing.T) {
	for _, name := range []string{
		"ext2-1k", "ext2-4k", "ext3-4k", "ext4-1k", "ext4-4k", "bigalloc-1k", "bigalloc-4k", "meta-bg", "gdt-csum",
		"no-journal", "sparse-super2", "inline-data", "full", "orphan-file", "no-flex-bg",
	} {
		t.Run(name, func(t *testing.T) {
			c := testimages.Find(t, name)
			img := testimages.Build(t, c)
			fsys := openCase(t, c, img)
			s, err := fsys.Space()
			if err != nil {
				t.Fatal(err)
			}
			testimages.WithMount(t, img, "ro", func(dir string) {
				var st unix.Statfs_t
				if err := unix.Statfs(dir, &st); err != nil {
					t.Fatal(err)
				}
				got := [...]uint64{s.Blocks, s.Free, s.Available, s.Inodes, s.InodesFree}
				want := [...]uint64{st.Blocks, st.Bfree, st.Bavail, st.Files, st.Ffree}
				if got != want {
					t.Errorf("blocks, free, available, inodes, free inodes: %d, the kernel says %d", got, want)
				}
			})
		})
	}
}
