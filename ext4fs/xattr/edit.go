package xattr

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Rules are what decides where attributes may go in a file system.
type Rules struct {
	BlockSize   int
	ValueInodes bool   // ea_inode: values may have inodes of their own
	Seed        uint32 // the file system's
}

// Flag limits what Set does.
type Flag uint8

// Flags of Set.
const (
	Create  Flag = 1 << iota // the attribute must not exist
	Replace                  // the attribute must exist
)

// Pending is a value that goes to an inode of its own. Who has the file system
// finds one with this content or makes it, gains a reference, and tells its
// number to Edit.Resolve.
type Pending struct {
	Index disk.XattrIndex
	Name  []byte // as stored
	Value []byte
	Hash  uint32 // of the value: what the inode stores
}

// Dropped is an entry with a value inode that an edit removed or gave another
// value. The owner is not charged for it any more.
type Dropped struct {
	Inode disk.InodeNum
	Size  uint32 // of the value, in bytes
	// Shared: the entry was in a block that other inodes go on using. Its
	// reference is theirs; the inode's count stays.
	Shared bool
}

const (
	// inlineName is the stored name of the rest of inline data.
	inlineName = "data"
	// pendingInode stands in entries for a value inode not known yet. Without
	// it they would look as if their value were beside them.
	pendingInode disk.InodeNum = 1<<32 - 1
)

// Edit is the attributes of one inode being changed, in copies of the bytes
// they are kept in. Each change happens whole or not at all. What is where
// follows the kernel step by step, so the bytes become the same. It does no
// I/O and is not safe for concurrent use.
//
// A record whose extra fields are not followed by attributes may have anything
// there; it is cleared, where the kernel would take it for entries.
type Edit struct {
	rules   Rules
	owner   Owner
	at      int  // of the magic in the record
	in      area // without base when the record has no room
	block   area // without base when there is no block
	shared  bool
	hadIn   bool // the record had attributes
	old     [2][]byte
	pending []Pending
	dropped []Dropped
}

// NewEdit starts a change of the attributes in an inode's record and in its
// attribute block, nil if there is none. Neither is written to. shared says
// that the block has more references than this inode's. Checksums are not
// looked at: that was done when the block was read. Impossible structures give
// a *disk.CorruptError that names block bn and o.Inode.
func NewEdit(r Rules, o Owner, record disk.Inode, bn disk.BlockNum, block []byte) (*Edit, error) {
	o.Verify = false
	e := &Edit{rules: r, owner: o}
	if err := e.openInode(record); err != nil {
		return nil, err
	}
	if block == nil {
		return e, nil
	}
	if len(block) != r.BlockSize {
		return nil, corrupt(o, bn, 0, "block of %d bytes", len(block))
	}
	if _, err := ParseBlock(bn, block, o); err != nil {
		return nil, err
	}
	e.block = area{base: bytes.Clone(block), first: disk.XattrHeaderSize, block: true}
	e.shared = disk.XattrHeader(block).Refs() > 1
	e.old[InBlock] = bytes.Clone(block)
	return e, e.located(e.block.checkOverlap(), bn)
}

func (e *Edit) openInode(record disk.Inode) error {
	s, err := ParseInode(record, e.owner)
	if err != nil {
		return err
	}
	extra := record.ExtraSize()
	e.at = oldInodeSize + extra
	if extra == 0 || e.at+disk.XattrInodeHeaderSize+disk.XattrPad > len(record) {
		return nil
	}
	e.old[InInode] = bytes.Clone(record[e.at+disk.XattrInodeHeaderSize:])
	e.in.base = bytes.Clone(e.old[InInode])
	if e.hadIn = len(s.base) > 0; !e.hadIn {
		clear(e.in.base)
	}
	return e.located(e.in.checkOverlap(), 0)
}

// located adds to a corruption where it is.
func (e *Edit) located(err error, bn disk.BlockNum) error {
	if c, ok := err.(*disk.CorruptError); ok {
		c.Block, c.Inode = bn, e.owner.Inode
	}
	return err
}

// find returns the area that has an attribute, nil if none has, and where its
// entry is.
func (e *Edit) find(index disk.XattrIndex, name []byte) (a *area, at int) {
	for _, a := range []*area{&e.in, &e.block} {
		if a.base == nil {
			continue
		}
		if at, ok := a.find(index, name); ok {
			return a, at
		}
	}
	return nil, 0
}

