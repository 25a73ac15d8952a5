package ext4fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// copyBuffers hold what is read from one side and not yet written to the other.
var copyBuffers = sync.Pool{New: func() any {
	b := make([]byte, copyChunk)
	return &b
}}

// preallocFrom is the length from which on space is found in advance for data
// that is to come: shorter data is one write.
const preallocFrom = 2 * copyChunk

// WriteFrom writes what r has to the file, from off on, and returns how much
// that was. expect is how much it will be, negative if that is not known: space
// for all of it is found first, in few and long runs. What was not needed is
// given back. Between two pieces of 1 MiB others may use the file.
func (i *Inode) WriteFrom(ctx context.Context, r io.Reader, off, expect int64) (n int64, err error) {
	if off < 0 {
		return 0, fmt.Errorf("inode %d: offset %d: %w", i.num, off, ErrInvalid)
	}
	if i.node == nil {
		return 0, ErrReadOnly
	}
	ahead, err := i.allocateAhead(off, expect)
	if err != nil {
		return 0, err
	}
	n, err = i.copyIn(ctx, r, off, expect)
	defer i.dropUnheld()
	if ahead && (err != nil || n < expect) {
		i.mu.Lock()
		defer i.mu.Unlock()
		if off+n >= i.Size() && !i.deleted {
			err = errors.Join(err, i.truncateLocked(i.Size()))
		}
	}
	return n, err
}

// allocateAhead allocates what is going to be written beyond the end.
func (i *Inode) allocateAhead(off, n int64) (bool, error) {
	if n < preallocFrom {
		return false, nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.changeable(); err != nil {
		return false, err
	}
	if off < i.Size() || !i.Flags().Has(disk.FlagExtents) || i.readsThroughCache() || i.Flags().Has(disk.FlagAppend) {
		return false, nil
	}
	if limit := i.maxBytes(); off > limit || n > limit-off {
		return false, fmt.Errorf("inode %d: %d bytes at %d: %w", i.num, n, off, ErrFileTooBig)
	}
	i.mayInline = false
	err := i.fill(off, off+n, 0, false)
	if err != nil {
		err = errors.Join(err, i.truncateLocked(i.Size()))
	}
	return true, err
}

func (i *Inode) copyIn(ctx context.Context, r io.Reader, off, expect int64) (done int64, err error) {
	scratch := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(scratch)
	for {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		n, rerr := io.ReadFull(r, *scratch)
		if n > 0 {
			w, err := i.writeHinted((*scratch)[:n], off+done, off+expect)
			done += int64(w)
			if err != nil {
				return done, err
			}
		}
		switch {
		case rerr == io.EOF || rerr == io.ErrUnexpectedEOF:
			return done, nil
		case rerr != nil:
			return done, rerr
		}
	}
}

// writeHinted is WriteAt for a file that is expected to become expect bytes
// long.
func (i *Inode) writeHinted(p []byte, off, expect int64) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.changeable(); err != nil {
		return 0, err
	}
	if i.Flags().Has(disk.FlagAppend) && off != i.Size() {
		return 0, fmt.Errorf("inode %d is append-only: %w", i.num, ErrNotPermitted)
	}
	return i.writeLocked(p, off, expect)
}

// WriteSpans makes the file have size bytes: those of data that lie in spans,
// which come in order, and holes between them. What the file had before is
// dropped.
func (i *Inode) WriteSpans(ctx context.Context, data io.ReaderAt, size int64, spans iter.Seq2[Span, error]) error {
	if i.Size() != 0 {
		if err := i.Truncate(0); err != nil {
			return err
		}
	}
	for s, err := range spans {
		if err != nil {
			return err
		}
		if s.Off < 0 || s.Len < 0 || s.Off > size || s.Len > size-s.Off {
			return fmt.Errorf("span of %d bytes at %d of %d: %w", s.Len, s.Off, size, ErrInvalid)
		}
		n, err := i.WriteFrom(ctx, io.NewSectionReader(data, s.Off, s.Len), s.Off, s.Len)
		if err == nil && n < s.Len {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	if i.Size() == size {
		return nil
	}
	return i.Truncate(size)
}

// CopyFrom copies n bytes of src at srcOff to off, as copy_file_range(2) does;
// less where src ends before. Holes become holes. The file may be src itself if
// the ranges do not overlap, else it gives ErrInvalid.
func (i *Inode) CopyFrom(ctx context.Context, src *Inode, srcOff, off, n int64) (int64, error) {
	switch {
	case i.node == nil:
		return 0, ErrReadOnly
	case srcOff < 0 || off < 0 || n < 0:
		return 0, ErrInvalid
	case !src.IsRegular():
		return 0, ErrNotFile
	}
	n = min(n, max(src.Size()-srcOff, 0))
	if limit := i.maxBytes(); off < limit {
		n = min(n, limit-off)
	} else if n > 0 {
		return 0, fmt.Errorf("inode %d: %d bytes at %d: %w", i.num, n, off, ErrFileTooBig)
	}
	if src == i && srcOff < off+n && off < srcOff+n {
		return 0, fmt.Errorf("inode %d: ranges overlap: %w", i.num, ErrInvalid)
	}
	done := int64(0)
	for done < n {
		end, err := src.nextHole(srcOff+done, srcOff+n)
		if err != nil {
			return done, err
		}
		if length := end - srcOff - done; length > 0 {
			w, err := i.WriteFrom(ctx, io.NewSectionReader(src, srcOff+done, length), off+done, length)
			if done += w; err != nil || w < length {
				return done, err
			}
		}
		if done >= n {
			break
		}
		if end, err = src.nextData(srcOff+done, srcOff+n); err != nil {
			return done, err
		}
		length := end - srcOff - done
		if length == 0 {
			continue // src is the file itself, and its hole was written to
		}
		if err := i.makeHole(off+done, length); err != nil {
			return done, err
		}
		done += length
	}
	return max(done, 0), nil
}

// nextHole and nextData are SeekHole and SeekData up to end.
func (i *Inode) nextHole(off, end int64) (int64, error) {
	at, err := i.SeekHole(off)
	if errors.Is(err, ErrNoData) {
		return end, nil
	}
	return min(at, end), err
}

func (i *Inode) nextData(off, end int64) (int64, error) {
	at, err := i.SeekData(off)
	if errors.Is(err, ErrNoData) {
		return end, nil
	}
	return min(at, end), err
}

// makeHole lets n bytes at off read as zeros, and be in the file.
func (i *Inode) makeHole(off, n int64) error {
	if off < i.Size() {
		if err := i.Fallocate(FallocatePunch|FallocateKeepSize, off, n); err != nil {
			return err
		}
	}
	if off+n > i.Size() {
		return i.Truncate(off + n)
	}
	return nil
}
