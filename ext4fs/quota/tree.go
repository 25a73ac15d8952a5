package quota

import (
	"context"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// find looks an id up in the tree. A record that is not there has block 0.
func (f *File) find(id uint32) (*dquot, error) {
	q, err := f.info()
	if err != nil {
		return nil, err
	}
	n := uint32(disk.QuotaRootBlock)
	for depth := range disk.QuotaDepth {
		b, err := f.read(n)
		if err != nil {
			return nil, err
		}
		ref := disk.QuotaTree(b).Ref(disk.QuotaIndex(id, depth))
		if ref == 0 {
			return &dquot{QuotaEntry: disk.QuotaEntry{ID: id}}, nil
		}
		if err := f.checkRef(n, ref, q.Blocks()); err != nil {
			return nil, err
		}
		n = ref
	}
	return f.slot(n, id)
}

// checkRef checks a number found in block at.
func (f *File) checkRef(at, ref, blocks uint32) error {
	if ref <= disk.QuotaRootBlock || ref >= blocks {
		return f.corrupt(at, "reference to block %d of %d", ref, blocks)
	}
	return nil
}

// slot finds an id's entry in a data block.
func (f *File) slot(n, id uint32) (*dquot, error) {
	b, err := f.read(n)
	if err != nil {
		return nil, err
	}
	for slot := range disk.QuotaEntries {
		raw := disk.QuotaData(b).Entry(slot)
		if disk.QuotaEntryFree(raw) {
			continue
		}
		if e := disk.DecodeQuotaEntry(raw); e.ID == id {
			return &dquot{QuotaEntry: e, block: n, slot: slot}, nil
		}
	}
	return nil, f.corrupt(n, "id %d is not here", id)
}

// Entries returns all records in the order of their ids. With an error it
// returns those found before it. A tree block that is reached twice is a
// *disk.CorruptError, so the walk ends.
func (f *File) Entries(ctx context.Context) ([]disk.QuotaEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q, err := f.info()
	if err != nil {
		return nil, err
	}
	w := &walk{ctx: ctx, f: f, blocks: q.Blocks(), seen: map[uint32]bool{}}
	err = w.tree(disk.QuotaRootBlock, 0, 0)
	return w.list, err
}

// walk collects all records.
type walk struct {
	ctx    context.Context
	f      *File
	blocks uint32
	seen   map[uint32]bool // tree blocks
	list   []disk.QuotaEntry
}

// tree goes through the tree block n, whose ids begin with prefix.
func (w *walk) tree(n uint32, depth int, prefix uint32) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if w.seen[n] {
		return w.f.corrupt(n, "in the tree twice")
	}
	w.seen[n] = true
	b, err := w.f.read(n)
	if err != nil {
		return err
	}
	for i := range disk.QuotaRefs {
		ref, id := disk.QuotaTree(b).Ref(i), prefix<<8|uint32(i)
		if ref == 0 {
			continue
		}
		if err := w.f.checkRef(n, ref, w.blocks); err != nil {
			return err
		}
		if depth < disk.QuotaDepth-1 {
			if err := w.tree(ref, depth+1, id); err != nil {
				return err
			}
			continue
		}
		d, err := w.f.slot(ref, id)
		if err != nil {
			return err
		}
		w.list = append(w.list, d.QuotaEntry)
	}
	return nil
}

// stage is a change of several blocks, made in copies first, so that it is
// done whole or not at all.
type stage struct {
	f      *File
	blocks map[uint32][]byte
	order  []uint32
}

// block is a copy of a quota block to be changed.
func (s *stage) block(n uint32) ([]byte, error) {
	if b := s.blocks[n]; b != nil {
		return b, nil
	}
	b, err := s.f.read(n)
	if err != nil {
		return nil, err
	}
	copy(s.fresh(n), b)
	return s.blocks[n], nil
}

// fresh makes a block zeros.
func (s *stage) fresh(n uint32) []byte {
	if s.blocks[n] == nil {
		s.order = append(s.order, n)
	}
	s.blocks[n] = make([]byte, disk.QuotaBlockSize)
	return s.blocks[n]
}

// commit writes the copies. What can fail comes first.
func (s *stage) commit(tx cache.Tx) error {
	slices.Sort(s.order)
	if n := len(s.order); n > 0 {
		if need := (int64(s.order[n-1]) + 1) * disk.QuotaBlockSize; need > s.f.config.Storage.Size() {
			if err := s.f.config.Storage.Grow(tx, need); err != nil {
				return s.f.wrap(err)
			}
		}
	}
	to := make([][]byte, len(s.order))
	for i, n := range s.order {
		b, err := s.f.write(tx, n)
		if err != nil {
			return err
		}
		to[i] = b
	}
	for i, n := range s.order {
		copy(to[i], s.blocks[n])
	}
	return nil
}

