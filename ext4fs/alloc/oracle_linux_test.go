package alloc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// Linux goes on where this allocator was at work, and finds its checksums and
// counters good: it refuses to allocate from a group where they are not.
func TestAllocator_thenLinux(t *testing.T) {
	testimages.RequireLoop(t)
	for _, name := range []string{"4k", "1k", "lazy", "bigalloc", "gdt_csum", "meta_bg", "ext2"} {
		t.Run(name, func(t *testing.T) {
			for _, k := range kinds {
				if k.name != name {
					continue
				}
				w := newWorld(t, mkfs(t, k.size, k.args...), nil)
				m := newModel(w, 8)
				m.run(1500)
				m.clear()
				img := w.file()
				testimages.WithMount(t, img, "", func(dir string) {
					// All of it, to meet every group.
					for i := 0; ; i++ {
						err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), bytes.Repeat([]byte{byte(i)}, 900<<10), 0o644)
						if err != nil {
							break
						}
					}
				})
				testimages.Fsck(t, img)
				after := newWorld(t, load(t, img), nil)
				for i := range after.a.groups {
					g := &after.a.groups[i]
					if !after.a.usable(g) || !after.a.usableInodes(g) {
						t.Errorf("group %d: %v", i, after.corrupt)
					}
				}
				if free := after.a.Counts().FreeBlocks; free > after.super.Blocks()/8 {
					t.Errorf("%d blocks are free after Linux filled it", free)
				}
			}
		})
	}
}

// What Linux and e2fsprogs make is not taken for damage, and can be worked on.
func TestAllocator_onUsedImages(t *testing.T) {
	sound := func(t *testing.T, img string) {
		w := newWorld(t, load(t, img), nil)
		for i := range w.a.groups {
			g := &w.a.groups[i]
			if !w.a.usable(g) || !w.a.usableInodes(g) {
				t.Errorf("group %d: %v", i, w.corrupt)
			}
		}
		m := newModel(w, 10)
		m.check(w.a)
		m.run(400)
		m.onDisk()
		m.clear()
		testimages.Fsck(t, w.file())
	}
	for _, name := range []string{"ext4-desc128", "packed-meta", "sparse-super2", "meta-bg", "bigalloc-4k", "aged", "full"} {
		t.Run(name, func(t *testing.T) {
			sound(t, testimages.Build(t, testimages.Find(t, name)))
		})
	}
	t.Run("resized", func(t *testing.T) {
		testimages.RequireTool(t, "resize2fs")
		img := filepath.Join(testimages.Scratch(t), "fs.img")
		testimages.Mkfs(t, img, 48<<20, "-b", "1024")
		if err := os.Truncate(img, 150<<20); err != nil {
			t.Fatal(err)
		}
		testimages.Run(t, "resize2fs", img)
		sound(t, img)
	})
}
