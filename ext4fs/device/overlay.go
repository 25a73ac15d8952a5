package device

import (
	"io"
	"os"
)

// Overlay is a device whose changes stay in memory, above another one that is
// never written to and must not change. All methods are safe for concurrent
// use.
type Overlay struct {
	base Device
	p    *pages
}

var (
	_ Writer       = (*Overlay)(nil)
	_ Discarder    = (*Overlay)(nil)
	_ Zeroer       = (*Overlay)(nil)
	_ VectorWriter = (*Overlay)(nil)
	_ HostRanger   = (*Overlay)(nil)
)

// NewOverlay is a device with the content of base.
func NewOverlay(base Device) *Overlay {
	o := &Overlay{base: base, p: newPages(base.Size())}
	o.p.filler = func(b []byte, off int64) error {
		if n, err := base.ReadAt(b, off); n < len(b) {
			return unexpected(err)
		}
		return nil
	}
	return o
}

// Size is the size of the base.
func (o *Overlay) Size() int64 { return o.p.size }

// Clone is a copy over the same base that is independent from now on. It costs
// next to nothing.
func (o *Overlay) Clone() *Overlay { return &Overlay{base: o.base, p: o.p.clone()} }

// ReadAt reads what was written, and the base elsewhere.
func (o *Overlay) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errNegativeOffset
	}
	o.p.mu.RLock()
	defer o.p.mu.RUnlock()
	want := len(b)
	b = b[:min(int64(len(b)), max(o.p.size-off, 0))]
	for done := 0; done < len(b); {
		at := off + int64(done)
		skip := int(at & (pageSize - 1))
		if page := o.p.find(uint64(at) >> pageShift); page != nil {
			done += copy(b[done:], page[skip:])
			continue
		}
		dst := b[done:][:o.p.untouched(at, len(b)-done)]
		n, err := o.base.ReadAt(dst, at)
		done += n
		if n < len(dst) {
			return done, unexpected(err)
		}
	}
	if len(b) < want {
		return len(b), io.EOF
	}
	return len(b), nil
}

// WriteAt writes to memory. Where a page is changed for the first time and not
// as a whole it is read from the base, whose errors are returned.
func (o *Overlay) WriteAt(b []byte, off int64) (int, error) { return o.p.writeAt(b, off) }

// WriteVAt writes several buffers, and nobody sees only some of them.
func (o *Overlay) WriteVAt(bufs [][]byte, off int64) (int, error) { return o.p.writeVAt(bufs, off) }

// Sync has nothing to do.
func (o *Overlay) Sync() error { return nil }

// Discard makes the range read as zeros.
func (o *Overlay) Discard(off, n int64) error { return o.p.wipe("discard", off, n) }

// Zero makes the range read as zeros.
func (o *Overlay) Zero(off, n int64) error { return o.p.wipe("zero", off, n) }

// HostRange maps what was not written to, if the base does.
func (o *Overlay) HostRange(off, n int64) (*os.File, int64, int64) {
	h, ok := o.base.(HostRanger)
	if !ok || off < 0 || n <= 0 || off >= o.p.size {
		return nil, 0, 0
	}
	n = min(n, o.p.size-off)
	o.p.mu.RLock()
	defer o.p.mu.RUnlock()
	if o.p.find(uint64(off)>>pageShift) != nil {
		return nil, 0, 0
	}
	n = int64(o.p.untouched(off, int(min(n, hostRangeMax))))
	return h.HostRange(off, n)
}

// hostRangeMax bounds the search for the end of a range without changes.
const hostRangeMax = 64 << 20
