package ext4fs

import (
	"bytes"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/dir"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Readlink returns the target of a symbolic link, wherever it is kept: in the
// inode, as inline data or in a block. An encrypted target is returned in the
// form in which the kernel shows it without the key. A target with a NUL ends
// there, as in Linux.
func (i *Inode) Readlink() (string, error) {
	if !i.IsSymlink() {
		return "", ErrNotLink
	}
	i.lockRead()
	defer i.unlockRead()
	if i.node != nil && i.deleted {
		return "", ErrNotExist
	}
	size := i.Size()
	if size <= 0 || size > int64(i.fs.BlockSize()) {
		return "", &CorruptError{What: "symbolic link", Inode: i.num, Detail: fmt.Sprintf("size %d", size)}
	}
	buf := make([]byte, size)
	if n, err := i.readBlocks(buf, 0); err != nil {
		return "", err
	} else if n < len(buf) {
		buf = buf[:n]
	}
	if i.Flags().Has(disk.FlagEncrypt) {
		return i.noKeyTarget(buf)
	}
	if n := bytes.IndexByte(buf, 0); n >= 0 {
		buf = buf[:n]
	}
	if len(buf) == 0 {
		return "", &CorruptError{What: "symbolic link", Inode: i.num, Detail: "empty target"}
	}
	return string(buf), nil
}

// noKeyTarget presents an encrypted target: a 16-bit length and the
// ciphertext.
func (i *Inode) noKeyTarget(b []byte) (string, error) {
	if len(b) < 2 {
		return "", &CorruptError{What: "symbolic link", Inode: i.num, Detail: fmt.Sprintf("encrypted target of %d bytes", len(b))}
	}
	n := int(b[0]) | int(b[1])<<8
	if n == 0 || n > len(b)-2 {
		return "", &CorruptError{What: "symbolic link", Inode: i.num,
			Detail: fmt.Sprintf("encrypted target of %d bytes in %d", n, len(b)-2)}
	}
	return dir.NoKeyName(b[2:2+n], 0, 0), nil
}
