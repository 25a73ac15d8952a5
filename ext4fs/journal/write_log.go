package journal

import (
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// WriteLog is a Log that can be written. Its methods are safe for concurrent
// use; that blocks are written in the right order is the Journal's business.
type WriteLog struct {
	mappedLog
	w        device.Writer
	external bool
}

// NewInternalWriter is NewInternal for a journal that will be written.
func NewInternalWriter(dev device.Writer, blockSize int, runs []Run) (*WriteLog, error) {
	l, err := NewInternal(dev, blockSize, runs)
	if err != nil {
		return nil, err
	}
	return &WriteLog{mappedLog: *l.(*mappedLog), w: dev}, nil
}

// OpenExternalWriter is OpenExternal for a journal that will be written.
func OpenExternalWriter(dev device.Writer, o ExternalOptions) (*WriteLog, error) {
	l, err := OpenExternal(dev, o)
	if err != nil {
		return nil, err
	}
	return &WriteLog{mappedLog: *l.(*mappedLog), w: dev, external: true}, nil
}

// WriteBlocks writes p, whose length is a multiple of the block size, to the
// blocks from n on.
func (l *WriteLog) WriteBlocks(n uint32, p []byte) error {
	bs := l.blockSize
	if want := uint64(len(p) / bs); len(p)%bs != 0 || uint64(n)+want > uint64(l.blocks) {
		return &BlockError{n, &disk.CorruptError{What: "journal file",
			Detail: fmt.Sprintf("%d bytes at block %d of %d", len(p), n, l.blocks)}}
	}
	for len(p) > 0 {
		r := l.runAt(n)
		skip := n - uint32(r.Logical)
		k := min(len(p)/bs, int(min(r.Len-skip, maxReadBlocks)))
		off := int64(uint64(r.Physical)+uint64(skip)) * int64(bs)
		if _, err := l.w.WriteAt(p[:k*bs], off); err != nil {
			return &BlockError{n, err}
		}
		p, n = p[k*bs:], n+uint32(k)
	}
	return nil
}

// Sync returns when everything written to the log is durable; for a journal
// inside the file system also everything else written to its device.
func (l *WriteLog) Sync() error { return l.w.Sync() }

// External reports whether the log is on a device of its own.
func (l *WriteLog) External() bool { return l.external }

// holds reports whether block bn of the file system is part of the log, and so
// nothing that a transaction could change.
func (l *WriteLog) holds(bn disk.BlockNum) bool {
	if l.external {
		return false
	}
	for i := range l.runs {
		if r := &l.runs[i]; bn >= r.Physical && bn-r.Physical < disk.BlockNum(r.Len) {
			return true
		}
	}
	return false
}
