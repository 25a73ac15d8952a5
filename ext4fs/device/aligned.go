package device

import (
	"io"
	"math"
	"sync"
)

// alignment of reads of raw devices: a multiple of every sector size in use.
const alignment = 4096

// aligned reads a raw device in whole sectors. Most systems but Linux refuse
// anything else. The bytes are not mapped to the host file (HostRanger): a
// copy inside the kernel would have to be aligned too.
type aligned struct {
	r    io.ReaderAt
	size int64
}

func newAligned(r io.ReaderAt, size int64) Device { return &aligned{r, size} }

func (a *aligned) Size() int64 { return a.size }

var alignedScratch = sync.Pool{New: func() any {
	b := make([]byte, 64<<10)
	return &b
}}

// ReadAt passes aligned reads on and goes through a buffer for others.
func (a *aligned) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errNegativeOffset
	}
	want := len(p)
	if rest := max(a.size-off, 0); int64(len(p)) > rest {
		p = p[:rest]
	}
	if off%alignment == 0 && len(p)%alignment == 0 {
		if n, err := a.r.ReadAt(p, off); n < len(p) {
			return n, err
		}
	} else if n, err := a.through(p, off); n < len(p) {
		return n, err
	}
	if len(p) < want {
		return len(p), io.EOF
	}
	return len(p), nil
}

func (a *aligned) through(p []byte, off int64) (int, error) {
	buf := alignedScratch.Get().(*[]byte)
	defer alignedScratch.Put(buf)
	done := 0
	for done < len(p) {
		at := off + int64(done)
		start := at &^ (alignment - 1)
		skip := int(at - start)
		// The last sectors of a disk need not be a whole unit: reading
		// beyond gives what there is.
		length := min(len(*buf), (skip+len(p)-done+alignment-1)&^(alignment-1))
		n, err := a.r.ReadAt((*buf)[:length], start)
		if n <= skip {
			return done, unexpected(err)
		}
		k := copy(p[done:], (*buf)[skip:n])
		done += k
		if n < length && done < len(p) {
			return done, unexpected(err)
		}
	}
	return done, nil
}

// searchSize finds the size of a device that does not tell it by looking for
// the last sector that can be read.
func searchSize(r io.ReaderAt) (int64, error) {
	const sector = 512
	buf := make([]byte, alignment)
	readable := func(n int64) bool { // sectors
		// Raw devices with large sectors only take whole ones: read the
		// unit that holds the sector, and count what came.
		start := (n * sector) &^ (alignment - 1)
		k, _ := r.ReadAt(buf, start)
		return int64(k) >= n*sector-start+sector
	}
	if !readable(0) {
		_, err := r.ReadAt(buf, 0)
		return 0, unexpected(err)
	}
	lo, hi := int64(0), int64(1) // readable, not known
	for readable(hi) {
		lo = hi
		if hi > math.MaxInt64/sector/4 {
			break
		}
		hi *= 2
	}
	for hi-lo > 1 {
		mid := lo + (hi-lo)/2
		if readable(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return (lo + 1) * sector, nil
}
