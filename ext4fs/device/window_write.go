package device

// NewWriterWindow is the part of w that starts at off and has size bytes; what
// is written stays inside. It is an error if it does not lie inside w. Sync is
// that of w, and so are the optional interfaces: a window over a device that is
// no Discarder discards nothing, one over a device that is no Zeroer writes
// zeros.
func NewWriterWindow(w Writer, off, size int64) (Writer, error) {
	if err := inside("window", off, size, w.Size()); err != nil {
		return nil, err
	}
	if off == 0 && size == w.Size() {
		return w, nil
	}
	// A window over a window is one step, not two.
	if outer, ok := w.(*writerWindow); ok {
		return &writerWindow{window: window{r: outer.w, off: outer.off + off, size: size}, w: outer.w}, nil
	}
	return &writerWindow{window: window{r: w, off: off, size: size}, w: w}, nil
}

// writerWindow is a window of w.
type writerWindow struct {
	window
	w Writer
}

var (
	_ Writer       = (*writerWindow)(nil)
	_ Discarder    = (*writerWindow)(nil)
	_ Zeroer       = (*writerWindow)(nil)
	_ VectorWriter = (*writerWindow)(nil)
	_ HostRanger   = (*writerWindow)(nil)
	_ SyncWriter   = (*writerWindow)(nil)
	_ Refresher    = (*writerWindow)(nil)
)

func (w *writerWindow) WriteAt(p []byte, off int64) (int, error) {
	if err := inside("write", off, int64(len(p)), w.size); err != nil {
		return 0, err
	}
	return w.w.WriteAt(p, w.off+off)
}

func (w *writerWindow) WriteVAt(bufs [][]byte, off int64) (int, error) {
	if err := inside("write", off, total(bufs), w.size); err != nil {
		return 0, err
	}
	return writeV(w.w, bufs, w.off+off)
}

func (w *writerWindow) WriteSyncAt(p []byte, off int64) (int, error) {
	if err := inside("write", off, int64(len(p)), w.size); err != nil {
		return 0, err
	}
	if err := WriteSync(w.w, p, w.off+off); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *writerWindow) Refresh(off, n int64) error {
	if err := inside("refresh", off, n, w.size); err != nil {
		return err
	}
	return Refresh(w.w, w.off+off, n)
}

// Sync makes all of the device durable.
func (w *writerWindow) Sync() error { return w.w.Sync() }

func (w *writerWindow) Discard(off, n int64) error {
	if err := inside("discard", off, n, w.size); err != nil {
		return err
	}
	return Discard(w.w, w.off+off, n)
}

func (w *writerWindow) Zero(off, n int64) error {
	if err := inside("zero", off, n, w.size); err != nil {
		return err
	}
	return Zero(w.w, w.off+off, n)
}
