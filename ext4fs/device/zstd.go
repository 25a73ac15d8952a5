package device

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the history that a decoder must keep: 128 MiB, the bound
// of the zstd program itself, and twice what xz -9 asks for.
const maxWindow = 128 << 20

// newZstd decodes all frames of a zstd file and skips skippable ones, among
// them the seek table of the seekable format.
func newZstd(r *countingReader) (io.ReadCloser, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, zstdError(err)
	}
	return zstdReader{z}, nil
}

type zstdReader struct{ z *zstd.Decoder }

// Read decodes the next bytes.
func (r zstdReader) Read(p []byte) (int, error) {
	n, err := r.z.Read(p)
	if err != nil && err != io.EOF {
		err = zstdError(err)
	}
	return n, err
}

// Close ends the decoder's goroutines.
func (r zstdReader) Close() error {
	r.z.Close()
	return nil
}

// zstdError tells what is not supported from what is damaged.
func zstdError(err error) error {
	switch {
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return &UnsupportedError{Format: "zstd", Detail: fmt.Sprintf("a window of more than %d MiB", maxWindow>>20)}
	case errors.Is(err, zstd.ErrUnknownDictionary):
		return &UnsupportedError{Format: "zstd", Detail: "a dictionary"}
	}
	return err
}
