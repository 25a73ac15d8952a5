//go:build !386

package mount

import (
	"slices"
	"sync"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// OpenDir has nothing to do, and says so: the kernel does not come again. The
// node table holds directories, so that one that is removed lives on, and reads
// as empty.
func (h *handler) OpenDir(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status {
	return fuse.ENOSYS
}

// ReleaseDir ends what OpenDir began.
func (h *handler) ReleaseDir(*fuse.ReleaseIn) {}

// dirStreams keeps entries that were taken out of a directory and did not fit
// into an answer: the next request goes on with them, if nothing was changed in
// between.
type dirStreams struct {
	mu   sync.Mutex
	next uint64 // cookie behind which rest goes on
	seen changes
	rest []ext4fs.DirEntry
}

// changes tells one state of a directory from another.
type changes struct{ version uint64 }

func stateOf(i *ext4fs.Inode) changes { return changes{i.Raw().Version()} }

// take returns what is kept for who goes on at cookie.
func (d *dirStreams) take(i *ext4fs.Inode, cookie uint64) []ext4fs.DirEntry {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rest == nil || d.next != cookie || d.seen != stateOf(i) {
		return nil
	}
	rest := d.rest
	d.rest = nil
	return rest
}

// keepStream is put for the node's reader.
func (n *node) keepStream(s changes, cookie uint64, rest []ext4fs.DirEntry) {
	d := n.streams.Load()
	if d == nil {
		d = new(dirStreams)
		if !n.streams.CompareAndSwap(nil, d) {
			d = n.streams.Load()
		}
	}
	d.put(s, cookie, rest)
}

func (d *dirStreams) put(s changes, cookie uint64, rest []ext4fs.DirEntry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next, d.seen, d.rest = cookie, s, rest
}

// keepEntries bounds what is kept for the next request.
const keepEntries = 512

// list passes the entries behind the cookie to add until it refuses one.
func (h *handler) list(n *node, cookie uint64, add func(e *ext4fs.DirEntry) bool) error {
	state := stateOf(n.ino)
	for rest := n.streams.Load().take(n.ino, cookie); len(rest) > 0; {
		if !add(&rest[0]) {
			n.keepStream(state, cookie, rest)
			return nil
		}
		cookie, rest = rest[0].Cookie, rest[1:]
	}
	var rest []ext4fs.DirEntry
	full := false
	copied := h.fsys.Writable() // the names were, then
	for e, err := range n.ino.EntriesFrom(cookie) {
		switch {
		case err != nil && !full:
			return err
		case err != nil:
		case !full && add(&e):
			cookie = e.Cookie
			continue
		default:
			full = true
			if !copied {
				e.Name = slices.Clone(e.Name)
			}
			if rest = append(rest, e); len(rest) < keepEntries {
				continue
			}
		}
		break
	}
	if len(rest) > 0 {
		n.keepStream(state, cookie, rest)
	}
	return nil
}

// readDir is ReadDir or ReadDirPlus.
func (h *handler) readDir(in *fuse.ReadIn, add func(dir *node, e *ext4fs.DirEntry) bool) fuse.Status {
	n, err := h.known(in.NodeId)
	if err != nil {
		return h.fail(err)
	}
	some := false
	err = h.list(n, in.Offset, func(e *ext4fs.DirEntry) bool {
		ok := add(n, e)
		some = some || ok
		return ok
	})
	if err == ext4fs.ErrNotExist {
		return fuse.OK // it was removed
	}
	if in.Offset == 0 {
		h.accessed(n)
	}
	if some && err != nil {
		_ = h.fail(err) // what was read is told first; the error comes again
		return fuse.OK
	}
	return h.fail(err)
}

// entryTypes is d_type, as a file mode, by the types of directory entries.
var entryTypes = [...]uint16{
	disk.FileTypeRegular: disk.ModeRegular, disk.FileTypeDir: disk.ModeDir, disk.FileTypeChar: disk.ModeChar,
	disk.FileTypeBlock: disk.ModeBlock, disk.FileTypeFIFO: disk.ModeFIFO, disk.FileTypeSocket: disk.ModeSocket,
	disk.FileTypeSymlink: disk.ModeSymlink,
}

func direntOf(e *ext4fs.DirEntry) fuse.DirEntry {
	d := fuse.DirEntry{Name: string(e.Name), Ino: uint64(e.Inode), Off: e.Cookie}
	if int(e.Type) < len(entryTypes) {
		d.Mode = uint32(entryTypes[e.Type])
	}
	return d
}

// ReadDir lists names.
func (h *handler) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return h.readDir(in, func(_ *node, e *ext4fs.DirEntry) bool { return out.AddDirEntry(direntOf(e)) })
}

// manyNames is the size of a directory, in bytes, whose inodes lie too far apart to
// be read for nothing.
const manyNames = 32 << 10

// ReadDirPlus lists names and what they lead to, each a lookup but for "." and
// "..". The kernel has the directory locked, so that names lead to what they led
// to when they were read.
//
// The kernel begins every directory so, before it knows whether anybody wants more
// than the names. Of many names only what is in memory is told then.
func (h *handler) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return h.readDir(in, func(dir *node, e *ext4fs.DirEntry) bool {
		entry := out.AddDirLookupEntry(direntOf(e))
		if entry == nil {
			return false
		}
		if ext4fs.IsDots(*e) || in.Offset == 0 && dir.ino.Size() > manyNames && !h.fsys.InodeCached(e.Inode) {
			return true
		}
		i, err := h.fsys.Inode(e.Inode)
		if err == nil {
			err = h.enter(dir.ino, i, entry)
		}
		if err != nil {
			*entry = fuse.EntryOut{} // the name alone; a lookup will tell
			return true
		}
		out.FixMode(entry.Mode)
		return true
	})
}
