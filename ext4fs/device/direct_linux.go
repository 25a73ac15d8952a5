package device

import (
	"errors"
	"os"
	"strconv"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// directFile goes past the page cache to a file that is open through it as well.
// Linux keeps the two together: a direct read has what is dirty written before, a
// direct write drops what is cached.
type directFile struct {
	f, cached *os.File
	streams   bool  // large reads of what is not cached, and nothing else
	offAlign  int64 // of places and lengths
	memAlign  uintptr
	// refused: the host will not have it, or will not tell what is cached.
	refused atomic.Bool
}

// openDirect returns nil where there is no such thing.
func openDirect(f *os.File, o Direct, write bool) *directFile {
	flags := unix.O_RDONLY
	if write {
		flags = unix.O_RDWR
	}
	// Not by its name, which may be another file's by now.
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), flags|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	d := &directFile{f: os.NewFile(uintptr(fd), f.Name()), cached: f, streams: o == DirectStreams, offAlign: alignment, memAlign: alignment}
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st); err == nil && st.Mask&unix.STATX_DIOALIGN != 0 {
		d.offAlign, d.memAlign = int64(st.Dio_offset_align), uintptr(st.Dio_mem_align)
	}
	if d.streams {
		d.mayStream(0, alignment) // sets refused where it cannot be told
	}
	if d.offAlign <= 0 || d.memAlign == 0 || d.refused.Load() {
		_ = d.f.Close()
		return nil
	}
	return d
}

func (d *directFile) close() error { return d.f.Close() }

// writes reports whether there are direct writes.
func (d *directFile) writes() bool { return d != nil && !d.streams }

func (d *directFile) fits(p []byte, off int64) bool {
	return len(p) > 0 && off%d.offAlign == 0 && int64(len(p))%d.offAlign == 0 &&
		uintptr(unsafe.Pointer(&p[0]))%d.memAlign == 0 && !d.refused.Load()
}

// readAt reads what is to be read so. It returns less where the rest, or all, is to
// be read through the page cache, which knows what is the matter.
func (d *directFile) readAt(p []byte, off int64) int {
	if !d.fits(p, off) || d.streams && (len(p) < directMin || !d.mayStream(off, len(p))) {
		return 0
	}
	n, err := d.f.ReadAt(p, off)
	if errors.Is(err, unix.EINVAL) {
		d.refused.Store(true)
	}
	return n
}

// mayStream reports whether what is asked for is mostly not in the page cache, and
// nothing of it has still to be written.
func (d *directFile) mayStream(off int64, n int) bool {
	var st unix.Cachestat_t
	for {
		err := unix.Cachestat(uint(d.cached.Fd()), &unix.CachestatRange{Off: uint64(off), Len: uint64(n)}, &st, 0)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			d.refused.Store(true)
			return false
		}
	}
	return st.Dirty == 0 && st.Writeback == 0 && st.Cache*uint64(os.Getpagesize()) < uint64(n)/2
}

// writeAt writes what is to be written so; done is less, without an error, where
// the rest goes through the page cache.
func (d *directFile) writeAt(p []byte, off int64) (done int, err error) {
	if !d.fits(p, off) {
		return 0, nil
	}
	done, err = d.f.WriteAt(p, off)
	if errors.Is(err, unix.EINVAL) {
		d.refused.Store(true)
		err = nil
	}
	return done, err
}
