package ext4fs

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// How a write goes. A step is one handle: it finds blocks, writes the data to
// them, and only then maps them, or turns them into written ones. So whatever
// transaction makes them reachable, the data is on the device before its
// commit, and neither a crash nor a reader shows what was in them before. The
// bytes of new blocks that the data does not cover are written as zeros. With
// journaled data the blocks are part of the transaction instead.

const (
	// stepBytes bounds the data that one handle is held for.
	stepBytes = 8 << 20
	// journalStep bounds the blocks of data that one handle journals.
	journalStep = 64
)

// WriteAt writes file data, and makes the file longer where it ends beyond the
// end. It returns less than len(p) only with an error: what was written before
// it stays. Errors: ErrNoSpace, ErrQuota, ErrFileTooBig (beyond what the block
// map can hold), ErrNotPermitted (immutable, or not at the end of an append-only
// file, or a file of the file system's own), ErrNoKey, ErrReadOnly.
func (i *Inode) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("inode %d: offset %d: %w", i.num, off, ErrInvalid)
	}
	if i.node == nil {
		return 0, ErrReadOnly
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.changeable(); err != nil {
		return 0, err
	}
	if i.Flags().Has(disk.FlagAppend) && off != i.Size() {
		return 0, fmt.Errorf("inode %d is append-only: %w", i.num, ErrNotPermitted)
	}
	defer i.dropUnheld()
	return i.writeLocked(p, off, 0)
}

// WriteBack is WriteAt for data that its writer was told is written, and that
// has waited in somebody's cache since: what became of the file's flags
// meanwhile does not count. The file may be immutable, and append-only without
// regard to where the data goes.
func (i *Inode) WriteBack(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("inode %d: offset %d: %w", i.num, off, ErrInvalid)
	}
	if i.node == nil {
		return 0, ErrReadOnly
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.changeable(); err != nil && (i.deleted || !i.Flags().Has(disk.FlagImmutable) || i.Flags().Has(disk.FlagVerity) ||
		!i.IsRegular() || i.num < i.fs.super.FirstInode || i.isSystemFile() || i.Flags()&(disk.FlagEAInode|disk.FlagEncrypt) != 0) {
		return 0, err
	}
	defer i.dropUnheld()
	return i.writeLocked(p, off, 0)
}

