package dir

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// How trees grow. A leaf is cut where the upper half of its bytes, by hash,
// begins, the same place where Linux cuts it; so directories come out the
// same. Nodes are cut in the middle.

// piece is an entry of a leaf that is taken apart.
type piece struct {
	hash      uint32
	off, size int // of its record
	need      int // what of it is needed
}

func (w *walk) full(i int) bool {
	e := w.path[i].entries
	return e.Count() >= e.Limit()
}

// takeApart collects the entries of a leaf that scan found sound, from the
// given record on.
func (c *Config) takeApart(data []byte, from int, v disk.HashVersion) []piece {
	l := c.layout()
	s := c.scratch()
	s.pieces = s.pieces[:0]
	it := l.Iter(data)
	for it.Next() {
		d := it.Dirent()
		if d.Inode() == 0 || it.Offset() < from {
			continue
		}
		h, _ := c.hashName(v, d.Name())
		s.pieces = append(s.pieces, piece{h, it.Offset(), len(d), l.Need(d)})
	}
	return s.pieces
}

// fill makes dst a leaf of the pieces of src, which must be other memory. It
// returns where the last record is.
func (c *Config) fill(dst, src []byte, pieces []piece) int {
	c.shape++
	l := c.layout()
	off, last := 0, 0
	for _, p := range pieces {
		copy(dst[off:], src[p.off:p.off+p.need])
		l.SetRecLen(dst, off, p.need)
		last = off
		off += p.need
	}
	clear(dst[off:])
	if len(pieces) == 0 {
		l.InitLeaf(dst)
		return 0
	}
	l.SetRecLen(dst, last, l.LeafEnd()-last)
	if l.Checksum {
		disk.InitDirTail(dst)
	}
	return last
}

// snapshot copies a block's bytes, which stay while it is written anew.
func (c *Config) snapshot(data []byte) []byte {
	s := c.scratch()
	s.block = append(s.block[:0], data...)
	return s.block
}

// repack joins the room that is scattered over a leaf, and inserts there.
// Linux splits such a leaf.
func (c *Config) repack(tx cache.Tx, b *cache.Buffer, n *addition) error {
	data, err := c.write(tx, b, TreeLeaf)
	if err != nil {
		return err
	}
	old := c.snapshot(data)
	last := c.fill(data, old, c.takeApart(old, 0, disk.HashLegacy))
	c.layout().InsertDirent(data, last, n.inode, n.typ, n.name)
	return nil
}

// splitLeaf moves the upper part of a leaf to a new block and inserts. The
// index block above has room.
func (c *Config) splitLeaf(tx cache.Tx, w *walk, b *cache.Buffer, n *addition) error {
	old := c.snapshot(b.Data())
	pieces := c.takeApart(old, 0, w.info.Hash)
	slices.SortFunc(pieces, func(a, b piece) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.off, b.off))
	})
	cut, ok := c.cut(pieces, n)
	if !ok {
		return c.repack(tx, b, n) // one entry leaves room for any other
	}
	key := pieces[cut].hash
	upper := n.hash >= key
	if key == pieces[cut-1].hash {
		key |= 1
	}
	up := &w.path[w.depth]
	index, off, err := c.writeIndex(tx, w, w.depth)
	if err != nil {
		return err
	}
	low, err := c.write(tx, b, TreeLeaf)
	if err != nil {
		return err
	}
	l, high, err := c.grow(tx, TreeLeaf)
	if err != nil {
		return err
	}
	disk.InsertDX(index, off, up.at, key, l)
	lastHigh := c.fill(high, old, pieces[cut:])
	slices.SortFunc(pieces[:cut], func(a, b piece) int { return cmp.Compare(a.off, b.off) })
	lastLow := c.fill(low, old, pieces[:cut])
	if upper {
		c.layout().InsertDirent(high, lastHigh, n.inode, n.typ, n.name)
	} else {
		c.layout().InsertDirent(low, lastLow, n.inode, n.typ, n.name)
	}
	return nil
}

// cut says how many of the sorted pieces stay. Linux's choice is taken if the
// new entry fits then, as it does unless records are larger than they need;
// else the one that is the most even. ok is false when there is nothing to
// part.
func (c *Config) cut(pieces []piece, n *addition) (cut int, ok bool) {
	if len(pieces) < 2 {
		return 0, false
	}
	size, i := 0, len(pieces)-1
	for ; i >= 0 && size+pieces[i].size/2 <= c.BlockSize/2; i-- {
		size += pieces[i].size
	}
	if cut = i + 1; i < 0 {
		cut = len(pieces) / 2
	}
	total := 0
	for _, p := range pieces {
		total += p.need
	}
	if cut > 0 && cut < len(pieces) {
		below := 0
		for _, p := range pieces[:cut] {
			below += p.need
		}
		part := below
		if n.hash >= pieces[cut].hash {
			part = total - below
		}
		if part+n.need <= c.layout().LeafEnd() {
			return cut, true
		}
	}
	below, best := 0, total
	for i, p := range pieces[:len(pieces)-1] {
		below += p.need
		if worse := max(below, total-below); worse < best {
			best, cut = worse, i+1
		}
	}
	return cut, true
}

