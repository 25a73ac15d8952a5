package dir

import (
	"bytes"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// entry makes an Entry of a record in use.
func (c *Config) entry(d disk.Dirent, l disk.LogicalNum, off int) Entry {
	e := Entry{Inode: d.Inode(), Name: d.Name(), Block: l, Offset: off}
	if t := d.Type(); c.Filetype && t <= disk.FileTypeSymlink {
		e.Type = t
	}
	return e
}

// addHash fills in the hashes of an encrypted directory's entry. v is the
// hash of the index, or the default one.
func (c *Config) addHash(e *Entry, d disk.Dirent, v disk.HashVersion) {
	switch {
	case isDots(e.Name):
	case c.Casefold:
		e.Hash, e.Minor, _ = d.Hash()
	case c.hashOrder():
		e.Hash, e.Minor = c.hashName(v, e.Name)
	}
}

func isDots(name []byte) bool { return disk.IsDot(name) || disk.IsDotDot(name) }

// minCiphertext is the shortest encrypted name: one cipher block.
const minCiphertext = 16

// check says what is impossible in an entry. dots tells whether "." and ".."
// may be here.
func (c *Config) check(e *Entry, block disk.BlockNum, dots bool) error {
	n := e.Name
	// One look at each byte for nearly all entries.
	if len(n) > 2 && !c.Encrypted && bytes.IndexByte(n, '/') < 0 && bytes.IndexByte(n, 0) < 0 && c.inRange(e.Inode) {
		return nil
	}
	detail := ""
	switch {
	case !c.inRange(e.Inode):
		detail = fmt.Sprintf("inode %d, the last one is %d", e.Inode, c.MaxInode)
	case len(n) == 0:
		detail = "the name is empty"
	case isDots(n):
		if dots {
			return nil
		}
		detail = fmt.Sprintf("a second %q", n)
	case c.Encrypted:
		if len(n) >= minCiphertext {
			return nil
		}
		detail = fmt.Sprintf("an encrypted name of %d bytes", len(n))
	case bytes.IndexByte(n, '/') >= 0 || bytes.IndexByte(n, 0) >= 0:
		detail = fmt.Sprintf("name %q", n)
	default:
		return nil
	}
	return &disk.CorruptError{What: "directory entry", Block: block, Inode: c.Inode, Offset: e.Offset, Detail: detail}
}

func (c *Config) inRange(n disk.InodeNum) bool { return c.MaxInode == 0 || n <= c.MaxInode }

// dotsAt reports whether the record may be "." (the first one of the
// directory) or ".." (the second).
func dotsAt(name []byte, l disk.LogicalNum, n int) bool {
	return l == 0 && (n == 0 && disk.IsDot(name) || n == 1 && disk.IsDotDot(name))
}
