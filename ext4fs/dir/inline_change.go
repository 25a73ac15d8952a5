package dir

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// inlineLayout is the layout of one part of an inline directory.
func (c *Config) inlineLayout(part []byte) disk.DirLayout {
	return disk.DirLayout{BlockSize: len(part), HashInDirent: c.Casefold && c.Encrypted}
}

// scanPart scans one part, which begins at byte at of the inline data.
func (c *Config) scanPart(part []byte, at int, n *addition) (room, error) {
	if len(part) == 0 {
		return room{off: -1}, nil
	}
	r, err := c.scan(c.inlineLayout(part), part, nil, len(part), n, 0)
	if e, ok := err.(*disk.CorruptError); ok {
		e.Offset += at + inlineShift
	}
	return r, err
}

// insertInline inserts in the inode, in i_block or else in the value, which
// grows when it must. When neither has room the directory moves to a block,
// and the name is still to be inserted: then done is false.
func (c *Config) insertInline(tx cache.Tx, n *addition) (done bool, err error) {
	if len(c.InlineBlock) < inlineSize {
		return false, c.inlineError(0, "i_block is too short")
	}
	head, err := c.scanPart(c.InlineBlock[inlineHead:inlineSize], inlineHead, n)
	if err != nil {
		return false, err
	}
	value := c.InlineValue
	tail, err := c.scanPart(value, inlineSize, n)
	if err != nil {
		return false, err
	}
	if head.off >= 0 {
		block := slices.Clone(c.InlineBlock)
		part := block[inlineHead:inlineSize]
		c.inlineLayout(part).InsertDirent(part, head.off, n.inode, n.typ, n.name)
		return true, c.setInline(tx, block, value)
	}
	if tail.off < 0 {
		value = c.longerValue(tail.last)
		if tail, err = c.scanPart(value, inlineSize, n); err != nil {
			return false, err
		}
	} else {
		value = slices.Clone(value)
	}
	if tail.off >= 0 {
		c.inlineLayout(value).InsertDirent(value, tail.off, n.inode, n.typ, n.name)
		return true, c.setInline(tx, c.InlineBlock, value)
	}
	return false, c.leaveInline(tx)
}

// longerValue is the value with all the room that there is, which the last
// record gets; as it is when there is not enough for a record more. That one
// is at last.
func (c *Config) longerValue(last int) []byte {
	size, old := c.MaxInlineValue&^3, len(c.InlineValue)
	if size-old < disk.DirentMinSize || size > disk.MaxBlockSize {
		return c.InlineValue
	}
	value := make([]byte, size)
	copy(value, c.InlineValue)
	l := c.inlineLayout(value)
	if old == 0 {
		l.SetRecLen(value, 0, size)
	} else {
		l.SetRecLen(value, last, size-last)
	}
	return value
}

// setInline stores content that the Config may keep.
func (c *Config) setInline(tx cache.Tx, block, value []byte) error {
	if err := c.SetInline(tx, block, value); err != nil {
		return fmt.Errorf("inline directory %d: %w", c.Inode, err)
	}
	c.InlineBlock, c.InlineValue = block, value
	return nil
}

// leaveInline moves the directory to a block, where the entries get the
// offsets that they had as cookies.
func (c *Config) leaveInline(tx cache.Tx) error {
	const from = 2 * disk.DirentMinSize
	l := c.layout()
	block, value := c.InlineBlock, c.InlineValue
	size := from + inlineSize - inlineHead + len(value)
	parent := disk.InodeNum(binary.LittleEndian.Uint32(block))
	if size > l.LeafEnd() || parent == 0 {
		return c.inlineError(0, fmt.Sprintf("%d bytes with parent %d do not make a block", size, parent))
	}
	if err := c.LeaveInline(tx); err != nil {
		return fmt.Errorf("inline directory %d: %w", c.Inode, err)
	}
	c.Blocks = 0
	_, data, err := c.grow(tx, TreeLeaf)
	if err != nil {
		if undo := c.SetInline(tx, block, value); undo != nil {
			return &PartialError{fmt.Errorf("%w; %w", err, undo)}
		}
		return err
	}
	c.InlineBlock, c.InlineValue = nil, nil
	c.Indexed = false
	l.InitDots(data, c.Inode, parent, c.fileType(disk.FileTypeDir), from)
	copy(data[from:], block[inlineHead:inlineSize])
	copy(data[from+inlineSize-inlineHead:], value)
	last := from
	for off := from; off < size; {
		last = off
		off += int(binary.LittleEndian.Uint16(data[off+4:]))
	}
	l.SetRecLen(data, last, l.LeafEnd()-last)
	return nil
}

// changeInline changes the entry that was looked up: change gets the part that
// it is in, its place there, and that of the record before it or -1.
func (c *Config) changeInline(tx cache.Tx, e *Entry, change func(l disk.DirLayout, part []byte, off, prev int)) error {
	if c.SetInline == nil {
		return fmt.Errorf("directory %d was not opened for changes: %w", c.Inode, ErrInvalid)
	}
	if len(c.InlineBlock) < inlineSize {
		return c.inlineError(0, "i_block is too short")
	}
	block, value := slices.Clone(c.InlineBlock), slices.Clone(c.InlineValue)
	if disk.IsDotDot(e.Name) {
		var parent [disk.DirentMinSize]byte // a record to be changed in its place
		change(disk.DirLayout{BlockSize: len(parent)}, parent[:], 0, -1)
		copy(block[:inlineHead], parent[:])
		return c.setInline(tx, block, value)
	}
	part, at := block[inlineHead:inlineSize], inlineHead
	if e.Offset >= inlineSize+inlineShift {
		part, at = value, inlineSize
	}
	l := c.inlineLayout(part)
	off, prev := e.Offset-at-inlineShift, -1
	it := l.Iter(part)
	for it.Next() && it.Offset() < off {
		prev = it.Offset()
	}
	if cerr := it.Err(); cerr != nil {
		return c.locate(cerr, nil)
	}
	if it.Offset() != off || it.End() <= off {
		return c.inlineError(e.Offset, "there is no record")
	}
	change(l, part, off, prev)
	return c.setInline(tx, block, value)
}

// initInline makes an inline directory without entries.
func (c *Config) initInline(tx cache.Tx, parent disk.InodeNum) error {
	if c.SetInline == nil {
		return fmt.Errorf("directory %d was not opened for changes: %w", c.Inode, ErrInvalid)
	}
	block := make([]byte, inlineSize)
	binary.LittleEndian.PutUint32(block, uint32(parent))
	part := block[inlineHead:]
	c.inlineLayout(part).SetRecLen(part, 0, len(part))
	return c.setInline(tx, block, []byte{})
}
