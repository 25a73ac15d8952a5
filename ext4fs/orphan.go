package ext4fs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// An orphan is an inode that something is left to be done with, whatever
// happens: one without names is deleted, one with names is truncated to its
// size. Orphans are noted on disk in one of two ways:
//
//	list  s_last_orphan -> inode, whose i_dtime -> next inode, ... -> 0
//	file  slots of inode numbers in the blocks of a file (feature
//	      orphan_file), 0 is free; when it is full, the list
//
// In memory every orphan is known by its Inode, which so stays in memory.
// Without a journal nothing is noted on disk: after a crash a check is due
// anyway.

// orphanKind says where an orphan is noted.
type orphanKind uint8

const (
	orphanNone orphanKind = iota
	orphanInList
	orphanInFile
	orphanInMemory
)

// orphanPlace is where an inode is noted as an orphan.
type orphanPlace struct {
	prev, next *Inode // in the list; prev is nearer to the head
	block      int32  // of the orphan file
	slot       int32
	kind       orphanKind
	// linkable: Tmpfile made it, so that Link may give it a name. Guarded by
	// the inode's mu.
	linkable bool
}

// orphans is all orphans of a file system.
type orphans struct {
	mu   sync.Mutex // guards the rest, and orphanPlace of all inodes
	head *Inode     // of the list
	all  map[*Inode]struct{}

	file   []orphanBlock // blocks of the orphan file that can be used
	sealer cache.Sealer  // of these; nil without checksums
	turn   int           // where the next search begins
	// damaged: a part of the file cannot be used, and may hold something.
	damaged bool
}

// orphanBlock is a block of the orphan file.
type orphanBlock struct {
	block disk.BlockNum
	free  int // slots
}

// Orphans says what became of the orphans that were found at open.
type Orphans struct {
	Deleted   int // inodes without names
	Truncated int // inodes with names
	// Bad are the entries that make no sense, which were dropped.
	Bad []error
}

// orphanSealer seals blocks of the orphan file.
type orphanSealer struct{ seed uint32 }

// Seal implements cache.Sealer.
func (s orphanSealer) Seal(bn disk.BlockNum, data []byte, _ func(disk.BlockNum) []byte) {
	_, sum := disk.OrphanBlock(data).Checksum(s.seed, bn)
	binary.LittleEndian.PutUint32(data[len(data)-4:], sum)
}

// empty reports whether nothing is noted on disk any more.
func (o *orphans) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.all) == 0 && !o.damaged
}

// list returns all orphans.
func (o *orphans) list() []*Inode {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []*Inode
	for i := range o.all {
		list = append(list, i)
	}
	slices.SortFunc(list, func(a, b *Inode) int { return int(int64(a.num) - int64(b.num)) })
	return list
}

// has reports whether the inode is an orphan.
func (o *orphans) has(i *Inode) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.all[i]
	return ok
}

// note enters an orphan in memory. Called with mu.
func (o *orphans) note(i *Inode, kind orphanKind) {
	if o.all == nil {
		o.all = make(map[*Inode]struct{})
	}
	o.all[i] = struct{}{}
	i.orphan.kind = kind
}

// orphanAdd notes an inode as an orphan, if it is none yet. The caller holds
// i.mu. It fails before it changes anything.
func (f *FS) orphanAdd(h *txn, i *Inode) error {
	_, err := f.orphanAddEdit(h, i, nil)
	return err
}

// orphanAddEdit is orphanAdd, and changes the record by edit, if there is one, where
// it is changed anyway: edited says so.
func (f *FS) orphanAddEdit(h *txn, i *Inode, edit func(r disk.Inode)) (edited bool, err error) {
	if f.live.replaying {
		// Those on disk are not known yet, and all of the replay is one
		// transaction, which ends with nothing left to do.
		return false, nil
	}
	o := &f.live.orphans
	o.mu.Lock()
	defer o.mu.Unlock()
	if i.orphan.kind != orphanNone {
		return false, nil
	}
	if !f.super.Features.Compat.Has(disk.CompatHasJournal) {
		o.note(i, orphanInMemory)
		return false, nil
	}
	if done, err := o.addToFile(h, i); done || err != nil {
		return false, err
	}
	next := disk.InodeNum(0)
	if o.head != nil {
		next = o.head.num
	}
	if err := f.live.super.setLastOrphan(h, i.num); err != nil {
		return false, err
	}
	err = i.update(h, func(r disk.Inode) {
		if edit != nil {
			edit(r)
		}
		r.SetDeletionTime(uint32(next))
	})
	if err != nil {
		return false, f.abort(err)
	}
	o.link(i, o.head)
	return true, nil
}

