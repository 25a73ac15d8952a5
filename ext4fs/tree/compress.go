package tree

import (
	"context"
	"io"
	"math"
	"os"

	"github.com/e4kit/e4kit/ext4fs/device"
)

// archive is a tar stream that can be read anywhere: a part of a file of the
// host or of memory as it is, or a spool.
type archive struct {
	r     io.ReaderAt
	size  int64    // negative: not known yet
	host  *os.File // where r has what is at 0 at base; nil if there is none
	base  int64
	spool *spool
	sums  *sums
}

// sums are digests that are taken along.
type sums struct {
	packed   *verifier // of the stream as it is
	unpacked *verifier // of what it unpacks to
	done     chan error
}

// sized is what can be read anywhere and knows its length.
type sized interface {
	io.ReaderAt
	Size() int64
}

// blob is a sized thing, maybe part of a file of the host.
type blob struct {
	r    io.ReaderAt
	size int64
	host *os.File
	base int64
}

// asBlob tells whether r can be read anywhere: a regular file from where it
// stands, bytes.Reader, strings.Reader, io.SectionReader and the like.
func asBlob(r io.Reader) (*blob, bool) {
	f, ok := r.(*os.File)
	if !ok {
		s, ok := r.(sized)
		if !ok {
			return nil, false
		}
		at := int64(0)
		if k, ok := r.(io.Seeker); ok {
			if pos, err := k.Seek(0, io.SeekCurrent); err == nil {
				at = pos
			}
		}
		size := max(s.Size()-at, 0)
		return &blob{r: io.NewSectionReader(s, at, size), size: size}, true
	}
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return nil, false
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, false
	}
	size := max(st.Size()-at, 0)
	return &blob{r: io.NewSectionReader(f, at, size), size: size, host: f, base: at}, true
}

// openStream makes an archive of a stream: compressed ones and pipes are
// spooled.
func openStream(ctx context.Context, r io.Reader, o *Options) (*archive, error) {
	if b, ok := asBlob(r); ok {
		return openBlob(ctx, b, nil, o)
	}
	return openSpool(ctx, r, nil, o)
}

// openBlob makes an archive of what can be read anywhere. With sums, which may
// be nil, all of it is read in the background: see archive.wait.
func openBlob(ctx context.Context, b *blob, sums *sums, o *Options) (*archive, error) {
	in := io.NewSectionReader(b.r, 0, b.size)
	z, err := device.Decompress(ctx, in)
	if err != nil {
		return nil, err
	}
	format := z.Format
	if err := z.Close(); err != nil {
		return nil, err
	}
	if format != "" {
		return openSpool(ctx, io.NewSectionReader(b.r, 0, b.size), sums, o)
	}
	a := &archive{r: b.r, size: b.size, host: b.host, base: b.base, sums: sums}
	if sums != nil {
		sums.done = make(chan error, 1)
		go sums.read(ctx, b)
	}
	return a, nil
}

// read takes the digests of a blob that is not compressed.
func (s *sums) read(ctx context.Context, b *blob) {
	var to []io.Writer
	for _, v := range []*verifier{s.packed, s.unpacked} {
		if v != nil {
			to = append(to, v)
		}
	}
	in := io.NewSectionReader(b.r, 0, b.size)
	buf := make([]byte, spoolPiece)
	for {
		if err := ctx.Err(); err != nil {
			s.done <- err
			return
		}
		n, err := in.Read(buf)
		for _, w := range to {
			w.Write(buf[:n])
		}
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			s.done <- err
			return
		}
	}
}

// openSpool unpacks a stream.
func openSpool(ctx context.Context, r io.Reader, sums *sums, o *Options) (*archive, error) {
	in := input{r: r}
	if sums != nil && sums.packed != nil {
		in.r, in.whole = io.TeeReader(r, sums.packed), true
	}
	if sums != nil && sums.unpacked != nil {
		in.sum = sums.unpacked
	}
	s, err := newSpool(ctx, in, o)
	if err != nil {
		return nil, err
	}
	return &archive{r: s, size: -1, host: s.file.File(), spool: s, sums: sums}, nil
}

// wait waits until all has been read and checks the digests.
func (a *archive) wait() error {
	if a.spool != nil {
		if err := a.spool.wait(); err != nil {
			return err
		}
	}
	if a.sums == nil {
		return nil
	}
	if a.spool == nil {
		if err := <-a.sums.done; err != nil {
			return err
		}
	}
	for _, v := range []*verifier{a.sums.packed, a.sums.unpacked} {
		if v == nil {
			continue
		}
		if err := v.check(); err != nil {
			return err
		}
	}
	return nil
}

// length is that of the whole, once wait has returned.
func (a *archive) length() int64 {
	if a.spool != nil {
		end, _ := a.spool.until(math.MaxInt64)
		return end
	}
	return a.size
}

// Close removes the spool, if there is one.
func (a *archive) Close() error {
	if a.spool != nil {
		return a.spool.Close()
	}
	return nil
}
