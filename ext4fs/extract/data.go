package extract

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

const (
	// bufferSize is each worker's buffer: it stays in the processor's cache
	// between the read and the write.
	bufferSize = 256 << 10
	// pieceSize is how much of a large file one lane moves at a time.
	pieceSize = 512 << 10
	// laneSize is the span from which on two lanes are worth it: one reads
	// while the other writes.
	laneSize = 4 << 20
	// cloneSize is the shortest run that is worth the call that shares it.
	cloneSize = 64 << 10
	// zeroBlock is the unit in which SparseAlways looks for zeros.
	zeroBlock = 4096
)

// content writes a file's bytes and leaves out its holes.
func (w *worker) content(n *node, f hostFile, i *ext4fs.Inode) error {
	size := i.Size()
	if size == 0 {
		return nil
	}
	if i.Flags().Has(disk.FlagEncrypt) {
		// Says why; a file of holes alone would not be read otherwise.
		if _, err := i.ReadAt(w.buf[:1], 0); err != nil {
			return err
		}
	}
	if w.o.Sparse == SparseKeep {
		if p := w.small(i, w.rest); p != nil {
			_, err := f.WriteAt(p, 0)
			w.job.wrote(n, size)
			return err
		}
	}
	w.win = window{} // its buffer is used again
	end := int64(0)  // of what was written
	span := func(s ext4fs.Span) (err error) {
		last, err := w.span(n, f, i, s)
		end = max(end, last)
		return err
	}
	if w.o.Sparse == SparseNever {
		return span(ext4fs.Span{Off: 0, Len: size})
	}
	for s, err := range i.Data() {
		if err != nil {
			return err
		}
		if err := span(s); err != nil {
			return err
		}
	}
	if end < size {
		return f.truncate(size)
	}
	return nil
}

// span copies one run of data and returns the end of what was written.
func (w *worker) span(n *node, f hostFile, i *ext4fs.Inode, s ext4fs.Span) (int64, error) {
	if s.Len >= cloneSize && w.o.Sparse == SparseKeep && !w.job.noClone.Load() {
		if err := w.clone(n, f, i, &s); err != nil {
			return 0, err
		}
	}
	if s.Len >= laneSize {
		return w.lanes(n, f, i, s)
	}
	l := lane{w: w, n: n, f: f, i: i, buf: w.buf}
	for done := int64(0); done < s.Len; {
		k := min(s.Len-done, int64(len(w.buf)))
		if err := l.piece(s.Off+done, k); err != nil {
			return l.end, err
		}
		done += k
	}
	return max(l.end, s.Off), nil
}

// clone shares blocks as far as the host can and takes them off the front of
// s. It gives up at the first range that does not work.
func (w *worker) clone(n *node, f hostFile, i *ext4fs.Inode, s *ext4fs.Span) error {
	for s.Len >= cloneSize {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		src, at, length := i.HostRange(s.Off, s.Len)
		if src == nil || length < cloneSize {
			return nil
		}
		k, supported := f.cloneRange(src, at, s.Off, length)
		if !supported {
			w.job.noClone.Store(true)
		}
		s.Off, s.Len = s.Off+k, s.Len-k
		w.job.wrote(n, k)
		if k < length {
			return nil
		}
	}
	return nil
}

// lanes copies a large span with a helper: one of the two reads while the
// other writes, since writes to one file exclude each other on most hosts.
func (w *worker) lanes(n *node, f hostFile, i *ext4fs.Inode, s ext4fs.Span) (int64, error) {
	var next atomic.Int64
	var failed atomic.Bool
	run := func(l *lane) error {
		for !failed.Load() {
			off := next.Add(pieceSize) - pieceSize
			if off >= s.Len {
				return nil
			}
			if err := l.piece(s.Off+off, min(pieceSize, s.Len-off)); err != nil {
				failed.Store(true)
				return err
			}
		}
		return nil
	}
	var helper sync.WaitGroup
	other := lane{w: w, n: n, f: f, i: i, buf: make([]byte, pieceSize)}
	var otherErr error
	helper.Go(func() { otherErr = run(&other) })
	own := lane{w: w, n: n, f: f, i: i, buf: make([]byte, pieceSize)}
	err := run(&own)
	helper.Wait()
	if err == nil {
		err = otherErr
	}
	return max(own.end, other.end, s.Off), err
}

// lane moves pieces of one file through a buffer.
type lane struct {
	w   *worker
	n   *node
	f   hostFile
	i   *ext4fs.Inode
	buf []byte
	end int64 // of what was written
}

// piece copies length bytes at off; they fit the buffer.
func (l *lane) piece(off, length int64) error {
	if err := l.w.ctx.Err(); err != nil {
		return err
	}
	p := l.buf[:length]
	k, err := l.i.ReadAt(p, off)
	if k < len(p) {
		if err == nil || err == io.EOF {
			err = fmt.Errorf("at byte %d: %w", off+int64(k), io.ErrUnexpectedEOF)
		}
		return err
	}
	if l.w.o.Sparse == SparseAlways {
		return l.writeSparse(p, off)
	}
	return l.write(p, off)
}

func (l *lane) write(p []byte, off int64) error {
	if _, err := l.f.WriteAt(p, off); err != nil {
		return err
	}
	l.end = max(l.end, off+int64(len(p)))
	l.w.job.wrote(l.n, int64(len(p)))
	return nil
}

// writeSparse leaves out blocks of zeros.
func (l *lane) writeSparse(p []byte, off int64) error {
	start := 0
	for at := 0; at < len(p); {
		next := min(at+zeroBlock, len(p))
		if isZero(p[at:next]) {
			if start < at {
				if err := l.write(p[start:at], off+int64(start)); err != nil {
					return err
				}
			}
			start = next
		}
		at = next
	}
	if start < len(p) {
		return l.write(p[start:], off+int64(start))
	}
	return nil
}

func isZero(p []byte) bool {
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}
