package device

import "io"

// ReadFull fills p with what r has from off on; an end before that is
// io.ErrUnexpectedEOF.
func ReadFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	return unexpected(err)
}

// ReadSome reads until p is full or r fails, and gives the first error of r.
// Unlike io.ReadFull it lets a reader's own io.ErrUnexpectedEOF be told from its
// end.
func ReadSome(r io.Reader, p []byte) (n int, err error) {
	for idle := 0; n < len(p) && err == nil; {
		var k int
		k, err = r.Read(p[n:])
		n += k
		if k > 0 {
			idle = 0
		} else if idle++; idle > 100 && err == nil {
			err = io.ErrNoProgress
		}
	}
	return n, err
}
