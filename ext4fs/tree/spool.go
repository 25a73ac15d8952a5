package tree

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/device"
)

const (
	// spoolPiece is what is unpacked and written at a time.
	spoolPiece = 512 << 10
	// spoolPieces are under way at once.
	spoolPieces = 4
	// spoolGrain is the smallest hole.
	spoolGrain = 4 << 10
)

var errAbandoned = errors.New("no more of the stream is wanted")

// spool is a stream that is written to a temporary file, zeros as holes, while
// others read what is there already. One goroutine reads the stream, one
// writes. When the context ends or the spool is closed the writer ends at once,
// the reader when its stream lets it.
type spool struct {
	file *device.TempFile
	o    *Options
	ctx  context.Context // the caller's
	stop context.CancelFunc

	mu     sync.Mutex // guards end, err and closed
	moved  *sync.Cond
	end    int64 // so much is there
	err    error // why no more comes: io.EOF at the end of the stream
	closed bool  // the file is to be closed by who comes last
}

// input is a stream to be spooled.
type input struct {
	r io.Reader
	// whole: what follows the compressed data is read too, for a digest.
	whole bool
	sum   io.Writer // gets what comes out; may be nil
}

// newSpool begins to unpack a stream.
func newSpool(ctx context.Context, in input, o *Options) (*spool, error) {
	file, err := device.CreateTemp(o.TempDir, "a tar stream")
	if err != nil {
		return nil, err
	}
	s := &spool{file: file, o: o, ctx: ctx}
	s.moved = sync.NewCond(&s.mu)
	inner, stop := context.WithCancel(ctx)
	s.stop = stop
	context.AfterFunc(inner, func() {
		s.mu.Lock() // nobody is between looking and waiting
		defer s.mu.Unlock()
		s.moved.Broadcast()
	})
	go s.run(inner, in)
	return s, nil
}

// piece is a part of the stream; err is what came after it.
type piece struct {
	data []byte
	err  error
}

// run writes what a goroutine of its own reads.
func (s *spool) run(ctx context.Context, in input) {
	// Neither channel is ever full: there are so many pieces and no more.
	full, empty := make(chan piece, spoolPieces+1), make(chan []byte, spoolPieces)
	for range spoolPieces {
		empty <- nil
	}
	go in.read(ctx, full, empty)
	off, err := s.write(ctx, in.sum, full, empty)
	if err == io.EOF {
		if terr := s.file.Truncate(off); terr != nil {
			err = terr
		}
	}
	s.tell(off, err)
	s.stop()
}

// write writes the pieces, and returns how much that was and why it ended.
func (s *spool) write(ctx context.Context, sum io.Writer, full <-chan piece, empty chan<- []byte) (off int64, err error) {
	for {
		var p piece
		select {
		case p = <-full:
		case <-ctx.Done():
			return off, ctx.Err()
		}
		if sum != nil {
			sum.Write(p.data)
		}
		if err := s.put(p.data, off); err != nil {
			return off, err
		}
		off += int64(len(p.data))
		if p.err != nil {
			return off, p.err
		}
		s.tell(off, nil)
		empty <- p.data[:0]
	}
}

// read unpacks the stream until it ends or ctx does.
func (in *input) read(ctx context.Context, full chan<- piece, empty <-chan []byte) {
	z, err := device.Decompress(ctx, in.r)
	if err != nil {
		full <- piece{nil, err}
		return
	}
	for {
		var buf []byte
		select {
		case buf = <-empty:
		case <-ctx.Done():
			z.Close()
			return
		}
		if buf == nil {
			buf = make([]byte, spoolPiece)
		}
		buf = buf[:spoolPiece]
		n, err := device.ReadSome(z, buf)
		if err != nil {
			if cerr := z.Close(); err == io.EOF && cerr != nil {
				err = cerr
			}
			if err == io.EOF && in.whole {
				if _, cerr := io.Copy(io.Discard, in.r); cerr != nil {
					err = cerr
				}
			}
		}
		full <- piece{buf[:n], err}
		if err != nil {
			return
		}
	}
}

var zeroGrain [spoolGrain]byte

// put writes p but for grains of zeros.
func (s *spool) put(p []byte, off int64) error {
	for len(p) > 0 {
		n := dataPrefix(p)
		if n > 0 {
			if err := s.store(p[:n], off); err != nil {
				return err
			}
		} else {
			n = min(len(p), spoolGrain)
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// store writes p, if Options.MaxBytes allows.
func (s *spool) store(p []byte, off int64) error {
	stored := s.file.Stored() + int64(len(p))
	if s.o.spooled != nil {
		stored = s.o.spooled.Add(int64(len(p)))
	}
	if s.o.MaxBytes > 0 && stored > s.o.MaxBytes {
		return &device.TooLargeError{Format: "tar stream", Stored: stored, Limit: s.o.MaxBytes}
	}
	_, err := s.file.WriteAt(p, off)
	return err
}

// dataPrefix is how much of p comes before the first grain of zeros.
func dataPrefix(p []byte) int {
	n := 0
	for n < len(p) {
		grain := p[n:min(n+spoolGrain, len(p))]
		if bytes.Equal(grain, zeroGrain[:len(grain)]) {
			break
		}
		n += len(grain)
	}
	return n
}

// tell lets readers know how far it is; with an error no more comes.
func (s *spool) tell(end int64, err error) {
	s.mu.Lock()
	s.end = end
	s.err = err
	shut := err != nil && s.closed
	s.mu.Unlock()
	s.moved.Broadcast()
	if shut {
		s.file.Close() // nobody is left to tell
	}
}

// until waits until so much is there, or no more comes, which is an error:
// io.EOF at the end of the stream.
func (s *spool) until(want int64) (end int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.closed:
			return 0, errAbandoned
		case s.end >= want:
			return s.end, nil
		case s.err != nil:
			return s.end, s.err
		case s.ctx.Err() != nil:
			return s.end, s.ctx.Err()
		}
		s.moved.Wait()
	}
}

// ReadAt waits until the bytes are there.
func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > math.MaxInt64-int64(len(p)) {
		return 0, fs.ErrInvalid
	}
	end, err := s.until(off + int64(len(p)))
	if off >= end {
		return 0, err
	}
	short := int64(len(p)) > end-off
	if short {
		p = p[:end-off]
	}
	n, rerr := s.file.ReadAt(p, off)
	if rerr == io.EOF {
		clear(p[n:]) // a hole that the file is not yet so long for
		n, rerr = len(p), nil
	}
	if rerr == nil && short {
		rerr = err
	}
	return n, rerr
}

// wait waits for the end of the stream and returns what went wrong.
func (s *spool) wait() error {
	if _, err := s.until(math.MaxInt64); err != io.EOF {
		return err
	}
	return nil
}

// Close removes the file. It does not wait for a stream that stands still.
func (s *spool) Close() error {
	s.stop()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	ended := s.err != nil
	s.mu.Unlock()
	s.moved.Broadcast()
	if ended {
		return s.file.Close()
	}
	return nil
}