// Append writes at the end of the file, wherever that is then, and returns
// where.
func (i *Inode) Append(p []byte) (off int64, n int, err error) {
	if i.node == nil {
		return 0, 0, ErrReadOnly
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.changeable(); err != nil {
		return 0, 0, err
	}
	defer i.dropUnheld()
	off = i.Size()
	n, err = i.writeLocked(p, off, 0)
	return off, n, err
}

// changeable says why a user must not change the file's content. Called with
// mu.
func (i *Inode) changeable() error {
	flags := i.Flags()
	var err error
	switch {
	case i.deleted:
		err = ErrNotExist
	case i.IsDir():
		err = ErrIsDir
	case !i.IsRegular():
		err = ErrNotFile
	case flags&(disk.FlagImmutable|disk.FlagVerity|disk.FlagEAInode) != 0,
		i.num < i.fs.super.FirstInode, i.isSystemFile():
		err = ErrNotPermitted
	case flags.Has(disk.FlagEncrypt):
		err = ErrNoKey
	default:
		return nil
	}
	return fmt.Errorf("inode %d: %w", i.num, err)
}

// writeLocked is WriteAt without its checks, for a file that is expected to
// become expect bytes long, 0 if that is not known. Called with mu.
func (i *Inode) writeLocked(p []byte, off, expect int64) (done int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	limit := i.maxBytes()
	if off >= limit {
		return 0, fmt.Errorf("inode %d: write at %d of %d bytes at most: %w", i.num, off, limit, ErrFileTooBig)
	}
	whole := p
	p = p[:min(int64(len(p)), limit-off)]
	if i.inlines() {
		n, ok, err := i.writeInline(p, off)
		if ok || err != nil {
			return n, err
		}
	}
	expect = i.expected(off+int64(len(p)), expect)
	for done < len(p) {
		n, err := i.writeStep(p[done:], off+int64(done), expect)
		if err != nil && n == 0 && stops(err) {
			n, err = i.writeAgain(p[done:], off+int64(done), expect)
		}
		done += n
		switch {
		case err != nil:
			return done, err
		case n == 0:
			return done, fmt.Errorf("inode %d: %w", i.num, io.ErrNoProgress)
		}
	}
	if done < len(whole) {
		return done, fmt.Errorf("inode %d: write beyond %d bytes: %w", i.num, limit, ErrFileTooBig)
	}
	return done, nil
}

// expected is the size that a file which is written up to end is going to have,
// for all that is known: 0 if it grows, and hint, what the caller knows, does not
// say how far.
func (i *Inode) expected(end, hint int64) int64 {
	if size := max(hint, i.Size()); size >= end {
		return size
	}
	return 0
}

// dropUnheld gives back what is kept for the file to grow, if nobody is there
// who would do it with his Release. Called with mu.
func (i *Inode) dropUnheld() {
	if i.holds.Load() == 0 {
		i.dropPrealloc()
	}
}

// writeAgain is writeStep, where a commit may give space or credits.
func (i *Inode) writeAgain(p []byte, off, expect int64) (n int, err error) {
	err = i.fs.retry(func() (err error) {
		n, err = i.writeStep(p, off, expect)
		return err
	})
	return n, err
}

// stepLimit bounds what one step writes.
func (i *Inode) stepLimit(off int64) int64 {
	if i.readsThroughCache() {
		return journalStep<<i.fs.blockShift() - off&int64(i.fs.BlockSize()-1)
	}
	return stepBytes - off%stepBytes
}

// mapForChange opens the map before a handle is begun.
func (i *Inode) mapForChange() (*blockMap, error) {
	i.mapMu.Lock()
	defer i.mapMu.Unlock()
	return i.theMap()
}

// writeStep writes a part of p in one handle. Where space or credits end after
// some of it, there is no error.
func (i *Inode) writeStep(p []byte, off, expect int64) (n int, err error) {
	f := i.fs
	p = p[:min(int64(len(p)), i.stepLimit(off))]
	m, err := i.mapForChange()
	if err != nil {
		return 0, err
	}
	blocks := i.blocksOf(off, len(p))
	credits := f.baseCredits() + i.runCredits(m, blocks)
	if i.readsThroughCache() {
		credits += int(blocks) + 1
	}
	h, err := f.begin(credits)
	if err != nil {
		return 0, err
	}
	defer func() { err = f.end(h, err) }()
	i.mapMu.Lock()
	defer i.mapMu.Unlock()
	tx := m.in(h, f.baseCredits())
	size := i.Size()
	if err := i.allowSize(h, off+int64(len(p))); err != nil {
		return 0, err
	}
	if off > size {
		if err := i.zeroPart(tx, m, size, off); err != nil {
			return 0, err
		}
	}
	m.plain = !i.readsThroughCache()
	n, err = i.writeRuns(tx, m, p, off, expect)
	if m.plain && off+int64(n) <= size && f.live.leaveTimes.Load() {
		return n, err // no metadata has to change
	}
	if serr := i.storeWrite(h, m, n, max(size, off+int64(n))); serr != nil {
		return n, f.abort(serr)
	}
	return n, err
}

// storeWrite brings the record up to date after n bytes were written.
func (i *Inode) storeWrite(h *txn, m *blockMap, n int, size int64) error {
	if n > 0 {
		return i.storeMap(h, func(r disk.Inode) {
			if size > i.Size() {
				r.SetSize(size)
			}
			i.touch(r)
		})
	}
	return i.storeChanges(h, m)
}

// storeChanges stores the map if it was changed.
func (i *Inode) storeChanges(h *txn, m *blockMap) error {
	if m.space.taken == 0 && bytes.Equal(m.Root(), i.record().Block()) {
		return nil
	}
	return i.storeRoot(h)
}

// blocksOf is the number of blocks that n bytes at off touch.
func (i *Inode) blocksOf(off int64, n int) uint64 {
	bs := int64(i.fs.BlockSize())
	return uint64((off&(bs-1) + int64(n) + bs - 1) >> i.fs.blockShift())
}

// writeRuns writes p run by run of the map.
func (i *Inode) writeRuns(tx *opTx, m *blockMap, p []byte, off, expect int64) (done int, err error) {
	for done < len(p) {
		n, err := i.writeRun(tx, m, p[done:], off+int64(done), expect)
		done += n
		if err != nil {
			if done > 0 && stops(err) {
				err = nil
			}
			return done, err
		}
	}
	return done, nil
}

// writeRun writes as much of p as goes to one run.
func (i *Inode) writeRun(tx *opTx, m *blockMap, p []byte, off, expect int64) (int, error) {
	shift := i.fs.blockShift()
	l := disk.LogicalNum(off >> shift)
	e, err := m.Find(l)
	if err != nil {
		return 0, err
	}
	head := off & int64(i.fs.BlockSize()-1)
	blocks := uint32(min(i.blocksOf(off, len(p)), e.End()-uint64(l)))
	bn := e.Physical + disk.BlockNum(l-e.Logical)
	p = p[:min(int64(len(p)), int64(blocks)<<shift-head)]
	if e.Flags&unmapped != 0 {
		m.plain = false
	}
	if e.Flags&extent.FlagHole != 0 {
		return i.writeHole(tx, m, l, blocks, head, p, expect)
	}
	if err := i.checkOwn(e); err != nil {
		return 0, err
	}
	if e.Flags&extent.FlagUnwritten != 0 {
		return i.writeUnwritten(tx, m, e, l, blocks, head, p)
	}
	if err := i.putData(tx, bn, head, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// checkOwn gives an error if a mapped run has blocks that no file can have: a
// damaged map must not lead to a write over metadata.
func (i *Inode) checkOwn(e Extent) error {
	if !i.fs.live.alloc.System(e.Physical, uint64(e.Len)) {
		return nil
	}
	return &CorruptError{What: "block map", Inode: i.num, Block: e.Physical,
		Detail: fmt.Sprintf("logical block %d and %d more lie where the file system has its own structures", e.Logical, e.Len-1)}
}

// writeHole writes to blocks that are not there yet. head is the offset of p in
// the first of them.
func (i *Inode) writeHole(tx *opTx, m *blockMap, l disk.LogicalNum, blocks uint32, head int64, p []byte, expect int64) (int, error) {
	r, err := i.allocRun(tx, m, l, blocks, expect)
	if err != nil {
		return 0, err
	}
	p = p[:min(int64(len(p)), int64(r.n)<<i.fs.blockShift()-head)]
	if err := i.putNew(tx, r.bn, r.n, head, p); err != nil {
		m.space.taken -= r.taken
		return 0, i.giveBack(tx, r, err)
	}
	if err := i.insertRun(tx, m, l, r, 0); err != nil {
		return 0, err
	}
	return len(p), nil
}

// writeUnwritten writes to blocks of an unwritten run.
func (i *Inode) writeUnwritten(tx *opTx, m *blockMap, e extent.Extent, l disk.LogicalNum, blocks uint32, head int64, p []byte) (int, error) {
	if err := need(tx, i.runCredits(m, 0)); err != nil {
		return 0, err
	}
	if err := i.putNew(tx, e.Physical+disk.BlockNum(l-e.Logical), blocks, head, p); err != nil {
		return 0, err
	}
	end := uint64(l) + uint64(blocks)
	next, err := m.SetUnwritten(tx, l, end, false)
	if err != nil && stops(err) && next == uint64(l) {
		next, err = i.writeOut(tx, m, e, l, end, err)
	}
	done := min(int64(len(p)), int64(next-uint64(l))<<i.fs.blockShift()-head)
	return int(max(done, 0)), err
}

// writeOut makes a whole unwritten run a written one, where there is no space
// for the nodes that parts of it would take: what is outside of [l, end), which
// has its data, becomes zeros on the device.
func (i *Inode) writeOut(tx *opTx, m *blockMap, e extent.Extent, l disk.LogicalNum, end uint64, cause error) (uint64, error) {
	if i.readsThroughCache() {
		return uint64(l), cause
	}
	before := uint32(l - e.Logical)
	if err := i.zeroBlocks(e.Physical, before); err != nil {
		return uint64(l), err
	}
	if err := i.zeroBlocks(e.Physical+disk.BlockNum(end-uint64(e.Logical)), uint32(e.End()-end)); err != nil {
		return uint64(l), err
	}
	if _, err := m.SetUnwritten(tx, e.Logical, e.End(), false); err != nil {
		return uint64(l), err
	}
	return end, nil
}

// zeroBlocks makes blocks zeros on the device.
func (i *Inode) zeroBlocks(bn disk.BlockNum, n uint32) error {
	if n == 0 {
		return nil
	}
	shift := i.fs.blockShift()
	return i.dataError(bn, device.Zero(i.fs.live.dev, int64(bn)<<shift, int64(n)<<shift))
}

// dataError says which inode's data could not be written.
func (i *Inode) dataError(bn disk.BlockNum, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("data of inode %d, block %d: %w", i.num, bn, err)
}

// putData writes p over data at byte head behind the start of block bn.
func (i *Inode) putData(tx *opTx, bn disk.BlockNum, head int64, p []byte) error {
	if i.readsThroughCache() {
		return i.journalData(tx, bn, int(head), p, false)
	}
	off := int64(bn)<<i.fs.blockShift() + head
	n, err := i.fs.live.dev.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return i.dataError(bn, err)
}

// zeroEdge is zeros for the edges of new blocks; it is never changed.
var zeroEdge [disk.MaxBlockSize]byte

// vectors are reused, since a slice of slices would be allocated every time.
var vectors = sync.Pool{New: func() any { return new([3][]byte) }}

// putNew fills n new blocks: zeros for head bytes, p, and zeros.
func (i *Inode) putNew(tx *opTx, bn disk.BlockNum, n uint32, head int64, p []byte) error {
	if i.readsThroughCache() {
		return i.journalData(tx, bn, int(head), p, true)
	}
	shift := i.fs.blockShift()
	tail := int64(n)<<shift - head - int64(len(p))
	if head == 0 && tail == 0 {
		return i.putData(tx, bn, 0, p)
	}
	v := vectors.Get().(*[3][]byte)
	v[0], v[1], v[2] = zeroEdge[:head], p, zeroEdge[:tail]
	err := device.WriteV(i.fs.live.dev, v[:], int64(bn)<<shift)
	*v = [3][]byte{}
	vectors.Put(v)
	return i.dataError(bn, err)
}

// journalData makes p part of the transaction, in blocks from bn on. Of fresh
// blocks the rest becomes zeros.
func (i *Inode) journalData(tx *opTx, bn disk.BlockNum, head int, p []byte, fresh bool) error {
	bs := i.fs.BlockSize()
	if err := need(tx, (head+len(p)+bs-1)/bs); err != nil {
		return err
	}
	for len(p) > 0 {
		get := tx.Write
		if fresh || head == 0 && len(p) >= bs {
			get = tx.Fresh
		}
		buf, err := get(bn, nil)
		if err != nil {
			return i.dataError(bn, err)
		}
		n := copy(buf.Data()[head:], p)
		p, head, bn = p[n:], 0, bn+1
	}
	return nil
}

// zeroPart makes the bytes from from up to to zeros, or up to the end of
// from's block if that comes before, where they are data. Called with mu and
// mapMu.
func (i *Inode) zeroPart(tx *opTx, m extent.Map, from, to int64) error {
	shift := i.fs.blockShift()
	bs := int64(i.fs.BlockSize())
	head := from & (bs - 1)
	n := min(to-from, bs-head)
	if head == 0 && n == 0 || n <= 0 || from>>shift > int64(disk.MaxLogical) {
		return nil
	}
	e, err := m.Find(disk.LogicalNum(from >> shift))
	if err != nil || e.Flags&unmapped != 0 {
		return err
	}
	if err := i.checkOwn(e); err != nil {
		return err
	}
	return i.putData(tx, e.Physical+disk.BlockNum(uint64(from>>shift)-uint64(e.Logical)), head, zeroEdge[:n])
}
