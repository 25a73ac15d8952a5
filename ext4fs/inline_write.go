package ext4fs

import (
	"errors"

	"github.com/e4kit/e4kit/ext4fs/alloc"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// Inline data: 60 bytes in i_block, the rest in the attribute system.data,
// which is there even if it is empty. What lies beyond the size is zeros.

// inlines reports whether the file's content is in the inode, or may get
// there: that of a file that was just made.
func (i *Inode) inlines() bool {
	return i.Flags().Has(disk.FlagInlineData) || i.mayInline && i.Size() == 0
}

// allowInline makes a new regular file begin with inline data. Called before
// anybody else can see the inode.
func (i *Inode) allowInline(r disk.Inode) {
	i.mayInline = i.fs.super.Features.Incompat.Has(disk.IncompatInlineData) && r.Mode()&disk.ModeType == disk.ModeRegular &&
		r.Flags()&(disk.FlagEncrypt|disk.FlagEAInode) == 0
}

// writeInline writes to a file with inline data as long as there is room. Else
// the data moves to a block, and ok is false. Called with mu.
func (i *Inode) writeInline(p []byte, off int64) (n int, ok bool, err error) {
	size := max(i.Size(), off+int64(len(p)))
	room, err := i.inlineBytes()
	if err != nil {
		return 0, false, err
	}
	if size > room {
		return 0, false, i.outgrow()
	}
	data := make([]byte, size)
	if i.Flags().Has(disk.FlagInlineData) {
		old, err := i.inlineData()
		if err != nil {
			return 0, false, err
		}
		copy(data, old[:i.Size()])
	}
	copy(data[off:], p)
	err = i.change(func(h *txn) error { return i.storeInline(h, data) })
	if err != nil {
		return 0, false, err
	}
	return len(p), true, nil
}

// inlineBytes is how many bytes of content the inode has room for, -1 where
// none may be there.
func (i *Inode) inlineBytes() (int64, error) {
	room := i.inlineRoom()
	if i.Flags().Has(disk.FlagInlineData) {
		value, err := i.inlineValue()
		if err != nil {
			return 0, err
		}
		room = max(room, len(value), 0)
	}
	if room < 0 {
		return -1, nil
	}
	return disk.InodeBlockSize + int64(room), nil
}

// storeInline makes data the inode's content, which becomes inline if it is
// not. It does not change anything when the rest does not fit beside the
// attributes.
func (i *Inode) storeInline(h *txn, data []byte) error {
	value := data[min(len(data), disk.InodeBlockSize):]
	// Without room for even an empty attribute there is none, and need be none.
	if len(value) > 0 || i.inlineRoom() >= 0 {
		if err := i.setInlineValue(h, append([]byte{}, value...)); err != nil {
			return err
		}
	}
	i.mayInline = false
	i.resetMap()
	err := i.update(h, func(r disk.Inode) {
		b := r.Block()
		clear(b[copy(b, data):])
		r.SetFlags(r.Flags()&^disk.FlagExtents | disk.FlagInlineData)
		r.SetSize(int64(len(data)))
		i.touch(r)
	})
	if err != nil {
		return i.fs.abort(err)
	}
	i.dataTID.Store(h.ID())
	return nil
}

// resetMap forgets the open map: i_block is something else now.
func (i *Inode) resetMap() {
	i.mapMu.Lock()
	i.blocks = nil
	i.mapMu.Unlock()
}

// outgrow makes a file with inline data, if it is one, an ordinary one, in a
// handle of its own. Called with mu.
func (i *Inode) outgrow() error {
	i.mayInline = false
	if !i.Flags().Has(disk.FlagInlineData) {
		return nil
	}
	return i.fs.retry(func() (err error) {
		h, err := i.fs.begin(i.fs.leaveInlineCredits())
		if err != nil {
			return err
		}
		defer func() { err = i.fs.end(h, err) }()
		return i.leaveInline(h)
	})
}

// leaveInlineCredits is what leaveInline may add.
func (f *FS) leaveInlineCredits() int { return f.baseCredits() + alloc.AllocCredits + 1 }

// leaveInline moves a file's inline data to a block. When it fails with
// ErrNoSpace or ErrQuota nothing was changed. Called with mu.
func (i *Inode) leaveInline(h *txn) error {
	data, err := i.inlineData()
	if err != nil {
		return err
	}
	data = data[:i.Size()]
	var r newRun
	tx := &opTx{h: h}
	if len(data) > 0 {
		if r, err = i.firstBlock(tx, data); err != nil {
			return err
		}
	}
	if err := i.becomeMapped(h); err != nil {
		return i.fs.abort(err)
	}
	if r.n == 0 {
		return nil
	}
	i.mapMu.Lock()
	defer i.mapMu.Unlock()
	m, err := i.theMap()
	if err == nil {
		err = m.Insert(m.in(h, 0), extent.Extent{Physical: r.bn, Len: r.n})
	}
	if err != nil {
		return i.fs.abort(err)
	}
	m.space.taken += r.taken
	if err := i.storeRoot(h); err != nil {
		return i.fs.abort(err)
	}
	return nil
}

// firstBlock finds a block for the file's content, which is inline still, and
// writes it there.
func (i *Inode) firstBlock(tx *opTx, data []byte) (newRun, error) {
	ratio := i.fs.super.ClusterRatio()
	taken := clusterBlocks(0, 1, ratio)
	if err := i.charge(tx.h, taken, 0); err != nil {
		return newRun{}, err
	}
	bn, n, err := i.fs.live.alloc.Alloc(tx, alloc.Request{
		Inode: i.num, Len: 1, Size: int64(len(data)), Root: i.asRoot(),
		Low: !i.fs.super.Features.Incompat.Has(disk.IncompatExtents),
	})
	if err != nil {
		return newRun{}, errors.Join(noSpace(err), i.charge(tx.h, -taken, 0))
	}
	r := newRun{bn, n, taken}
	if err := i.putNew(tx, bn, n, 0, data); err != nil {
		return newRun{}, i.giveBack(tx, r, err)
	}
	return r, nil
}

// becomeMapped makes an inode with inline data one with an empty block map.
// The size stays.
func (i *Inode) becomeMapped(h *txn) error {
	if err := i.setInlineValue(h, nil); err != nil {
		return err
	}
	i.resetMap()
	err := i.update(h, i.initBlockMap)
	i.mayInline = false
	return err
}

// dropInline makes an inode with inline data an empty one with a block map: for
// directories, whose entries move to blocks in another form.
func (i *Inode) dropInline(h *txn) error {
	if err := i.becomeMapped(h); err != nil {
		return i.fs.abort(err)
	}
	return i.update(h, func(r disk.Inode) { r.SetSize(0) })
}

// truncateInline sets the size of an inode with inline data. ok is false when
// it has none any more, since it became too large.
func (i *Inode) truncateInline(size int64) (ok bool, err error) {
	room, err := i.inlineBytes()
	if err != nil {
		return false, err
	}
	if size > room {
		return false, i.outgrow()
	}
	if size == i.Size() {
		return true, nil
	}
	old, err := i.inlineData()
	if err != nil {
		return false, err
	}
	data := make([]byte, size)
	copy(data, old[:min(i.Size(), size)])
	return true, i.change(func(h *txn) error { return i.storeInline(h, data) })
}