// link puts i at the head of the list in memory, before head.
func (o *orphans) link(i, head *Inode) {
	if head != nil {
		head.orphan.prev = i
	}
	i.orphan.prev, i.orphan.next = nil, head
	o.head = i
	o.note(i, orphanInList)
}

// addToFile puts i into a free slot of the orphan file. It begins its search
// in another block each time, so that transactions differ in the blocks they
// change. Called with mu.
func (o *orphans) addToFile(h *txn, i *Inode) (bool, error) {
	for range o.file {
		o.turn = (o.turn + 1) % len(o.file)
		b := &o.file[o.turn]
		if b.free == 0 {
			continue
		}
		buf, err := h.Write(b.block, o.sealer)
		if err != nil {
			return false, err
		}
		d := disk.OrphanBlock(buf.Data())
		for n := range d.Slots() {
			if d.Slot(n) != 0 {
				continue
			}
			binary.LittleEndian.PutUint32(d[4*n:], uint32(i.num))
			b.free--
			i.orphan.block, i.orphan.slot = int32(o.turn), int32(n)
			o.note(i, orphanInFile)
			return true, nil
		}
		b.free = 0
	}
	return false, nil
}

// orphanDel takes an inode off the orphans, if it is one. The caller holds
// i.mu. Of an inode that was in the list, i_dtime becomes 0.
func (f *FS) orphanDel(h *txn, i *Inode) error {
	_, err := f.orphanDelEdit(h, i, nil)
	return err
}

// orphanDelEdit is orphanDel, and changes the record by edit, if there is one, where
// it is changed anyway: edited says so.
func (f *FS) orphanDelEdit(h *txn, i *Inode, edit func(r disk.Inode)) (edited bool, err error) {
	o := &f.live.orphans
	o.mu.Lock()
	defer o.mu.Unlock()
	switch i.orphan.kind {
	case orphanNone:
		return false, nil
	case orphanInFile:
		if err := o.removeFromFile(h, i); err != nil {
			return false, err
		}
	case orphanInList:
		if err := o.removeFromList(f, h, i, edit); err != nil {
			return false, err
		}
		edited = true
	}
	delete(o.all, i)
	i.orphan = orphanPlace{}
	return edited, nil
}

func (o *orphans) removeFromFile(h *txn, i *Inode) error {
	b := &o.file[i.orphan.block]
	buf, err := h.Write(b.block, o.sealer)
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(buf.Data()[4*i.orphan.slot:], 0)
	b.free++
	return nil
}

// removeFromList closes the gap. The neighbour's record is changed without
// the lock of its inode: nothing else changes i_dtime of what is in the list.
func (o *orphans) removeFromList(f *FS, h *txn, i *Inode, edit func(r disk.Inode)) error {
	prev, next := i.orphan.prev, i.orphan.next
	number := disk.InodeNum(0)
	if next != nil {
		number = next.num
	}
	var err error
	if prev == nil {
		err = f.live.super.setLastOrphan(h, number)
	} else {
		err = prev.update(h, func(r disk.Inode) { r.SetDeletionTime(uint32(number)) })
	}
	if err != nil {
		return err
	}
	err = i.update(h, func(r disk.Inode) {
		r.SetDeletionTime(0)
		if edit != nil {
			edit(r)
		}
	})
	if err != nil {
		return f.abort(err)
	}
	if prev == nil {
		o.head = next
	} else {
		prev.orphan.next = next
	}
	if next != nil {
		next.orphan.prev = prev
	}
	return nil
}

// processOrphans does what is left to be done with the orphans on disk, as
// the first thing after a journal was recovered. Entries that make no sense
// are dropped. After errors in the file system, none is trusted.
func (f *FS) processOrphans(ctx context.Context) (Orphans, error) {
	var res Orphans
	if err := f.loadOrphanFile(&res); err != nil {
		return res, err
	}
	if f.super.State&disk.StateError != 0 {
		return res, f.forgetOrphanList()
	}
	if err := f.loadOrphanList(&res); err != nil {
		return res, err
	}
	if err := f.loadOrphanSlots(&res); err != nil {
		return res, err
	}
	for _, i := range f.live.orphans.list() {
		if err := ctx.Err(); err != nil {
			return res, err
		}
		if err := f.processOrphan(i, &res); err != nil {
			return res, fmt.Errorf("orphan inode %d: %w", i.num, err)
		}
	}
	return res, nil
}