// Set gives an attribute a value, copying it. It reports whether anything
// changed: the value may be there already, which Linux does not count as a
// change of the inode. Errors are ErrNameRange, ErrTooBig, ErrExist,
// ErrNoAttr and ErrNoSpace.
func (e *Edit) Set(index disk.XattrIndex, name, value []byte, flags Flag) (bool, error) {
	i, err := newItem(index, name, value)
	if err != nil {
		return false, err
	}
	a, at := e.find(index, name)
	switch {
	case a == nil && flags&Replace != 0:
		return false, ErrNoAttr
	case a != nil && flags&Create != 0:
		return false, ErrExist
	case a != nil && a.holds(at, value):
		return false, nil
	}
	if e.rules.ValueInodes && !i.inline() && i.size() > disk.XattrValueInodeLimit(e.rules.BlockSize) {
		e.outside(i)
	}
	for {
		if e.setIn(i) || !i.inline() && e.setBlock(i) {
			break
		}
		if !e.rules.ValueInodes || len(value) == 0 || i.inInode || i.inline() {
			return false, ErrNoSpace
		}
		e.outside(i)
	}
	if i.inInode {
		e.pending = append(e.pending, Pending{Index: index, Name: i.name, Value: i.value, Hash: i.hash})
	}
	return true, nil
}

func newItem(index disk.XattrIndex, name, value []byte) (*item, error) {
	switch {
	case len(name) > MaxName || index == 0:
		return nil, ErrNameRange
	case bytes.IndexByte(name, 0) >= 0:
		return nil, ErrName
	case len(value) > MaxValue:
		return nil, ErrTooBig
	}
	return &item{index: index, name: bytes.Clone(name), value: bytes.Clone(value)}, nil
}

// inline reports whether the item is the rest of inline data, which has to be
// in the inode.
func (i *item) inline() bool { return i.index == disk.XattrSystem && string(i.name) == inlineName }

// MaxInline is how many bytes the rest of inline data may have: the largest
// value of system.data that the inode has room for, 0 if there is none.
func (e *Edit) MaxInline() int {
	if e.in.base == nil {
		return 0
	}
	free := e.in.free() &^ (disk.XattrPad - 1)
	if at, ok := e.in.find(disk.XattrSystem, []byte(inlineName)); ok {
		return max(free, 0) + inPlace(e.in.entry(at))
	}
	return max(free-disk.XattrEntryLen(len(inlineName)), 0)
}

// outside makes an inode the place of the item's value.
func (e *Edit) outside(i *item) {
	i.inInode, i.hash = true, disk.XattrValueHash(e.rules.Seed, i.value)
}

// holds reports whether an entry has this value, beside it.
func (a *area) holds(at int, value []byte) bool {
	en := a.entry(at)
	if en.ValueInode() != 0 || int(en.ValueSize()) != len(value) {
		return false
	}
	return len(value) == 0 || bytes.Equal(a.base[en.ValueOffset():][:len(value)], value)
}

// setIn puts the item into the inode, and takes what the block has of it away.
func (e *Edit) setIn(i *item) bool {
	if e.in.base == nil {
		return false
	}
	at, found := e.in.find(i.index, i.name)
	if !e.in.fits(i, at, found, 0) {
		return false
	}
	if found {
		e.drop(&e.in, at)
	}
	e.in.set(i, at, found)
	e.removeFrom(&e.block, i.index, i.name)
	return true
}

// setBlock puts the item into the block, making one if there is none, and
// takes what the inode has of it away.
func (e *Edit) setBlock(i *item) bool {
	b := e.block
	if b.base == nil {
		b = area{base: make([]byte, e.rules.BlockSize), first: disk.XattrHeaderSize, block: true}
		disk.XattrHeader(b.base).Init()
	}
	reserve := 0
	if e.rules.ValueInodes {
		reserve = disk.XattrBlockReserve(e.rules.BlockSize)
	}
	at, found := b.find(i.index, i.name)
	if !b.fits(i, at, found, reserve) {
		return false
	}
	e.block = b
	if found {
		e.drop(&e.block, at)
	}
	e.block.set(i, at, found)
	e.block.rehash()
	e.removeFrom(&e.in, i.index, i.name)
	return true
}

// Remove takes an attribute away; ErrNoAttr where it is not.
func (e *Edit) Remove(index disk.XattrIndex, name []byte) error {
	a, _ := e.find(index, name)
	if a == nil {
		return ErrNoAttr
	}
	e.removeFrom(a, index, name)
	return nil
}

func (e *Edit) removeFrom(a *area, index disk.XattrIndex, name []byte) {
	if a.base == nil {
		return
	}
	at, ok := a.find(index, name)
	if !ok {
		return
	}
	e.drop(a, at)
	a.remove(at)
	if a.block {
		a.rehash()
	}
}

// drop notes that an entry loses its value.
func (e *Edit) drop(a *area, at int) {
	en := a.entry(at)
	if en.ValueInode() == 0 || en.ValueInode() == pendingInode && e.unpend(en.Index(), en.Name()) {
		return
	}
	e.dropped = append(e.dropped, Dropped{
		Inode: en.ValueInode(), Size: en.ValueSize(), Shared: a.block && e.shared,
	})
}

