package extract

import (
	"os"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

const (
	// smallFile is the largest file that is read together with its
	// neighbours.
	smallFile = 64 << 10
	// maxGap is how much of no use is read to join two files.
	maxGap = 16 << 10
)

// window holds bytes of the image file that several small files have: files
// that were made together mostly lie together.
type window struct {
	file *os.File
	off  int64
	data []byte
}

// small returns the whole content of a small file that lies in one piece, or
// nil where it does not. What comes next in the batch is read with it as far
// as it follows closely.
func (w *worker) small(i *ext4fs.Inode, rest []entry) []byte {
	file, off, ok := whereSmall(i)
	if !ok {
		return nil
	}
	size := i.Size()
	if p := w.win.get(file, off, size); p != nil {
		return p
	}
	end := off + size
	for n := range rest {
		e := &rest[n]
		if e.kind != disk.FileTypeRegular {
			continue
		}
		if e.inode == nil {
			// Whoever copies it reads it anyway; an error is met there.
			inode, err := w.job.fs.Inode(e.num)
			if err != nil {
				break
			}
			e.inode = inode
		}
		next, at, ok := whereSmall(e.inode)
		if !ok || next != file || at < end || at-end > maxGap || at+e.inode.Size()-off > int64(len(w.buf)) {
			break
		}
		end = at + e.inode.Size()
	}
	if end == off+size {
		return nil // alone: the usual way does
	}
	w.win = window{}
	p := w.buf[:end-off]
	if n, err := file.ReadAt(p, off); n < len(p) || err != nil {
		return nil // the usual way tells what is wrong
	}
	w.win = window{file, off, p}
	return p[:size]
}

// whereSmall finds a small file's bytes in the file that holds the image.
func whereSmall(i *ext4fs.Inode) (*os.File, int64, bool) {
	size := i.Size()
	if size == 0 || size > smallFile || !i.IsRegular() {
		return nil, 0, false
	}
	file, off, n := i.HostRange(0, size)
	return file, off, file != nil && n == size
}

// get returns bytes of the window, or nil.
func (v *window) get(file *os.File, off, size int64) []byte {
	if v.file != file || file == nil || off < v.off || off+size > v.off+int64(len(v.data)) {
		return nil
	}
	return v.data[off-v.off:][:size]
}