// processOrphan deletes or truncates. One whose content is corrupt stays
// noted, for a check to find.
func (f *FS) processOrphan(i *Inode, res *Orphans) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	var err error
	deleted := i.record().Links() == 0
	if deleted {
		err = i.deleteLocked()
	} else {
		err = i.finishTruncate()
	}
	switch {
	case err == nil && deleted:
		res.Deleted++
	case err == nil:
		res.Truncated++
	case (errors.Is(err, ErrCorrupt) || errors.Is(err, ErrChecksum)) && f.live.journal.Err() == nil:
		res.Bad = append(res.Bad, fmt.Errorf("orphan inode %d: %w", i.num, err))
		err = nil
	}
	return err
}

// finishTruncate frees what lies beyond the size, and takes the inode off the
// orphans.
func (i *Inode) finishTruncate() (err error) {
	if i.hasBlocks() {
		if err := i.truncateLocked(i.Size()); err != nil {
			return err
		}
	}
	h, err := i.begin(orphanCredits + 1)
	if err != nil {
		return err
	}
	defer func() { err = i.fs.end(h, err) }()
	return i.fs.orphanDel(h, i)
}

// forgetOrphanList clears the head of the list.
func (f *FS) forgetOrphanList() (err error) {
	if f.super.LastOrphan == 0 {
		return nil
	}
	h, err := f.begin(1)
	if err != nil {
		return err
	}
	defer func() { err = f.end(h, err) }()
	return f.live.super.setLastOrphan(h, 0)
}

// loadOrphanList walks along the list up to its end, or to an entry that makes
// no sense, and cuts it there.
func (f *FS) loadOrphanList(res *Orphans) error {
	var chain []*Inode
	seen := make(map[disk.InodeNum]bool)
	n := f.super.LastOrphan
	for n != 0 {
		i, err := f.orphanInode(n)
		if err == nil && seen[n] {
			err = &CorruptError{What: "orphan list", Inode: n, Detail: "it leads back to where it was"}
		}
		if fatal := f.badOrphan(err, res); fatal != nil {
			return fatal
		}
		if err != nil {
			break
		}
		seen[n] = true
		chain = append(chain, i)
		n = disk.InodeNum(i.record().DeletionTime())
	}
	if n != 0 {
		if err := f.cutOrphanList(chain); err != nil {
			return err
		}
	}
	o := &f.live.orphans
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, i := range slices.Backward(chain) {
		o.link(i, o.head)
	}
	return nil
}

// badOrphan notes an entry that makes no sense. Other errors are returned.
func (f *FS) badOrphan(err error, res *Orphans) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrChecksum) {
		res.Bad = append(res.Bad, err)
		return nil
	}
	return err
}

// badOrphanFile is badOrphan for a part of the orphan file.
func (f *FS) badOrphanFile(err error, res *Orphans) error {
	f.live.orphans.damaged = true
	return f.badOrphan(err, res)
}

// cutOrphanList ends the list after the last inode of chain.
func (f *FS) cutOrphanList(chain []*Inode) (err error) {
	h, err := f.begin(2)
	if err != nil {
		return err
	}
	defer func() { err = f.end(h, err) }()
	if len(chain) == 0 {
		return f.live.super.setLastOrphan(h, 0)
	}
	last := chain[len(chain)-1]
	return last.update(h, func(r disk.Inode) { r.SetDeletionTime(0) })
}

// orphanInode reads an inode that is said to be an orphan.
func (f *FS) orphanInode(n disk.InodeNum) (*Inode, error) {
	bad := func(format string, args ...any) (*Inode, error) {
		return nil, &CorruptError{What: "orphan", Inode: n, Detail: fmt.Sprintf(format, args...)}
	}
	if n > f.inodes || n < f.super.FirstInode || f.isSpecial(n) {
		return bad("no inode of files: the first is %d, the last %d", f.super.FirstInode, f.inodes)
	}
	used, err := f.live.alloc.InodeInUse(n)
	if err != nil {
		return nil, err
	}
	if !used {
		return bad("it is not in use")
	}
	i, err := f.Inode(n)
	if err != nil {
		return nil, err
	}
	if i.Mode()&fs.ModeIrregular != 0 {
		return bad("mode %o", i.record().Mode())
	}
	if i.record().Links() > 0 && !i.hasBlocks() && !i.Flags().Has(disk.FlagInlineData) {
		return bad("it has %d links and nothing to truncate", i.record().Links())
	}
	return i, nil
}

