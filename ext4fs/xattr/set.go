package xattr

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

const (
	oldInodeSize   = 128 // without the extra fields
	extraSizePlace = 0x80
)

// Set is the attributes of one place, checked. The zero value has none. It
// aliases the bytes it was made from and is safe for concurrent use.
type Set struct {
	base   []byte // what value offsets count from, and no more than the place
	at     int    // of the first entry in base
	origin int    // of base in the record or block
	where  Where
}

// ParseInode returns the attributes in an inode's record, whose length is the
// inode size. A record without room or magic for them has none. Trouble is a
// *disk.CorruptError.
func ParseInode(record []byte, o Owner) (Set, error) {
	if len(record) < oldInodeSize+2 {
		return Set{}, nil
	}
	extra := int(binary.LittleEndian.Uint16(record[extraSizePlace:]))
	if extra == 0 {
		// The extra space was never used: what is there are no attributes.
		return Set{}, nil
	}
	if extra > len(record)-oldInodeSize || extra%disk.XattrPad != 0 {
		return Set{}, corrupt(o, 0, extraSizePlace, "extra size %d in a record of %d bytes", extra, len(record))
	}
	at := oldInodeSize + extra
	if len(record)-at < disk.XattrInodeHeaderSize || binary.LittleEndian.Uint32(record[at:]) != disk.XattrMagic {
		return Set{}, nil
	}
	at += disk.XattrInodeHeaderSize
	s := Set{base: record[at:len(record):len(record)], origin: at, where: InInode}
	return s, s.check(o, 0)
}

// ParseBlock returns the attributes in block bn. Trouble is a
// *disk.CorruptError or, with o.Verify, a *disk.ChecksumError.
func ParseBlock(bn disk.BlockNum, block []byte, o Owner) (Set, error) {
	if len(block) < disk.XattrHeaderSize {
		return Set{}, corrupt(o, bn, 0, "block of %d bytes", len(block))
	}
	h := disk.XattrHeader(block)
	if h.Magic() != disk.XattrMagic {
		return Set{}, corrupt(o, bn, 0, "magic 0x%08x is not 0x%08x", h.Magic(), disk.XattrMagic)
	}
	if h.Blocks() != 1 {
		return Set{}, corrupt(o, bn, 0, "%d blocks", h.Blocks())
	}
	if o.Verify {
		if stored, computed, ok := disk.VerifyXattrBlock(o.Seed, bn, block); !ok {
			return Set{}, &disk.ChecksumError{
				What: "attribute block", Block: bn, Inode: o.Inode, Stored: stored, Computed: computed,
			}
		}
	}
	s := Set{base: block[:len(block):len(block)], at: disk.XattrHeaderSize, where: InBlock}
	return s, s.check(o, bn)
}

// check walks all entries, and empties the set when one is impossible.
func (s *Set) check(o Owner, bn disk.BlockNum) error {
	end, err := s.checkEntries(o, bn)
	for at := s.at; err == nil && at < end; {
		e := disk.XattrEntry(s.base[at:])
		if p := valueProblem(e, s.base, end+disk.XattrPad); p != "" {
			err = corrupt(o, bn, s.origin+at, "%s", p)
		}
		at += e.Size()
	}
	if err != nil {
		*s = Set{}
	}
	return err
}

// checkEntries returns where the terminator is.
func (s *Set) checkEntries(o Owner, bn disk.BlockNum) (int, error) {
	for at := s.at; ; {
		left := s.base[at:]
		if len(left) < disk.XattrPad {
			return 0, corrupt(o, bn, s.origin+at, "entries without an end")
		}
		e := disk.XattrEntry(left)
		if e.IsEnd() {
			return at, nil
		}
		if len(left) < disk.XattrEntrySize || len(left) < e.Size() {
			return 0, corrupt(o, bn, s.origin+at, "entry leaves its place")
		}
		if bytes.IndexByte(e.Name(), 0) >= 0 {
			return 0, corrupt(o, bn, s.origin+at, "name %q with a zero byte", e.Name())
		}
		at += e.Size()
	}
}

// valueProblem says what is impossible about an entry's value, or "". Values
// start at low at the earliest.
func valueProblem(e disk.XattrEntry, base []byte, low int) string {
	size, at := e.ValueSize(), e.ValueOffset()
	switch {
	case size > disk.XattrMaxValue:
		return fmt.Sprintf("value of %d bytes", size)
	case e.ValueInode() != 0 || size == 0:
		return ""
	case at < low:
		return fmt.Sprintf("value at %d overlaps the entries, which end at %d", at, low)
	case at > len(base) || disk.XattrValueLen(int(size)) > len(base)-at:
		return fmt.Sprintf("value of %d bytes at %d leaves a place of %d bytes", size, at, len(base))
	}
	return ""
}

// All yields the attributes in stored order.
func (s Set) All() iter.Seq[Attr] {
	return func(yield func(Attr) bool) {
		for e, at := s.entry(s.at); e != nil; e, at = s.entry(at + e.Size()) {
			if !yield(s.attr(e, at, disk.XattrName(e.Index(), e.Name()))) {
				return
			}
		}
	}
}

// Lookup returns the attribute with this full name. It does not allocate.
func (s Set) Lookup(name string) (Attr, bool) {
	index, suffix, ok := disk.SplitXattrName(name)
	if !ok {
		return Attr{}, false
	}
	for e, at := s.entry(s.at); e != nil; e, at = s.entry(at + e.Size()) {
		if e.Index() == index && string(e.Name()) == suffix {
			return s.attr(e, at, name), true
		}
	}
	return Attr{}, false
}

// entry is the one at this place of base, nil at the terminator.
func (s Set) entry(at int) (disk.XattrEntry, int) {
	if len(s.base) == 0 {
		return nil, at
	}
	e := disk.XattrEntry(s.base[at:])
	if e.IsEnd() {
		return nil, at
	}
	return e, at
}

func (s Set) attr(e disk.XattrEntry, at int, name string) Attr {
	a := Attr{
		Name: name, Index: e.Index(), Suffix: e.Name(), Where: s.where, Offset: s.origin + at,
		ValueInode: e.ValueInode(), ValueSize: e.ValueSize(), Hash: e.Hash(),
	}
	if a.ValueInode == 0 {
		a.Value = []byte{}
		if size := int(a.ValueSize); size > 0 {
			v := e.ValueOffset()
			a.Value = s.base[v : v+size : v+size]
		}
	}
	return a
}

func corrupt(o Owner, bn disk.BlockNum, at int, format string, args ...any) error {
	what := "attributes in the inode"
	if bn != 0 {
		what = "attribute block"
	}
	return &disk.CorruptError{What: what, Block: bn, Inode: o.Inode, Offset: at, Detail: fmt.Sprintf(format, args...)}
}