// unpend forgets that an attribute's value waits for an inode, if it does.
func (e *Edit) unpend(index disk.XattrIndex, name []byte) bool {
	for n, p := range e.pending {
		if p.Index == index && bytes.Equal(p.Name, name) {
			e.pending = append(e.pending[:n:n], e.pending[n+1:]...)
			return true
		}
	}
	return false
}

// Pending are the values that wait for an inode.
func (e *Edit) Pending() []Pending { return e.pending }

// Resolve tells which inode holds a pending value. 0, which is no inode, leaves
// it pending.
func (e *Edit) Resolve(p Pending, n disk.InodeNum) {
	if n == 0 || !e.unpend(p.Index, p.Name) {
		return
	}
	if a, at := e.find(p.Index, p.Name); a != nil {
		a.entry(at).SetValueInode(n)
	}
}

// Dropped are the value inodes that lost an entry.
func (e *Edit) Dropped() []Dropped { return e.dropped }

// Changed reports which of the places have other bytes now. Where the block
// changed and is shared, the inode needs another one.
func (e *Edit) Changed() (inode, block bool) {
	switch {
	case e.in.base == nil:
	case e.hadIn:
		inode = !bytes.Equal(e.in.base, e.old[InInode])
	default:
		inode = !e.in.empty()
	}
	switch {
	case e.block.base == nil:
	case e.old[InBlock] == nil:
		block = !e.block.empty()
	default:
		block = !bytes.Equal(e.block.base, e.old[InBlock])
	}
	return inode, block
}

// inode is the attributes' part of the record. Like the kernel it has no magic
// when there are none.
func (e *Edit) inode() []byte {
	b := make([]byte, disk.XattrInodeHeaderSize, disk.XattrInodeHeaderSize+len(e.in.base))
	if !e.in.empty() {
		binary.LittleEndian.PutUint32(b, disk.XattrMagic)
	}
	return append(b, e.in.base...)
}

// WriteInode writes the attributes' part into the record, which is the one the
// edit was made from or has the same sizes. No pending value may be left.
func (e *Edit) WriteInode(record disk.Inode) error {
	if err := e.ready(); err != nil {
		return err
	}
	switch {
	case e.in.base == nil:
		return nil
	case oldInodeSize+record.ExtraSize() != e.at || len(record)-e.at != len(e.in.base)+disk.XattrInodeHeaderSize:
		return fmt.Errorf("attributes of inode %d: a record of another form: %w", e.owner.Inode, ErrName)
	}
	copy(record[e.at:], e.inode())
	return nil
}

// Block is the attribute block's content, with one reference and without a
// checksum, which BlockSealer makes. It is nil when no attribute is left in
// it: the inode needs no block then. No pending value may be left. The result
// is the edit's own.
func (e *Edit) Block() ([]byte, error) {
	if err := e.ready(); err != nil || e.block.base == nil || e.block.empty() {
		return nil, err
	}
	disk.XattrHeader(e.block.base).SetRefs(1)
	return e.block.base, nil
}

func (e *Edit) ready() error {
	if len(e.pending) > 0 {
		return fmt.Errorf("attributes of inode %d: %d values wait for an inode: %w", e.owner.Inode, len(e.pending), ErrName)
	}
	return nil
}

// BlockSealer completes attribute blocks for the log; sums is whether the file
// system has metadata_csum.
func BlockSealer(seed uint32, sums bool) cache.Sealer { return blockSealer{seed, sums} }

type blockSealer struct {
	seed uint32
	sums bool
}

func (s blockSealer) Seal(bn disk.BlockNum, data []byte, _ func(disk.BlockNum) []byte) {
	if s.sums {
		disk.SealXattrBlock(s.seed, bn, data)
	}
}

// Same reports whether two places have the same attributes in the same order,
// so that one block can serve for both. Values in inodes are the same only in
// the same inode.
func Same(a, b Set) bool {
	x, xAt := a.entry(a.at)
	y, yAt := b.entry(b.at)
	for x != nil && y != nil {
		p, q := a.attr(x, xAt, ""), b.attr(y, yAt, "")
		if p.Index != q.Index || p.Hash != q.Hash || p.ValueInode != q.ValueInode || p.ValueSize != q.ValueSize ||
			!bytes.Equal(p.Suffix, q.Suffix) || !bytes.Equal(p.Value, q.Value) {
			return false
		}
		x, xAt = a.entry(xAt + x.Size())
		y, yAt = b.entry(yAt + y.Size())
	}
	return x == nil && y == nil
}
