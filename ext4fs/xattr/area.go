package xattr

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// area is one place being edited, as bytes: entries from first on, values up
// to the end. Its structure was checked.
type area struct {
	base  []byte // what value offsets count from
	first int    // where the entries begin
	block bool   // an attribute block, which has hashes, order and a header
}

// item is one attribute on its way into an area.
type item struct {
	index disk.XattrIndex
	name  []byte
	value []byte
	// inInode: the value is in an inode of its own, whose stored hash this is.
	inInode bool
	hash    uint32
}

// entry is the one at this place of base.
func (a *area) entry(at int) disk.XattrEntry { return disk.XattrEntry(a.base[at:]) }

// inPlace is the room that the entry's value takes in its area.
func inPlace(e disk.XattrEntry) int {
	if e.ValueInode() != 0 {
		return 0
	}
	return disk.XattrValueLen(int(e.ValueSize()))
}

// compare gives the order of names that the kernel keeps in a block.
func compare(index disk.XattrIndex, name []byte, e disk.XattrEntry) int {
	if c := int(index) - int(e.Index()); c != 0 {
		return c
	}
	if c := len(name) - e.NameLen(); c != 0 {
		return c
	}
	return bytes.Compare(name, e.Name())
}

// find returns where the attribute's entry is or, if there is none, where it
// would be inserted: in order in a block, at the end in an inode.
func (a *area) find(index disk.XattrIndex, name []byte) (at int, ok bool) {
	insert := -1
	for at = a.first; !a.entry(at).IsEnd(); at += a.entry(at).Size() {
		c := compare(index, name, a.entry(at))
		if c == 0 {
			return at, true
		}
		if c < 0 && insert < 0 && a.block {
			insert = at
		}
	}
	if insert < 0 {
		insert = at
	}
	return insert, false
}

// bounds are where the terminator is and where the lowest value begins.
func (a *area) bounds() (end, low int) {
	low = len(a.base)
	for end = a.first; !a.entry(end).IsEnd(); end += a.entry(end).Size() {
		if e := a.entry(end); inPlace(e) > 0 {
			low = min(low, e.ValueOffset())
		}
	}
	return end, low
}

func (a *area) empty() bool { return a.entry(a.first).IsEnd() }

// free is how many bytes new entries and values may take.
func (a *area) free() int {
	end, low := a.bounds()
	return low - end - disk.XattrPad
}

// fits reports whether the item may be written at an entry's place, which find
// gave. reserve keeps values out of a block's start; 0 is none.
func (a *area) fits(i *item, at int, found bool, reserve int) bool {
	_, low := a.bounds()
	free, old, size := a.free(), 0, i.size()
	if found {
		old = inPlace(a.entry(at))
		free += disk.XattrEntryLen(len(i.name)) + old
	}
	if size > 0 && size == old {
		return true // the value is exchanged where it is
	}
	if free < disk.XattrEntryLen(len(i.name))+size {
		return false
	}
	return size == 0 || low+old-size >= reserve
}

// size is the room that the value takes in the area.
func (i *item) size() int {
	if i.inInode {
		return 0
	}
	return disk.XattrValueLen(len(i.value))
}

// set writes an item that fits, at the place that find gave.
func (a *area) set(i *item, at int, found bool) {
	size := i.size()
	if !found || size == 0 || inPlace(a.entry(at)) != size {
		if found {
			a.dropValue(at)
		} else {
			a.insertEntry(i, at)
		}
		_, low := a.bounds()
		offset := 0
		if size > 0 {
			offset = low - size
		}
		a.entry(at).SetValueOffset(offset)
	}
	e := a.entry(at)
	e.SetValueInode(0)
	e.SetValueSize(uint32(len(i.value)))
	if size > 0 {
		v := a.base[e.ValueOffset():][:size]
		clear(v[copy(v, i.value):])
	}
	switch {
	case i.inInode:
		e.SetValueInode(pendingInode)
		e.SetHash(disk.XattrInodeHash(i.name, i.hash, false))
	case a.block:
		e.SetHash(disk.XattrHash(i.name, i.value, false))
	default:
		e.SetHash(0)
	}
}

// insertEntry makes room for an entry without a value.
func (a *area) insertEntry(i *item, at int) {
	end, _ := a.bounds()
	size := disk.XattrEntryLen(len(i.name))
	copy(a.base[at+size:], a.base[at:end+disk.XattrPad])
	disk.PutXattrEntry(a.base[at:], i.index, string(i.name), 0, 0, 0, 0)
}

// dropValue takes the value of an entry out, and closes the gap.
func (a *area) dropValue(at int) {
	e := a.entry(at)
	if size := inPlace(e); size > 0 {
		_, low := a.bounds()
		offset := e.ValueOffset()
		copy(a.base[low+size:offset+size], a.base[low:offset])
		clear(a.base[low : low+size])
		for n := a.first; !a.entry(n).IsEnd(); n += a.entry(n).Size() {
			if o := a.entry(n).ValueOffset(); inPlace(a.entry(n)) > 0 && o < offset {
				a.entry(n).SetValueOffset(o + size)
			}
		}
	}
	e.SetValueOffset(0)
	e.SetValueInode(0)
	e.SetValueSize(0)
}

// remove takes an entry out with its value.
func (a *area) remove(at int) {
	a.dropValue(at)
	end, _ := a.bounds()
	size := a.entry(at).Size()
	copy(a.base[at:], a.base[at+size:end+disk.XattrPad])
	clear(a.base[end+disk.XattrPad-size : end+disk.XattrPad])
}

// rehash renews the hash over a block's entries.
func (a *area) rehash() {
	var hashes []uint32
	for at := a.first; !a.entry(at).IsEnd(); at += a.entry(at).Size() {
		hashes = append(hashes, a.entry(at).Hash())
	}
	disk.XattrHeader(a.base).SetHash(disk.XattrBlockHash(hashes))
}

// checkOverlap finds values that share bytes: a reader can live with them,
// moving them around would spoil others.
func (a *area) checkOverlap() error {
	type piece struct{ from, to, at int }
	var list []piece
	for at := a.first; !a.entry(at).IsEnd(); at += a.entry(at).Size() {
		if size := inPlace(a.entry(at)); size > 0 {
			list = append(list, piece{a.entry(at).ValueOffset(), a.entry(at).ValueOffset() + size, at})
		}
	}
	slices.SortFunc(list, func(x, y piece) int { return x.from - y.from })
	for n := 1; n < len(list); n++ {
		if list[n].from < list[n-1].to {
			return &disk.CorruptError{What: "attributes", Offset: list[n].at,
				Detail: fmt.Sprintf("the values at %d and %d overlap", list[n-1].from, list[n].from)}
		}
	}
	return nil
}
