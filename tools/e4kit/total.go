package main

import (
	"io/fs"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// total is what there is to do, for a progress bar.
type total struct{ files, bytes int64 }

// totalOf sums up trees, only when somebody would see it. A whole image is
// taken from its counters.
func (e *env) totalOf(nodes []*node) total {
	var t total
	if !e.wantsProgress() {
		return t
	}
	for _, n := range nodes {
		if n.inode.Number() == disk.RootInode {
			if space, err := n.img.fs.Space(); err == nil {
				t.files += int64(space.Inodes - space.InodesFree)
				t.bytes += int64(space.Blocks-min(space.Free, space.Blocks)) * int64(space.BlockSize)
			}
			continue
		}
		e.sumTree(n, &t)
	}
	return t
}

func (e *env) sumTree(n *node, t *total) {
	w := walk{ctx: e.ctx, fs: n.img.fs, unsorted: true, bad: func(string, error) {}}
	w.pre = func(at *walked) error {
		if at.inode == nil {
			return nil
		}
		t.files++
		if at.inode.IsRegular() {
			t.bytes += min(at.inode.Size(), int64(min(at.inode.Sectors(), 1<<53))*512)
		}
		if t.files%1024 == 0 && e.ctx.Err() != nil {
			return fs.SkipAll
		}
		return nil
	}
	w.run(startOf(n))
}

// copyName is what a node is called where it is copied to.
func copyName(n *node) string {
	name := lastElement(n.path)
	if strings.HasPrefix(name, "<") && strings.HasSuffix(name, ">") && !strings.HasPrefix(n.path, "/") {
		return "#" + utoa(uint64(n.inode.Number())) // as in lost+found
	}
	return name
}
