//go:build !386

package mount

import (
	"bytes"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Bits of file handles, which mean nothing else. Files that are open for reading
// have 0.
const (
	fhWrites     = 1 << iota // open for writing
	fhPrivileged             // by somebody who may take reserved blocks
	fhDirect                 // past the cache, see parallel
)

// Of the blocks that are reserved for root, Linux asks at every write who writes.
// With the write-back cache data comes when its writer is gone, in the name of
// nobody. So it is who has opened a file that counts here: as long as it is open
// for writing, and only for users whom these blocks are not for, it takes none of
// them. What is made (directories, links, what they need in the directory above)
// is made for who asks. A file that nobody has open for writing, and every file
// with NoOpen, is root's.

// mayReserve reports whether the blocks reserved for root are for the caller. Of
// his groups only the first is known.
func (h *handler) mayReserve(c *fuse.Caller) bool {
	if h.o.FakeRoot || c.Uid == 0 {
		return true
	}
	uid := callerUID(c)
	return uid == 0 || uid == h.reserved.Uid || h.reserved.Gid != 0 && c.Gid == h.reserved.Gid
}

// reservedFor is who may take reserved blocks, beside root.
func reservedFor(s *disk.Superblock, o *Options) fuse.Owner {
	to := fuse.Owner{Uid: s.ReservedUID, Gid: s.ReservedGID}
	if o.ReservedUID != nil {
		to.Uid = *o.ReservedUID
	}
	if o.ReservedGID != nil {
		to.Gid = *o.ReservedGID
	}
	return to
}

// opened notes that a file is open, and gives it its handle.
func (h *handler) opened(n *node, c *fuse.Caller, flags uint32) (fh uint64) {
	if flags&syscall.O_ACCMODE == syscall.O_RDONLY {
		return 0
	}
	fh = fhWrites | h.parallel(flags)
	if h.mayReserve(c) {
		fh |= fhPrivileged
	}
	n.count(fh, 1)
	return fh
}

// closed takes opened back.
func (n *node) closed(fh uint64) {
	if fh&fhWrites != 0 {
		n.count(fh, -1)
	}
}

// count notes one more or less who may write.
func (n *node) count(fh uint64, by int32) {
	n.opening.Lock()
	defer n.opening.Unlock()
	if fh&fhPrivileged != 0 {
		n.privileged.Add(by)
	}
	writers := n.writers.Add(by)
	if writers == 0 {
		n.knownLost()
	}
	n.ino.KeepReserved(writers > 0 && n.privileged.Load() == 0)
}

// mayWriteBack says what data from the kernel's cache is not for the file. Where
// every opening is asked for, all of it is: who has it open might write when he
// opened it. With NoOpen this is where it shows that he might not, and what the
// kernel has in its cache is not what is in the file.
func (h *handler) mayWriteBack(n *node, data []byte, off int64) error {
	flags := n.ino.Flags() & (disk.FlagImmutable | disk.FlagAppend)
	if !h.noOpen || flags == 0 {
		return nil
	}
	if !flags.Has(disk.FlagImmutable) {
		// Whole pages come, with what was in them before the end of the file.
		old := make([]byte, min(max(n.ino.Size()-off, 0), int64(len(data))))
		if _, err := n.ino.ReadAt(old, off); err != nil && len(old) > 0 {
			return err
		}
		if bytes.Equal(old, data[:len(old)]) {
			return nil
		}
	}
	if h.kernel != nil {
		id, size := nodeID(n.ino.Number()), int64(len(data))
		h.drops.behind.Go(func() { h.kernel.InodeNotify(id, off, size) }) // waits for our answer
	}
	return ext4fs.ErrNotPermitted
}
