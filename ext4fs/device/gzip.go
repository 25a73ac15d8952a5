package device

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
)

// gzipReader decodes all members of a gzip file. Zeros may follow the last
// one, as they do on media with fixed block sizes.
type gzipReader struct {
	in   *bufio.Reader
	z    *gzip.Reader
	done bool
}

var errTrailing = errors.New("something else follows the compressed data")

// newGzip reads the header of the first member.
func newGzip(r *countingReader) (io.ReadCloser, error) {
	in := bufio.NewReaderSize(r, inputBuffer)
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, unexpected(err)
	}
	z.Multistream(false)
	return &gzipReader{in: in, z: z}, nil
}

// Close frees the decoder.
func (g *gzipReader) Close() error { return g.z.Close() }

// Read decodes the next bytes.
func (g *gzipReader) Read(p []byte) (int, error) {
	if g.done {
		return 0, io.EOF
	}
	n, err := g.z.Read(p)
	if err == io.EOF {
		err = g.next()
	}
	return n, err
}

// next starts the next member; io.EOF if there is none.
func (g *gzipReader) next() error {
	head, err := g.in.Peek(2)
	switch {
	case len(head) == 2 && head[0] == 0x1f && head[1] == 0x8b:
		if err := g.z.Reset(g.in); err != nil {
			return unexpected(err)
		}
		g.z.Multistream(false)
		return nil
	case len(head) < 2 && err != io.EOF:
		return err
	}
	for {
		b, err := g.in.ReadByte()
		if err == io.EOF {
			g.done = true
			return io.EOF
		}
		if err != nil {
			return err
		}
		if b != 0 {
			return errTrailing
		}
	}
}
