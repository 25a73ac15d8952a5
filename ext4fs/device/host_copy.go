package device

import "os"

// HostCopier is implemented by devices that can take bytes out of a file of the
// host without their passing through the program.
type HostCopier interface {
	// CopyHostAt is WriteAt of the n bytes at from of f. It gives how many
	// it copied: fewer, without an error, where f ends or the host cannot
	// do it, also 0; the rest has to be read and written.
	CopyHostAt(f *os.File, from, off, n int64) (int64, error)
}

// CopyHost copies from a file of the host to a HostCopier, and nothing to other
// devices. It gives what CopyHostAt does.
func CopyHost(w Writer, f *os.File, from, off, n int64) (int64, error) {
	h, ok := w.(HostCopier)
	if !ok || n <= 0 {
		return 0, nil
	}
	return h.CopyHostAt(f, from, off, n)
}

// CopyHostAt copies between two files of the host. File systems that share
// blocks between files do that, where the offsets allow it.
func (h *hostWriter) CopyHostAt(f *os.File, from, off, n int64) (int64, error) {
	if err := inside("write", off, n, h.size); err != nil {
		return 0, err
	}
	if from < 0 || h.sector != 0 {
		return 0, nil
	}
	return copyFileRange(h.f, f, from, off, n)
}

// CopyHostAt copies from a file of the host to the file system.
func (m *Image) CopyHostAt(f *os.File, from, off, n int64) (int64, error) {
	if m.writer == nil {
		return 0, m.readOnly("write")
	}
	return CopyHost(m.writer, f, from, off, n)
}

// CopyHostAt copies to the device below.
func (w *writerWindow) CopyHostAt(f *os.File, from, off, n int64) (int64, error) {
	if err := inside("write", off, n, w.size); err != nil {
		return 0, err
	}
	return CopyHost(w.w, f, from, w.off+off, n)
}