// loadOrphanFile finds the blocks of the orphan file. A block that is damaged
// is not used.
func (f *FS) loadOrphanFile(res *Orphans) error {
	n := f.super.OrphanFileInode
	if !f.super.Features.Compat.Has(disk.CompatOrphanFile) || n == 0 {
		return nil
	}
	i, err := f.Inode(n)
	if err == nil && (!i.IsRegular() || i.Flags().Has(disk.FlagInlineData) || i.Size()%int64(f.BlockSize()) != 0) {
		err = &CorruptError{What: "orphan file", Inode: n, Detail: fmt.Sprintf("mode %o, size %d", i.record().Mode(), i.Size())}
	}
	if err != nil {
		return f.badOrphanFile(err, res)
	}
	o := &f.live.orphans
	if f.super.HasMetadataCsum() {
		o.sealer = orphanSealer{i.seed()}
	}
	next := disk.LogicalNum(0)
	blocks := uint64(i.Size()) >> f.blockShift()
	for e, err := range i.Extents() {
		if err == nil && (e.Logical != next || e.Flags != 0 || uint64(e.Logical)+uint64(e.Len) > f.super.Blocks()) {
			err = &CorruptError{What: "orphan file", Inode: n, Block: e.Physical, Detail: fmt.Sprintf("extent at %d, not %d", e.Logical, next)}
		}
		if err != nil {
			return f.badOrphanFile(err, res)
		}
		for k := uint64(0); k < uint64(e.Len) && uint64(next) < blocks; k++ {
			if err := f.loadOrphanBlock(i, e.Physical+disk.BlockNum(k)); err != nil {
				if err := f.badOrphanFile(err, res); err != nil {
					return err
				}
			}
			next++
		}
	}
	return nil
}

// loadOrphanBlock checks one block of the orphan file and enters it.
func (f *FS) loadOrphanBlock(i *Inode, bn disk.BlockNum) error {
	buf, err := f.cache.Get(bn)
	if err != nil {
		return err
	}
	d := disk.OrphanBlock(buf.Data())
	if m := d.Magic(); m != disk.OrphanBlockMagic {
		return &CorruptError{What: "orphan file", Inode: i.num, Block: bn, Detail: fmt.Sprintf("magic 0x%08x", m)}
	}
	if f.verify() {
		if stored, computed := d.Checksum(i.seed(), bn); stored != computed {
			return &ChecksumError{What: "orphan file", Inode: i.num, Block: bn, Stored: stored, Computed: computed}
		}
	}
	free := 0
	for n := range d.Slots() {
		if d.Slot(n) == 0 {
			free++
		}
	}
	o := &f.live.orphans
	o.file = append(o.file, orphanBlock{bn, free})
	return nil
}

// loadOrphanSlots enters the inodes in the orphan file, and clears the slots
// of those that make no sense.
func (f *FS) loadOrphanSlots(res *Orphans) error {
	o := &f.live.orphans
	for b := range o.file {
		buf, err := f.cache.Get(o.file[b].block)
		if err != nil {
			return err
		}
		d := disk.OrphanBlock(buf.Data())
		var bad []int
		for n := range d.Slots() {
			if d.Slot(n) == 0 {
				continue
			}
			i, err := f.orphanInode(d.Slot(n))
			if err == nil && i.orphan.kind != orphanNone {
				err = &CorruptError{What: "orphan file", Inode: i.num, Block: o.file[b].block, Detail: "noted twice"}
			}
			if err != nil {
				if err := f.badOrphan(err, res); err != nil {
					return err
				}
				bad = append(bad, n)
				continue
			}
			o.mu.Lock()
			i.orphan.block, i.orphan.slot = int32(b), int32(n)
			o.note(i, orphanInFile)
			o.mu.Unlock()
		}
		if err := f.clearOrphanSlots(b, bad); err != nil {
			return err
		}
	}
	return nil
}

func (f *FS) clearOrphanSlots(b int, slots []int) (err error) {
	if len(slots) == 0 {
		return nil
	}
	h, err := f.begin(1)
	if err != nil {
		return err
	}
	defer func() { err = f.end(h, err) }()
	o := &f.live.orphans
	buf, err := h.Write(o.file[b].block, o.sealer)
	if err != nil {
		return err
	}
	for _, n := range slots {
		binary.LittleEndian.PutUint32(buf.Data()[4*n:], 0)
	}
	o.mu.Lock()
	o.file[b].free += len(slots)
	o.mu.Unlock()
	return nil
}
