//go:build !linux

package device

import "os"

// openExclusive has no meaning here.
const openExclusive = 0

// readOnlyDevice reports that opening says whether a device is write-protected.
func readOnlyDevice(*os.File) bool { return false }

// syncFile makes a file durable; on macOS that includes the cache of the disk.
func syncFile(f *os.File) error { return f.Sync() }

func writeVector(f *os.File, bufs [][]byte, off int64) (int, error) { return gather(f, bufs, off) }

// writeDurable flushes everything.
func (h *hostWriter) writeDurable(p []byte, off int64) (int, error) {
	n, err := h.f.WriteAt(p, off)
	if err == nil {
		err = syncFile(h.f)
	}
	return n, err
}

// refreshFile has no support here.
func refreshFile(*os.File, int64, int64) error { return nil }

// discard has no support here.
func (h *hostWriter) discard(int64, int64) error { return nil }

// zeroRange has no support here: zeros are written.
func (h *hostWriter) zeroRange(int64, int64) (bool, error) { return false, nil }

// newBlockWriter reads and writes a disk in whole sectors, as raw devices
// demand.
func newBlockWriter(f *os.File, _ *claim, size int64) Writer {
	return newAlignedWriter(f, size)
}
