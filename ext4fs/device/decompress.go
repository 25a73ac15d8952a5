package device

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"io"
)

// Decompressed is a stream without the compression it came in.
type Decompressed struct {
	Format string // "gzip", "zstd", "xz", "bzip2", or "" for none
	in     *countingReader
	out    io.ReadCloser
}

// Decompress recognises the compression of a stream by its first bytes, and
// undoes it with the bounds that images have: memory does not follow from what
// the stream says. Cancelling ctx ends reading. Errors of Read are *FormatError
// and *UnsupportedError, and those of r and ctx.
func Decompress(ctx context.Context, r io.Reader) (*Decompressed, error) {
	b := bufio.NewReaderSize(r, inputBuffer)
	head, err := b.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	d := &Decompressed{in: &countingReader{ctx: ctx, r: b}}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		d.Format = "gzip"
		d.out, err = newGzip(d.in)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}), isSkippable(head):
		d.Format = "zstd"
		d.out, err = newZstd(d.in)
	case bytes.HasPrefix(head, xzMagic):
		d.Format = "xz"
		d.out, err = newXz(d.in)
	case bytes.HasPrefix(head, []byte("BZh")):
		d.Format = "bzip2"
		d.out, err = io.NopCloser(bzip2.NewReader(d.in)), nil
	default:
		d.out, err = io.NopCloser(d.in), nil
	}
	if err != nil {
		return nil, streamError(d.in, d.Format, err)
	}
	return d, nil
}

// isSkippable recognises a frame that zstd skips: pzstd begins with one.
func isSkippable(head []byte) bool {
	return len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18})
}

// Read decodes the next bytes.
func (d *Decompressed) Read(p []byte) (int, error) {
	n, err := d.out.Read(p)
	if err != nil && err != io.EOF && d.Format != "" {
		err = streamError(d.in, d.Format, err)
	}
	return n, err
}

// Close frees what the decoder has; r stays open.
func (d *Decompressed) Close() error { return d.out.Close() }
