package dir

import (
	"iter"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Cookies. A cookie says where to go on, and stays good while names come and
// go elsewhere in the directory.
//
// In directories that the kernel lists in hash order it is made of the hashes,
// like the kernel's:
//
//	bits 32-62  hash >> 1
//	bits 8-31   upper 24 bits of the minor hash
//	bits 0-7    8, and more to tell entries of the same hashes apart
//
// Cookie 1 is behind "." and 2 behind "..". Entries of one hash are ordered by
// minor hash and name; each cookie is above the one before. The kernel gives
// the same position to all entries of equal hashes, and loses some when a
// reader stops between them; here that needs a name to be removed from among
// 2 names that share 55 bits of hash. The legacy hash has no minor hash: a
// CRC of the name is used.
//
// In the others it is the byte offset of the next entry, as in the kernel.
const (
	cookieDot    = 1
	cookieDotDot = 2
	cookieSlot   = 8
)

// From yields the entries behind a cookie: 0, or the Cookie of an entry that
// From gave. In indexed directories (and those of one block, with dir_index)
// they come in the order of the hash, "." and ".." first; this keeps cookies
// good when blocks are split. The other directories come in the order of
// their blocks.
//
// Trouble is yielded as by Entries. Trouble with the index ends the list: a
// consumer that wants all names takes Entries then.
func (c *Config) From(cookie uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		switch {
		case !c.hashOrder() && c.inline():
			c.inlineFrom(cookie, yield)
		case !c.hashOrder():
			c.linearFrom(cookie, yield)
		default:
			o := order{c: c, after: cookie, yield: yield}
			if err := o.run(); err == nil {
				return
			} else if c.Indexed && !o.begun && c.withoutIndex(err) {
				c.linearFrom(cookie, yield)
			} else {
				yield(Entry{}, err)
			}
		}
	}
}

// linearFrom yields in the order of blocks. A cookie inside a record, because
// records were joined since, stands for the next one.
func (c *Config) linearFrom(cookie uint64, yield func(Entry, error) bool) {
	size := uint64(c.BlockSize)
	if size == 0 || cookie/size >= uint64(c.Blocks) {
		return
	}
	v := c.indexHash()
	holes := 0
	from := int(cookie % size)
	for l := disk.LogicalNum(cookie / size); l < c.Blocks; l, from = l+1, 0 {
		end := Entry{Block: l, Cookie: (uint64(l) + 1) * size}
		b, err := c.leafOrIndex(l)
		if err == nil && b == nil {
			if holes++; !c.LargeDir || l == 0 || holes > maxHoles {
				err = c.holeError(l)
			}
		}
		switch {
		case err != nil:
			if !yield(end, err) || holes > maxHoles {
				return
			}
		case b != nil:
			holes = 0
			ok := c.blockEntries(b, l, v, func(e Entry, err error) bool {
				if e.Offset < from {
					return true
				}
				if e.Inode == 0 { // trouble, and the end of the block
					e.Cookie = end.Cookie
				} else {
					e.Cookie = c.behind(b, e)
				}
				return yield(e, err)
			})
			if !ok {
				return
			}
		}
	}
}

// behind is the offset behind an entry.
func (c *Config) behind(b *cache.Buffer, e Entry) uint64 {
	n := disk.DirRecLen(uint16(b.Data()[e.Offset+4])|uint16(b.Data()[e.Offset+5])<<8, c.BlockSize)
	return uint64(e.Block)*uint64(c.BlockSize) + uint64(e.Offset+n)
}

func (c *Config) inlineFrom(cookie uint64, yield func(Entry, error) bool) {
	c.inlineEach(func(e Entry, err error, _ disk.Dirent) bool {
		return uint64(e.Offset) < cookie || yield(e, err)
	})
}
