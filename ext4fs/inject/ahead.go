package inject

import (
	"context"
	"io"
	"sync"
)

// ahead reads a run of bytes while what came before is written.
type ahead struct {
	full   chan piece
	empty  chan []byte
	cancel context.CancelFunc
	wait   sync.WaitGroup
	now    piece
	rest   []byte
}

// piece is what was read at a time.
type piece struct {
	buf []byte
	n   int
	err error
}

// aheadPieces is how many pieces are in memory.
const aheadPieces = 3

// buffers of pieceSize bytes.
var pieces = sync.Pool{New: func() any {
	b := make([]byte, pieceSize)
	return &b
}}

// readAhead reads length bytes of r from off on, until stop is called.
func readAhead(ctx context.Context, r io.ReaderAt, off, length int64) *ahead {
	ctx, cancel := context.WithCancel(ctx)
	a := &ahead{full: make(chan piece, aheadPieces), empty: make(chan []byte, aheadPieces), cancel: cancel}
	for range aheadPieces {
		a.empty <- *pieces.Get().(*[]byte)
	}
	a.wait.Go(func() {
		defer close(a.full)
		for done := int64(0); done < length; {
			var p piece
			select {
			case p.buf = <-a.empty:
			case <-ctx.Done():
				return
			}
			want := int(min(int64(len(p.buf)), length-done))
			p.n, p.err = r.ReadAt(p.buf[:want], off+done)
			if p.n == want {
				p.err = nil
			} else if p.err == nil {
				p.err = io.ErrUnexpectedEOF
			}
			done += int64(p.n)
			a.full <- p
			if p.err != nil {
				return
			}
		}
	})
	return a
}

func (a *ahead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.buf != nil {
			a.empty <- a.now.buf
			a.now.buf = nil
		}
		next, ok := <-a.full
		if !ok {
			return 0, io.EOF
		}
		a.now, a.rest = next, next.buf[:next.n]
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// stop ends the reading and gives back the memory.
func (a *ahead) stop() {
	a.cancel()
	a.wait.Wait()
	put := func(b []byte) { pieces.Put(&b) }
	for p := range a.full {
		put(p.buf)
	}
	if a.now.buf != nil {
		put(a.now.buf)
	}
	for range len(a.empty) {
		put(<-a.empty)
	}
}
