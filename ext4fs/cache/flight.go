package cache

import (
	"errors"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// errAborted is what waiters get when the device panics under the reader.
var errAborted = errors.New("read was aborted")

// flight is a read under way: of one block for a Get, or of a run of blocks
// for a Prefetch. The reader sets one or bufs and err, then lands the blocks,
// then closes done; the others read them only after done is closed. land runs
// in the reader's goroutine, so that it sees them too.
type flight struct {
	done  chan struct{}
	start disk.BlockNum
	one   *Buffer
	bufs  []*Buffer // of a run: those that were read; nil at the failed ones
	err   error
}

func newFlight(bn disk.BlockNum) *flight {
	return &flight{done: make(chan struct{}), start: bn, err: &ReadError{Block: bn, Err: errAborted}}
}

// newRun is a flight of up to n blocks from bn on.
func newRun(bn disk.BlockNum, n int) *flight {
	f := newFlight(bn)
	f.bufs = make([]*Buffer, 0, n)
	return f
}

// run reports whether this is the flight of a Prefetch.
func (f *flight) run() bool { return f.bufs != nil }

// buffer is what the flight brought of a block, nil if it did not.
func (f *flight) buffer(bn disk.BlockNum) *Buffer {
	if f.bufs == nil {
		return f.one
	}
	if i := uint64(bn - f.start); i < uint64(len(f.bufs)) {
		return f.bufs[i]
	}
	return nil
}
