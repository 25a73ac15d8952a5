package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

const (
	// chunk is what is decoded and looked through for zeros at a time. It
	// fits into the second-level cache of a processor.
	chunk = 256 << 10
	// inputBuffer is what is read from the compressed file at a time.
	inputBuffer = 256 << 10
)

// expand decodes the whole stream that d is into a store.
func expand(ctx context.Context, d Device, c *container, o *Options) (*store, error) {
	in := &countingReader{ctx: ctx, r: io.NewSectionReader(d, 0, d.Size())}
	st := &store{format: c.name, o: o}
	err := decode(in, c, st, d.Size())
	if err == nil {
		err = st.finish()
	}
	if err != nil {
		st.Close()
		return nil, err
	}
	return st, nil
}

func decode(in *countingReader, c *container, st *store, total int64) error {
	r, err := c.stream(in)
	if err != nil {
		return streamError(in, c.name, err)
	}
	defer r.Close()
	buf := make([]byte, chunk)
	told := int64(-1)
	for {
		if err := in.ctx.Err(); err != nil {
			return streamError(in, c.name, err)
		}
		n, err := ReadSome(r, buf)
		if aerr := st.append(buf[:n]); aerr != nil {
			return aerr
		}
		if done := in.count(); st.o.Progress != nil && done != told {
			told = done
			st.o.Progress(ProgressInfo{Phase: c.name, Done: done, Total: total})
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return streamError(in, c.name, err)
		}
	}
}

// streamError makes the error of a decoder one that says what happened: the
// work was cancelled, the file cannot be read, it is cut off, or it is damaged.
func streamError(in *countingReader, format string, err error) error {
	var unsupported *UnsupportedError
	if ctxErr := in.ctx.Err(); ctxErr != nil {
		return fmt.Errorf("decompress %s: %w", format, ctxErr)
	}
	if cause := in.failure(); cause != nil {
		return fmt.Errorf("decompress %s: %w", format, cause)
	}
	switch {
	case errors.As(err, &unsupported), errors.Is(err, disk.ErrCorrupt):
		return err
	case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
		return &FormatError{Format: format, Detail: "the stream is cut off", Err: io.ErrUnexpectedEOF}
	}
	return &FormatError{Format: format, Detail: "the stream is damaged", Err: err}
}

// countingReader feeds a decoder, which may read from a goroutine of its own:
// it counts what is taken, and stops when the work is cancelled.
type countingReader struct {
	ctx context.Context
	r   io.Reader

	mu  sync.Mutex // guards n and err
	n   int64
	err error // a failure of the input itself, not of its format
}

// Read takes the next bytes of the file.
func (c *countingReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

func (c *countingReader) count() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func (c *countingReader) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
