package device

import (
	"fmt"
	"io"
)

// RAM is a device in memory that can be written to. It is sparse: what was
// never written reads as zeros and takes no space. All methods are safe for
// concurrent use.
type RAM struct{ p *pages }

var (
	_ Writer       = (*RAM)(nil)
	_ Discarder    = (*RAM)(nil)
	_ Zeroer       = (*RAM)(nil)
	_ VectorWriter = (*RAM)(nil)
)

// NewRAM is a device of size bytes, all zeros.
func NewRAM(size int64) *RAM { return &RAM{newPages(size)} }

// LoadRAM is a copy of d in memory. Pieces of zeros take no space.
func LoadRAM(d Device) (*RAM, error) {
	r := NewRAM(d.Size())
	buf := make([]byte, chunk)
	for off := int64(0); off < r.p.size; off += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), r.p.size-off)]
		if n, err := d.ReadAt(b, off); n < len(b) {
			return nil, fmt.Errorf("load %d bytes at %d: %w", len(b), off, unexpected(err))
		}
		for at := 0; at < len(b); at += pageSize {
			piece := b[at:min(at+pageSize, len(b))]
			if allZero(piece) {
				continue
			}
			if _, err := r.p.write(piece, off+int64(at)); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// Size is the size in bytes.
func (r *RAM) Size() int64 { return r.p.size }

// Clone is a copy that is independent from now on. It costs next to nothing:
// what neither side writes to is shared.
func (r *RAM) Clone() *RAM { return &RAM{r.p.clone()} }

// ReadAt reads bytes.
func (r *RAM) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errNegativeOffset
	}
	r.p.mu.RLock()
	defer r.p.mu.RUnlock()
	want := len(b)
	b = b[:min(int64(len(b)), max(r.p.size-off, 0))]
	for done := 0; done < len(b); {
		at := off + int64(done)
		skip := int(at & (pageSize - 1))
		dst := b[done:][:min(len(b)-done, pageSize-skip)]
		if page := r.p.find(uint64(at) >> pageShift); page != nil {
			copy(dst, page[skip:])
		} else {
			clear(dst)
		}
		done += len(dst)
	}
	if len(b) < want {
		return len(b), io.EOF
	}
	return len(b), nil
}

// WriteAt writes bytes. A write that does not fit is a *RangeError.
func (r *RAM) WriteAt(b []byte, off int64) (int, error) { return r.p.writeAt(b, off) }

// WriteVAt writes several buffers, and nobody sees only some of them.
func (r *RAM) WriteVAt(bufs [][]byte, off int64) (int, error) { return r.p.writeVAt(bufs, off) }

// Sync has nothing to do.
func (r *RAM) Sync() error { return nil }

// Discard frees memory. The range reads as zeros.
func (r *RAM) Discard(off, n int64) error { return r.p.wipe("discard", off, n) }

// Zero makes the range read as zeros, and frees memory.
func (r *RAM) Zero(off, n int64) error { return r.p.wipe("zero", off, n) }

// Diff calls f, in order, for pieces that cover all bytes in which r and old
// differ. It takes the time of what was written since one of them was cloned
// from the other, or both from a third. Neither may be written to meanwhile. It
// is an error if their sizes differ.
func (r *RAM) Diff(old *RAM, f func(off, n int64) error) error {
	if r.p.size != old.p.size {
		return fmt.Errorf("compare a device of %d bytes with one of %d", r.p.size, old.p.size)
	}
	return diff(r.p.root, old.p.root, r.p.levels, 0, func(i uint64) error {
		off := int64(i << pageShift)
		return f(off, min(pageSize, r.p.size-off))
	})
}