// writeIndex gives the bytes of the path's index block of level i, to be
// changed, and where its array begins.
func (c *Config) writeIndex(tx cache.Tx, w *walk, i int) (data []byte, off int, err error) {
	kind := TreeNode
	if i == 0 {
		kind = TreeRoot
	}
	if data, err = c.write(tx, w.path[i].buf, kind); err != nil {
		return nil, 0, err
	}
	if i == 0 {
		return data, rootArray(data), nil
	}
	return data, disk.DXNodeOffset, nil
}

// growIndex makes room in the index, whose lowest block on the path is full:
// it splits the highest of the full nodes below one that is not, or adds a
// level below the root.
func (c *Config) growIndex(tx cache.Tx, w *walk) error {
	i := w.depth
	for i > 0 && w.full(i-1) {
		i--
	}
	if i == 0 {
		return c.addLevel(tx, w)
	}
	parent, off, err := c.writeIndex(tx, w, i-1)
	if err != nil {
		return err
	}
	node, _, err := c.writeIndex(tx, w, i)
	if err != nil {
		return err
	}
	l, fresh, err := c.grow(tx, TreeNode)
	if err != nil {
		return err
	}
	entries := w.path[i].entries
	count := entries.Count()
	keep := count / 2
	key := entries.Key(keep)
	c.layout().InitDXNode(fresh, entries[keep*disk.DXEntrySize:], count-keep)
	disk.CutDX(node, disk.DXNodeOffset, keep)
	disk.InsertDX(parent, off, w.path[i-1].at, key, l)
	return nil
}

// addLevel moves the entries of the root to a new node.
func (c *Config) addLevel(tx cache.Tx, w *walk) error {
	if w.depth >= c.layout().DXLevels() {
		return ErrNoSpace
	}
	root, off, err := c.writeIndex(tx, w, 0)
	if err != nil {
		return err
	}
	l, node, err := c.grow(tx, TreeNode)
	if err != nil {
		return err
	}
	entries := w.path[0].entries
	c.layout().InitDXNode(node, entries, entries.Count())
	disk.CutDX(root, off, 1)
	disk.SetDXBlock(root, off, 0, l)
	w.info.Levels++
	w.info.Encode(root)
	return nil
}

// makeIndex gives a directory of one full block an index, and inserts.
func (c *Config) makeIndex(tx cache.Tx, n *addition) error {
	b, err := c.linearBlock(0)
	if err != nil {
		return err
	}
	l := c.layout()
	parent, from, err := c.dots(b)
	if err != nil {
		return err
	}
	root, err := c.write(tx, b, TreeRoot)
	if err != nil {
		return err
	}
	leaf, data, err := c.grow(tx, TreeLeaf)
	if err != nil {
		return c.keepLeaf(tx, b, err)
	}
	// Up to here there is an empty block more, and nothing else.
	if err := c.SetIndexed(tx, true); err != nil {
		return c.keepLeaf(tx, b, err)
	}
	// The entries keep their records, as if the first two were cut off.
	old := c.snapshot(root)
	end := l.LeafEnd() - from
	copy(data, old[from:l.LeafEnd()])
	clear(data[end:l.LeafEnd()])
	last := 0
	for it := l.Iter(old); it.Next(); {
		last = it.Offset() - from
	}
	l.SetRecLen(data, last, l.LeafEnd()-last)
	clear(root)
	l.InitDXRoot(root, c.Inode, parent, c.fileType(disk.FileTypeDir), c.HashVersion, leaf)
	c.Indexed, c.placed = true, true
	return c.insertTree(tx, n, true)
}

// keepLeaf gives a block that does not become a root after all the sealer of
// a leaf again.
func (c *Config) keepLeaf(tx cache.Tx, b *cache.Buffer, why error) error {
	if _, err := c.write(tx, b, TreeLeaf); err != nil {
		return &PartialError{err}
	}
	return why
}

// dots checks that a block begins with "." and "..", and gives the inode of
// the latter, and where the entries behind them begin.
func (c *Config) dots(b *cache.Buffer) (parent disk.InodeNum, from int, err error) {
	it := c.layout().Iter(b.Data())
	if it.Next() && it.Dirent().Inode() != 0 && disk.IsDot(it.Dirent().Name()) && it.Next() && disk.IsDotDot(it.Dirent().Name()) {
		parent = disk.InodeNum(binary.LittleEndian.Uint32(it.Dirent()))
		from = it.End()
	}
	if parent == 0 || from >= c.layout().LeafEnd() {
		return 0, 0, &disk.CorruptError{What: "directory block", Block: b.Block(), Inode: c.Inode, Detail: "it does not begin with \".\" and \"..\""}
	}
	return parent, from, nil
}
