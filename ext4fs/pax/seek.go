package pax

import (
	"errors"
	"io"
)

// What is read at a time: little after a jump, for often another one comes
// right after the header, and more as long as it goes on in a row.
const (
	firstRead = 4 << 10
	mostRead  = 128 << 10
)

// atReader reads a stream through io.ReaderAt and can skip.
type atReader struct {
	r    io.ReaderAt
	size int64 // negative: not known
	off  int64 // of what is in buf
	buf  []byte
	room []byte
	want int
	err  error // after buf
}

func (a *atReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(a.buf) == 0 {
		if err := a.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, a.buf)
	a.buf = a.buf[n:]
	a.off += int64(n)
	return n, nil
}

// fill reads what comes next.
func (a *atReader) fill() error {
	if a.err != nil {
		return a.err
	}
	a.want = min(max(2*a.want, firstRead), mostRead)
	if len(a.room) < a.want {
		a.room = make([]byte, a.want)
	}
	p := a.room[:a.want]
	if a.size >= 0 {
		p = p[:min(int64(len(p)), max(a.size-a.off, 0))]
		if len(p) == 0 {
			return io.EOF
		}
	}
	n, err := a.r.ReadAt(p, a.off)
	a.buf = p[:n]
	if a.size >= 0 && err == io.EOF && n < len(p) {
		err = io.ErrUnexpectedEOF // it is shorter than it was
	} else if n == len(p) {
		err = nil
	}
	if n > 0 {
		a.err = err
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// skip goes n bytes on. Beyond the end it is io.ErrUnexpectedEOF.
func (a *atReader) skip(n int64) error {
	if n <= int64(len(a.buf)) {
		a.buf = a.buf[n:]
		a.off += n
		return nil
	}
	if a.err != nil && a.err != io.EOF {
		return a.err
	}
	end := a.off + n
	if end < a.off || a.size >= 0 && end > a.size || a.err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	a.off, a.buf, a.want = end, nil, 0
	if a.size >= 0 {
		return nil
	}
	err := a.fill()
	if err != io.EOF {
		return err
	}
	// Nothing comes after; that the last byte is there has to be seen.
	var last [1]byte
	if k, err := a.r.ReadAt(last[:], end-1); k == 0 {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	a.err = io.EOF
	return nil
}
