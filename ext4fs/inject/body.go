package inject

import (
	"context"
	"io"
	"iter"

	"github.com/e4kit/e4kit/ext4fs"
)

const (
	// pieceSize is how much is read and written at a time.
	pieceSize = 1 << 20
	// zeroBlock is the unit in which SparseAlways looks for zeros.
	zeroBlock = 4096
)

// writeSpans writes the spans of r to an empty file that gets size bytes, as
// the options for holes say.
func (w *writer) writeSpans(ctx context.Context, to *ext4fs.Inode, r io.ReaderAt, size int64, spans iter.Seq2[ext4fs.Span, error]) error {
	if w.o.Sparse == SparseNever {
		spans = oneSpan(size)
	}
	for s, err := range spans {
		if err != nil {
			return err
		}
		s.Len = min(s.Len, size-s.Off)
		if s.Len <= 0 {
			continue
		}
		if err := w.writeSpan(ctx, to, r, s); err != nil {
			return err
		}
	}
	if to.Size() < size {
		return to.Truncate(size)
	}
	return nil
}

// oneSpan is a file without holes.
func oneSpan(size int64) iter.Seq2[ext4fs.Span, error] {
	return func(yield func(ext4fs.Span, error) bool) {
		if size > 0 {
			yield(ext4fs.Span{Len: size}, nil)
		}
	}
}

func (w *writer) writeSpan(ctx context.Context, to *ext4fs.Inode, r io.ReaderAt, s ext4fs.Span) error {
	in := &counting{w: w}
	if s.Len > pieceSize {
		a := readAhead(ctx, r, s.Off, s.Len)
		defer a.stop()
		in.r = a
	} else {
		in.r = io.NewSectionReader(r, s.Off, s.Len)
	}
	if w.o.Sparse == SparseAlways {
		return w.writeSparse(ctx, to, in, s.Off)
	}
	n, err := to.WriteFrom(ctx, in, s.Off, s.Len)
	if err == nil && n < s.Len {
		err = shortError(s.Off + n)
	}
	return err
}

// counting counts what is read, for the progress.
type counting struct {
	w *writer
	r io.Reader
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.w.done += int64(n)
	c.w.progress("")
	return n, err
}

// writeSparse writes what r has from off on, and leaves out blocks of zeros.
// The file gets as long as that is.
func (w *writer) writeSparse(ctx context.Context, to *ext4fs.Inode, r io.Reader, off int64) error {
	buf := make([]byte, pieceSize)
	// Blocks count from the beginning of the file.
	head := int(off % zeroBlock)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, buf[:pieceSize-head])
		if werr := writeNonZero(to, buf[:n], off, zeroBlock-head); werr != nil {
			return werr
		}
		off, head = off+int64(n), 0
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			if to.Size() < off {
				return to.Truncate(off)
			}
			return nil
		case err != nil:
			return err
		}
	}
}

// writeNonZero writes p at off but for blocks of zeros; the first block has
// first bytes.
func writeNonZero(to *ext4fs.Inode, p []byte, off int64, first int) error {
	start := 0
	flush := func(end int) error {
		if start == end {
			return nil
		}
		_, err := to.WriteAt(p[start:end], off+int64(start))
		return err
	}
	for at := 0; at < len(p); {
		next := min(at+first, len(p))
		first = zeroBlock
		if isZero(p[at:next]) {
			if err := flush(at); err != nil {
				return err
			}
			start = next
		}
		at = next
	}
	return flush(len(p))
}

func isZero(p []byte) bool {
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}

// writeZeros writes zeros where a hole is not wanted.
func (w *writer) writeZeros(ctx context.Context, to *ext4fs.Inode, off, n int64) error {
	if n <= 0 {
		return nil
	}
	_, err := to.WriteFrom(ctx, io.LimitReader(zeros{}, n), off, n)
	return err
}

// zeros is an endless source of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// streamBody is content that comes once and in order.
type streamBody struct {
	r    io.Reader
	size int64 // -1: not known
}

func (b *streamBody) writeTo(ctx context.Context, w *writer, to *ext4fs.Inode) error {
	in := &counting{w, b.r}
	if w.o.Sparse == SparseAlways {
		if err := w.writeSparse(ctx, to, in, 0); err != nil {
			return err
		}
	} else if _, err := to.WriteFrom(ctx, in, 0, b.size); err != nil {
		return err
	}
	if b.size >= 0 && w.done != b.size {
		return shortError(w.done)
	}
	return nil
}

func (b *streamBody) bytes(limit int64) ([]byte, bool, error) {
	if b.size < 0 || b.size > limit {
		return nil, false, nil
	}
	p := make([]byte, b.size)
	n, err := io.ReadFull(b.r, p)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = shortError(int64(n))
	}
	return p, err == nil, err
}