// insert gives the record a place in the file.
func (f *File) insert(tx cache.Tx, d *dquot) error {
	q, err := f.info()
	if err != nil {
		return err
	}
	s := &stage{f: f, blocks: map[uint32][]byte{}}
	b, err := s.block(0)
	if err != nil {
		return err
	}
	i := &inserter{stage: s, info: disk.QuotaInfo(b), old: q.Blocks()}
	block, slot, err := i.run(d.QuotaEntry)
	if err != nil {
		return err
	}
	if err := s.commit(tx); err != nil {
		return err
	}
	d.block, d.slot = block, slot
	return nil
}

// inserter adds one record to the tree.
type inserter struct {
	*stage
	info disk.QuotaInfo
	old  uint32   // blocks before
	path []uint32 // tree blocks from the root on
}

// run goes down the tree, adding the blocks that are missing.
func (i *inserter) run(e disk.QuotaEntry) (block uint32, slot int, err error) {
	n := uint32(disk.QuotaRootBlock)
	for depth := range disk.QuotaDepth {
		i.path = append(i.path, n)
		b, err := i.block(n)
		if err != nil {
			return 0, 0, err
		}
		tree, at := disk.QuotaTree(b), disk.QuotaIndex(e.ID, depth)
		ref := tree.Ref(at)
		switch last := depth == disk.QuotaDepth-1; {
		case last && ref != 0:
			return 0, 0, i.f.corrupt(n, "id %d is there already", e.ID)
		case last:
			if ref, slot, err = i.entry(e); err != nil {
				return 0, 0, err
			}
			tree.SetRef(at, ref)
		case ref == 0:
			if ref, err = i.newBlock(); err != nil {
				return 0, 0, err
			}
			tree.SetRef(at, ref)
		default:
			if err := i.check(n, ref); err != nil {
				return 0, 0, err
			}
		}
		n = ref
	}
	return n, slot, nil
}

// check refuses numbers that are out of range or on the way already: changing
// such a block would change the tree.
func (i *inserter) check(at, ref uint32) error {
	if err := i.f.checkRef(at, ref, i.info.Blocks()); err != nil {
		return err
	}
	if slices.Contains(i.path, ref) {
		return i.f.corrupt(at, "reference to block %d, which is above", ref)
	}
	return nil
}

// newBlock takes a block from the free list, or one more at the end. It is all
// zeros.
func (i *inserter) newBlock() (uint32, error) {
	n := i.info.FreeBlock()
	if n == 0 {
		n = i.info.Blocks()
		if n == 1<<32-1 {
			return 0, i.f.corrupt(0, "%d blocks", n)
		}
		i.info.SetBlocks(n + 1)
		i.fresh(n)
		return n, nil
	}
	if err := i.check(0, n); err != nil {
		return 0, err
	}
	b, err := i.block(n)
	if err != nil {
		return 0, err
	}
	next := disk.QuotaData(b).Next()
	if next != 0 {
		if err := i.check(n, next); err != nil {
			return 0, err
		}
	}
	i.info.SetFreeBlock(next)
	i.fresh(n)
	return n, nil
}

// entry writes the record into a data block with room.
func (i *inserter) entry(e disk.QuotaEntry) (n uint32, slot int, err error) {
	if n = i.info.FreeEntry(); n == 0 {
		if n, err = i.newBlock(); err != nil {
			return 0, 0, err
		}
		i.info.SetFreeEntry(n)
	}
	if err := i.check(0, n); err != nil {
		return 0, 0, err
	}
	b, err := i.block(n)
	if err != nil {
		return 0, 0, err
	}
	data := disk.QuotaData(b)
	for slot < disk.QuotaEntries && !disk.QuotaEntryFree(data.Entry(slot)) {
		slot++
	}
	if slot == disk.QuotaEntries || data.Used() >= disk.QuotaEntries {
		return 0, 0, i.f.corrupt(n, "no free entry, though it says that it has some")
	}
	if data.Used()+1 == disk.QuotaEntries {
		if err := i.unlist(n, data); err != nil {
			return 0, 0, err
		}
	}
	data.SetUsed(data.Used() + 1)
	e.Encode(data.Entry(slot))
	return n, slot, nil
}

// unlist takes a block from the list of those with free entries.
func (i *inserter) unlist(n uint32, data disk.QuotaData) error {
	next, prev := data.Next(), data.Prev()
	for _, ref := range []uint32{next, prev} {
		if ref == 0 {
			continue
		}
		if err := i.check(n, ref); err != nil {
			return err
		}
		if ref == n {
			return i.f.corrupt(n, "neighbour of itself")
		}
	}
	if next != 0 {
		b, err := i.block(next)
		if err != nil {
			return err
		}
		disk.QuotaData(b).SetPrev(prev)
	}
	if prev != 0 {
		b, err := i.block(prev)
		if err != nil {
			return err
		}
		disk.QuotaData(b).SetNext(next)
	} else {
		i.info.SetFreeEntry(next)
	}
	data.SetNext(0)
	data.SetPrev(0)
	return nil
}
