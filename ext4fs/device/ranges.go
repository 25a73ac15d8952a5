package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// Range is a run of bytes of a device.
type Range struct{ Off, N int64 }

// End is the byte behind the range.
func (r Range) End() int64 { return r.Off + r.N }

// DataRanger is implemented by devices that know where they are holes.
type DataRanger interface {
	// NextData returns the first range with data that ends behind off, from
	// off on: no longer than it is, but perhaps shorter. What is before it
	// reads as zeros. There is none behind when it is empty.
	NextData(off int64) (Range, error)
}

// errNoHoles says that a file system or system call does not tell holes.
var errNoHoles = errors.New("holes are not told")

// dataStep is how much is taken for data at once where a device says nothing
// about it.
const dataStep = 16 << 20

// NextData returns the first range of data in d from off on, as a DataRanger
// does. Other devices are asked for what of them lies in files of the host,
// whose holes the host may know; where nobody knows, all is data.
func NextData(d Device, off int64) (Range, error) {
	size := d.Size()
	if off < 0 {
		return Range{}, errNegativeOffset
	}
	if r, ok := d.(DataRanger); ok {
		return r.NextData(off)
	}
	h, ok := d.(HostRanger)
	for ok && off < size {
		f, at, n := h.HostRange(off, size-off)
		if f == nil || n <= 0 {
			break
		}
		data, hole, err := seekData(f, at, at+n)
		switch {
		case errors.Is(err, errNoHoles):
			return Range{off, n}, nil
		case err != nil:
			return Range{}, err
		case data < hole:
			return Range{off + data - at, hole - data}, nil
		}
		off += n
	}
	return Range{off, max(0, min(dataStep, size-off))}, nil
}

// NextData says that what was never written is a hole.
func (r *RAM) NextData(off int64) (Range, error) {
	if off < 0 {
		return Range{}, errNegativeOffset
	}
	p := r.p
	p.mu.RLock()
	defer p.mu.RUnlock()
	if off >= p.size {
		return Range{off, 0}, nil
	}
	i, ok := nextPage(p.root, p.levels, 0, uint64(off)>>pageShift)
	if !ok {
		return Range{p.size, 0}, nil
	}
	end := i + 1
	for end-i < dataStep>>pageShift && p.find(end) != nil {
		end++
	}
	from := max(off, int64(i<<pageShift))
	return Range{from, min(int64(end<<pageShift), p.size) - from}, nil
}

// nextPage is the first page from i on below the node, which covers those from
// base on.
func nextPage(n *node, level int, base, i uint64) (uint64, bool) {
	switch {
	case n == nil:
		return 0, false
	case level == 0:
		return base, base >= i
	}
	span := uint64(1) << ((level - 1) * fanShift)
	first := uint64(0)
	if i > base {
		first = (i - base) / span
	}
	for k := first; k < fan; k++ {
		if at, ok := nextPage(n.kids[k], level-1, base+k*span, i); ok {
			return at, true
		}
	}
	return 0, false
}

// NextData asks the device below.
func (w *window) NextData(off int64) (Range, error) {
	d, ok := w.r.(Device)
	switch {
	case off < 0:
		return Range{}, errNegativeOffset
	case off >= w.size:
		return Range{off, 0}, nil
	case !ok:
		if f, isFile := w.r.(*os.File); isFile {
			d = &hostFile{f: f, size: w.off + w.size}
			break
		}
		return Range{off, min(dataStep, w.size-off)}, nil
	}
	r, err := NextData(d, w.off+off)
	if err != nil {
		return Range{}, err
	}
	from := min(r.Off-w.off, w.size)
	return Range{from, min(r.N, w.size-from)}, nil
}

// NextData asks the device that was opened.
func (m *Image) NextData(off int64) (Range, error) { return NextData(m.dev, off) }

// NextData gives the pieces that are not zero.
func (a *AndroidSparse) NextData(off int64) (Range, error) {
	if off < 0 {
		return Range{}, errNegativeOffset
	}
	i := a.find(off)
	if i == len(a.pieces) {
		return Range{max(off, a.size), 0}, nil
	}
	p := &a.pieces[i]
	from := max(off, p.off)
	return Range{from, p.off + p.size - from}, nil
}

// walk goes over a device in order, and tells data from holes.
type walk struct {
	d      Device
	ranges []Range // of data, in order; nil: NextData
	i      int
	next   Range // the data from where it is on
	known  bool
}

// newWalk checks the ranges: they must be in order and inside.
func newWalk(d Device, ranges []Range) (*walk, error) {
	end := int64(0)
	for i, r := range ranges {
		if r.Off < end || r.N < 0 || r.N > d.Size()-r.Off {
			return nil, fmt.Errorf("range %d of data: %w", i, &RangeError{Op: "read", Off: r.Off, N: r.N, Size: d.Size()})
		}
		end = r.End()
	}
	return &walk{d: d, ranges: ranges}, nil
}

// data is what of the n bytes at off is data: the first such range. It must be
// called with offsets that do not go down.
func (w *walk) data(off, n int64) (Range, error) {
	if w.known && w.next.Off == math.MaxInt64 {
		return Range{off + n, 0}, nil
	}
	for !w.known || w.next.End() <= off {
		if err := w.advance(off); err != nil {
			return Range{}, err
		}
	}
	from := max(w.next.Off, off)
	if from >= off+n {
		return Range{off + n, 0}, nil
	}
	return Range{from, min(w.next.End(), off+n) - from}, nil
}

// advance finds the next range that ends behind off.
func (w *walk) advance(off int64) error {
	w.known = true
	if w.ranges != nil {
		for w.i < len(w.ranges) && (w.ranges[w.i].N == 0 || w.ranges[w.i].End() <= off) {
			w.i++
		}
		w.next = Range{math.MaxInt64, 0}
		if w.i < len(w.ranges) {
			w.next = w.ranges[w.i]
		}
		return nil
	}
	r, err := NextData(w.d, off)
	if err != nil {
		return fmt.Errorf("look for data at byte %d: %w", off, err)
	}
	if r.N <= 0 {
		r = Range{math.MaxInt64, 0}
	} else if r.End() <= off || r.N > math.MaxInt64-r.Off {
		return fmt.Errorf("look for data at byte %d: %w", off, &RangeError{Op: "read", Off: r.Off, N: r.N, Size: w.d.Size()})
	}
	w.next = r
	return nil
}

// read fills b with the bytes at off, of which only data is read. It reports
// whether there was any.
func (w *walk) read(ctx context.Context, b []byte, off int64) (bool, error) {
	any := false
	for done := int64(0); done < int64(len(b)); {
		r, err := w.data(off+done, int64(len(b))-done)
		if err != nil {
			return any, err
		}
		clear(b[done : r.Off-off])
		done = r.Off - off
		if r.N == 0 {
			break
		}
		if err := ctx.Err(); err != nil {
			return any, err
		}
		part := b[done:][:r.N]
		if n, err := w.d.ReadAt(part, r.Off); n < len(part) {
			return any, fmt.Errorf("read %d bytes at %d: %w", len(part), r.Off, unexpected(err))
		}
		any = true
		done += r.N
	}
	return any, nil
}

// writeAll writes b to a stream.
func writeAll(w io.Writer, b []byte) error {
	n, err := w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}
