package journal

import (
	"errors"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// writeSuper writes the journal superblock.
func (r *ring) writeSuper() error {
	r.sb.Encode(r.image)
	if r.sb.HasChecksum() {
		disk.SealJournalSuperblock(r.image)
	}
	r.dirty = false
	return r.w.WriteBlocks(r.w.Super(), r.image)
}

// pointTo writes a superblock that says that the log begins at the oldest live
// transaction, or will begin at head.
func (r *ring) pointTo() error {
	r.sb.Start, r.sb.Sequence, r.sb.Head = r.tail(), r.next, 0
	if len(r.live) > 0 {
		r.sb.Sequence = r.live[0].id
	}
	return r.writeSuper()
}

// clean writes a superblock that says that the log is empty. As the kernel, it
// takes the feature for fast commits away meanwhile.
func (r *ring) clean() error {
	r.sb.Start, r.sb.Sequence, r.sb.Head = 0, r.next, r.head
	fast := r.sb.Incompat & disk.JournalIncompatFastCommit
	r.sb.Incompat &^= fast
	err := r.writeSuper()
	r.sb.Incompat |= fast
	return err
}

// writeErrno leaves the reason of an abort in the superblock. The rest of it
// stays as it is on the device, or as what may already be there.
func (r *ring) writeErrno(err error) error {
	r.sb.Errno = -int32(errnoOf(err))
	if err := r.writeSuper(); err != nil {
		return err
	}
	return r.w.Sync()
}

// errnoOf is the number of an error; 0 for a shutdown that was asked for, which
// is no fault of the image, as in Linux.
func errnoOf(err error) syscall.Errno {
	var e syscall.Errno
	if errors.Is(err, syscall.ESHUTDOWN) {
		return 0
	}
	if errors.As(err, &e) && e > 0 && e < 4096 {
		return e
	}
	return syscall.EIO
}

// ClearError sets the error number in the journal superblock to 0, durably,
// after the file system has been marked as having errors. It is for a journal
// that is not running.
func ClearError(w *WriteLog) error {
	sb, bad, err := ReadSuperblock(w, w.blockSize)
	if err == nil {
		err = bad
	}
	if err != nil || sb.Errno == 0 {
		return err
	}
	sb.Errno = 0
	return rewriteSuper(w, sb)
}

// rewriteSuper writes sb durably; what follows it in its block survives.
func rewriteSuper(w *WriteLog, sb *disk.JournalSuperblock) error {
	r := ring{w: w, sb: *sb, image: make([]byte, w.blockSize)}
	if err := w.ReadBlocks(w.Super(), r.image); err != nil {
		return err
	}
	if err := r.writeSuper(); err != nil {
		return err
	}
	return w.Sync()
}
