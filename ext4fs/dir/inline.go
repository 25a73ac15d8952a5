package dir

import (
	"encoding/binary"
	"io/fs"
	"iter"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// An inline directory lies in its inode:
//
//	i_block       0 le32 inode of the parent
//	              4 56 bytes, tiled by entries
//	system.data   tiled by entries; may be empty
//
// "." and ".." are not stored, and there is no checksum: the inode has one.

const (
	inlineHead = 4 // the parent's number
	inlineSize = 60
	// inlineShift is added to the place in the inline data: the entries get
	// the offsets that they would have behind "." and ".." in a block, so
	// that cookies stay good when the directory moves there.
	inlineShift  = 2*disk.DirentMinSize - inlineHead
	inlineDotDot = disk.DirentMinSize
)

// InlineEntries yields the entries of inline directory self: block is the
// i_block area of its inode, value that of its system.data attribute. It is
// Entries of a Config that has no more than this. A file type byte is taken
// as one.
func InlineEntries(self disk.InodeNum, block, value []byte) iter.Seq2[Entry, error] {
	c := &Config{Inode: self, Filetype: true, InlineBlock: block, InlineValue: value}
	return c.Entries()
}

// inlineDots makes "." or "..".
func (c *Config) inlineDots(name []byte) Entry {
	e := Entry{Inode: c.Inode, Name: []byte("."), Cookie: inlineDotDot}
	if disk.IsDotDot(name) {
		e = Entry{Name: []byte(".."), Offset: inlineDotDot, Cookie: inlineHead + inlineShift}
		if len(c.InlineBlock) >= inlineHead {
			e.Inode = disk.InodeNum(binary.LittleEndian.Uint32(c.InlineBlock))
		}
	}
	if c.Filetype {
		e.Type = disk.FileTypeDir
	}
	return e
}

// inlineEach gives all entries, with their offset cookies, and trouble.
func (c *Config) inlineEach(yield func(Entry, error, disk.Dirent) bool) {
	if len(c.InlineBlock) < inlineSize {
		yield(Entry{}, c.inlineError(0, "i_block is too short"), nil)
		return
	}
	for _, name := range []string{".", ".."} {
		e := c.inlineDots([]byte(name))
		var err error
		if e.Inode == 0 || !c.inRange(e.Inode) {
			err = c.check(&e, 0, true)
			if err == nil {
				err = c.inlineError(e.Offset, "there is no parent")
			}
		}
		if !yield(e, err, nil) {
			return
		}
	}
	if c.inlinePart(c.InlineBlock[inlineHead:inlineSize], inlineHead, yield) && len(c.InlineValue) > 0 {
		c.inlinePart(c.InlineValue, inlineSize, yield)
	}
}

// inlinePart gives the entries of one part, which begins at byte at of the
// inline data.
func (c *Config) inlinePart(part []byte, at int, yield func(Entry, error, disk.Dirent) bool) bool {
	layout := disk.DirLayout{BlockSize: len(part), HashInDirent: c.Casefold && c.Encrypted}
	it := layout.Iter(part)
	shift := at + inlineShift
	for it.Next() {
		d := it.Dirent()
		if d.Inode() == 0 {
			continue
		}
		e := c.entry(d, 0, it.Offset()+shift)
		e.Cookie = uint64(it.End() + shift)
		if c.Encrypted {
			c.addHash(&e, d, c.HashVersion)
		}
		if !yield(e, c.check(&e, 0, false), d) {
			return false
		}
	}
	if err := it.Err(); err != nil {
		err.Offset += shift
		end := uint64(len(part) + shift)
		return yield(Entry{Offset: err.Offset, Cookie: end}, c.locate(err, nil), nil)
	}
	return true
}

func (c *Config) inlineError(off int, detail string) error {
	return &disk.CorruptError{What: "inline directory", Inode: c.Inode, Offset: off, Detail: detail}
}

// inlineLookup finds a name other than "." and "..".
func (c *Config) inlineLookup(q *query) (Entry, error) {
	if len(c.InlineBlock) < inlineSize {
		return Entry{}, c.inlineError(0, "i_block is too short")
	}
	first := fs.ErrNotExist
	for _, p := range []struct {
		part []byte
		at   int
	}{{c.InlineBlock[inlineHead:inlineSize], inlineHead}, {c.InlineValue, inlineSize}} {
		layout := disk.DirLayout{BlockSize: len(p.part), HashInDirent: c.Casefold && c.Encrypted}
		it := layout.Iter(p.part)
		if d, ok := q.find(&it); ok {
			e := c.entry(d, 0, it.Offset()+p.at+inlineShift)
			if c.Encrypted {
				c.addHash(&e, d, c.HashVersion)
			}
			return e, c.check(&e, 0, true)
		}
		if err := it.Err(); err != nil {
			first = c.locate(err, nil)
		}
	}
	return Entry{}, first
}
