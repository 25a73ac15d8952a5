package ext4fs

import (
	"errors"
	"fmt"
	"math"

	"github.com/e4kit/e4kit/ext4fs/alloc"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// maxWriteAll bounds what writeAll takes.
const maxWriteAll = 1 << 20

// writeAllCredits is what writeAll of n bytes may add, beside the inode.
func (f *FS) writeAllCredits(n int, journaled bool) int {
	blocks := uint64(n)>>f.blockShift() + 1
	// A tree's first entries are in the inode; a block map takes its nodes.
	credits := f.baseCredits() + 2*alloc.AllocCredits + 8
	if journaled {
		credits += int(blocks)
	}
	return credits
}

// writeAll makes p, of at most 1 MiB, the content of a new and empty inode as
// part of the caller's operation: inline where that is allowed and there is
// room, else in blocks. Values and long targets are journaled. It sets the size
// but no times. When it fails the inode is empty as before. Called with mu, or
// while nobody else knows the inode.
func (i *Inode) writeAll(h *txn, p []byte) error {
	if len(p) > maxWriteAll {
		return fmt.Errorf("inode %d: %d bytes at once: %w", i.num, len(p), ErrFileTooBig)
	}
	if len(p) == 0 {
		return nil
	}
	if i.mayInline {
		if room := i.inlineRoom(); room >= 0 && len(p) <= disk.InodeBlockSize+room {
			was := i.record()
			if err := i.storeInline(h, p); err != nil {
				return err
			}
			// A new inode's times are its maker's business.
			err := i.update(h, func(r disk.Inode) {
				r.SetMtime(was.Mtime())
				r.SetCtime(was.Ctime())
			})
			if err != nil {
				return i.fs.abort(err)
			}
			return nil
		}
	}
	i.mayInline = false
	i.mapMu.Lock()
	defer i.mapMu.Unlock()
	m, err := i.theMap()
	if err != nil {
		return err
	}
	tx := m.in(h, i.fs.baseCredits())
	if err := i.writeNew(tx, m, p); err != nil {
		for end := i.blocksOf(0, len(p)); end > 0; {
			next, rerr := i.removeRuns(tx, m, 0, end)
			if rerr != nil || next == end {
				return i.fs.abort(errors.Join(err, rerr))
			}
			end = next
		}
		return noSpace(errors.Join(err, i.storeChanges(h, m)))
	}
	if err := i.storeMap(h, func(r disk.Inode) { r.SetSize(int64(len(p))) }); err != nil {
		return i.fs.abort(err)
	}
	return nil
}

func (i *Inode) writeNew(tx *opTx, m *blockMap, p []byte) error {
	size := int64(len(p))
	for done := 0; done < len(p); {
		n, err := i.writeRun(tx, m, p[done:], int64(done), size)
		if err != nil {
			return err
		}
		done += n
	}
	return nil
}

// growDirCredits is what growDir may add.
func (i *Inode) growDirCredits() int {
	// A map whose root is full grows by a node at every level.
	return i.fs.baseCredits() + alloc.AllocCredits + 1 + 3*(disk.MaxExtentDepth+1)
}

// growDir gives a directory a block more, which the caller has to fill with
// tx.Fresh. The size is set, times are the caller's. Called with mu.
func (i *Inode) growDir(h *txn) (disk.LogicalNum, disk.BlockNum, error) {
	f := i.fs
	bs := int64(f.BlockSize())
	size := i.Size()
	limit := int64(math.MaxInt32)
	if f.super.Features.Incompat.Has(disk.IncompatLargeDir) {
		limit = i.maxBytes()
	}
	if size&(bs-1) != 0 {
		return 0, 0, &CorruptError{What: "directory", Inode: i.num, Detail: fmt.Sprintf("size %d", size)}
	}
	if size > limit-bs {
		return 0, 0, fmt.Errorf("directory %d of %d bytes: %w", i.num, size, ErrNoSpace)
	}
	i.mapMu.Lock()
	defer i.mapMu.Unlock()
	m, err := i.theMap()
	if err != nil {
		return 0, 0, err
	}
	tx := m.in(h, f.baseCredits())
	l := disk.LogicalNum(size >> f.blockShift())
	// It is expected to double.
	r, err := i.allocRun(tx, m, l, 1, 2*(size+bs))
	if err != nil {
		return 0, 0, err
	}
	if err := i.insertRun(tx, m, l, r, 0); err != nil {
		return 0, 0, noSpace(err)
	}
	if err := i.storeMap(h, func(r disk.Inode) { r.SetSize(size + bs) }); err != nil {
		return 0, 0, f.abort(err)
	}
	return l, r.bn, nil
}
