package extract

import (
	"os"

	"golang.org/x/sys/unix"
)

// cloneAlign is what block-sharing file systems ask of offsets and lengths;
// those with larger blocks say no, and the data is written then.
const cloneAlign = 4096

// cloneRange shares blocks with the image where the host's file system can
// (Btrfs, XFS, bcachefs, OCFS2), or has the server copy (NFS, SMB, Ceph, ZFS).
// On all others copy_file_range moves pages one by one and is measurably not
// faster than reading and writing large pieces, so it is not used there.
func (f *linuxFile) cloneRange(src *os.File, srcOff, off, n int64) (copied int64, supported bool) {
	n -= n % cloneAlign
	if n == 0 || srcOff%cloneAlign != 0 || off%cloneAlign != 0 {
		return 0, true
	}
	in := int(src.Fd())
	err := retry(func() error {
		return unix.IoctlFileCloneRange(int(f.linuxFD), &unix.FileCloneRange{
			Src_fd: int64(in), Src_offset: uint64(srcOff), Src_length: uint64(n), Dest_offset: uint64(off),
		})
	})
	switch {
	case err == nil:
		return n, true
	case err == unix.EXDEV, !serverCopies(in):
		return 0, err == unix.EINVAL || err == unix.ENOSPC
	}
	for copied < n {
		from, to := srcOff+copied, off+copied
		k, err := unix.CopyFileRange(in, &from, int(f.linuxFD), &to, int(min(n-copied, 1<<30)), 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil || k == 0 {
			return copied, copied > 0
		}
		copied += int64(k)
	}
	return copied, true
}

// serverCopies reports whether copy_file_range saves moving the bytes.
func serverCopies(fd int) bool {
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) != nil {
		return false
	}
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC, 0xff534d42 /* CIFS */, 0xfe534d42 /* SMB2 */, 0x00c36400 /* Ceph */, 0x2fc12fc1 /* ZFS */ :
		return true
	}
	return false
}
