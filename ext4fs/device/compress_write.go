package device

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Compression is a format of compressed images.
type Compression uint8

// The formats that are written.
const (
	Gzip Compression = iota + 1
	Zstd
)

func (c Compression) String() string {
	switch c {
	case Gzip:
		return "gzip"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("compression %d", uint8(c))
}

// CompressOptions say how a compressed image is written.
type CompressOptions struct {
	Format Compression
	// Level is that of the gzip and zstd programs, 1 to 9 and 1 to 22; 0 is
	// their default. Several levels of zstd are the same here.
	Level int
	// Ranges are the data, in order; nil is what NextData tells. The rest is
	// zeros and is not read.
	Ranges []Range
	// Workers is how many pieces are compressed at a time; 0 is one per
	// processor. The result does not depend on it.
	Workers int
	// Progress, if not nil, is told how many bytes of the image are done.
	Progress func(done, total int64)
}

// A compressed image is made of pieces that do not depend on each other, so
// that they can be made at the same time, and a piece of zeros only once. Of
// zstd each is a frame; of gzip they are parts of one stream, each of which ends
// at a byte (an empty stored block), because some boot loaders take no more
// than one member. Nothing tells a time or a name.
const (
	zstdPiece = 4 << 20
	gzipPiece = 1 << 20
	// maxWorkers bounds the memory.
	maxWorkers = 64
)

// WriteCompressed writes d as a compressed stream. Errors are those of d, w and
// ctx, disk.ErrUnsupported for an unknown format or level, and *RangeError for
// impossible ranges.
func WriteCompressed(ctx context.Context, w io.Writer, d Device, o CompressOptions) error {
	if err := writeCompressed(ctx, w, d, o); err != nil {
		return fmt.Errorf("write a %v image: %w", o.Format, err)
	}
	return nil
}

func writeCompressed(ctx context.Context, w io.Writer, d Device, o CompressOptions) error {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	o.Workers = min(o.Workers, maxWorkers)
	var f pieceFormat
	var err error
	switch o.Format {
	case Gzip:
		f, err = newGzipFormat(o.Level)
	case Zstd:
		f, err = newZstdFormat(o.Level, o.Workers)
	default:
		err = disk.ErrUnsupported
	}
	if err != nil {
		return err
	}
	walk, err := newWalk(d, o.Ranges)
	if err != nil {
		return err
	}
	c := &compressor{w: w, d: d, o: o, f: f, walk: walk}
	return c.run(ctx)
}

// pieceFormat is a format as pieces.
type pieceFormat interface {
	// size is that of a piece, in bytes; the last one may be shorter.
	size() int64
	// compress appends a piece to dst. It is safe for concurrent use.
	compress(dst, piece []byte) ([]byte, error)
	// head is what comes before all pieces, and tail what comes behind them,
	// given the CRC-32 and length of all.
	head() []byte
	tail(sum uint32, n int64) []byte
	// sums says whether the CRC-32 is needed.
	sums() bool
}

// compressor writes one image.
type compressor struct {
	w     io.Writer
	d     Device
	o     CompressOptions
	f     pieceFormat
	walk  *walk
	zeros *piece // a whole piece of zeros
	free  sync.Pool
}

// piece is a part of the image on its way.
type piece struct {
	off    int64
	n      int64
	ranges []Range // of data
	out    []byte
	sum    uint32
	err    error
	done   chan struct{} // closed when it is made
}

// run hands out pieces in order, and writes them in order.
func (c *compressor) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	work := make(chan *piece)
	line := make(chan *piece, 2*c.o.Workers)
	var wg sync.WaitGroup
	for range c.o.Workers {
		wg.Go(func() {
			for p := range work {
				p.err = c.make(ctx, p)
				close(p.done)
			}
		})
	}
	var planErr error
	wg.Go(func() {
		defer close(line)
		defer close(work)
		planErr = c.hand(ctx, work, line)
	})
	err := c.write(line)
	cancel()
	for range line { // hand, which may wait for room, ends by ctx
	}
	wg.Wait()
	if err == nil {
		err = planErr
	}
	return err
}

// hand cuts the image into pieces. Those without data need no work.
func (c *compressor) hand(ctx context.Context, work, line chan<- *piece) error {
	size, whole := c.d.Size(), c.f.size()
	for off := int64(0); off < size; off += whole {
		p := &piece{off: off, n: min(whole, size-off), done: make(chan struct{})}
		if err := c.data(p); err != nil {
			return err
		}
		zero := len(p.ranges) == 0 && p.n == whole
		if zero && c.zeros != nil {
			p = c.zeros
		} else if zero {
			c.zeros = p
		}
		select {
		case line <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
		if zero && p.off != off {
			continue
		}
		select {
		case work <- p:
		case <-ctx.Done():
			p.err = ctx.Err()
			close(p.done)
			return p.err
		}
	}
	return nil
}

// data finds what of a piece is data.
func (c *compressor) data(p *piece) error {
	for at := p.off; at < p.off+p.n; {
		r, err := c.walk.data(at, p.off+p.n-at)
		if err != nil {
			return err
		}
		if r.N > 0 {
			p.ranges = append(p.ranges, r)
		}
		at = r.End()
	}
	return nil
}

// make reads and compresses a piece.
func (c *compressor) make(ctx context.Context, p *piece) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	buf, _ := c.free.Get().(*[]byte)
	if buf == nil {
		b := make([]byte, c.f.size())
		buf = &b
	}
	defer c.free.Put(buf)
	b := (*buf)[:p.n]
	at := int64(0)
	for _, r := range p.ranges {
		clear(b[at : r.Off-p.off])
		part := b[r.Off-p.off:][:r.N]
		if n, err := c.d.ReadAt(part, r.Off); n < len(part) {
			return fmt.Errorf("read %d bytes at %d: %w", len(part), r.Off, unexpected(err))
		}
		at = r.End() - p.off
	}
	clear(b[at:])
	if c.f.sums() {
		p.sum = crc32.ChecksumIEEE(b)
	}
	out, err := c.f.compress(nil, b)
	p.out = out
	return err
}

// write writes the pieces as they come.
func (c *compressor) write(line <-chan *piece) error {
	if err := writeAll(c.w, c.f.head()); err != nil {
		return err
	}
	sum, done := uint32(0), int64(0)
	shift := crcShift(c.f.size())
	for p := range line {
		<-p.done
		if p.err != nil {
			return p.err
		}
		if err := writeAll(c.w, p.out); err != nil {
			return err
		}
		if c.f.sums() && p.n == c.f.size() {
			sum = crcMultiply(shift, sum) ^ p.sum
		} else if c.f.sums() {
			sum = crcJoin(sum, p.sum, p.n)
		}
		done += p.n
		// Pieces of zeros are one and the same, which goes on being needed.
		if len(p.ranges) > 0 {
			p.out = nil
		}
		if c.o.Progress != nil {
			c.o.Progress(done, c.d.Size())
		}
	}
	if done < c.d.Size() {
		return nil // hand tells why
	}
	return writeAll(c.w, c.f.tail(sum, done))
}

// zstdFormat makes frames.
type zstdFormat struct{ enc *zstd.Encoder }

func newZstdFormat(level, workers int) (*zstdFormat, error) {
	if level == 0 {
		level = 3
	}
	if level < 1 || level > 22 {
		return nil, fmt.Errorf("level %d: %w", level, disk.ErrUnsupported)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)), zstd.WithEncoderConcurrency(workers),
		zstd.WithEncoderCRC(true), zstd.WithZeroFrames(true))
	if err != nil {
		return nil, err
	}
	return &zstdFormat{enc}, nil
}

func (z *zstdFormat) size() int64 { return zstdPiece }
func (z *zstdFormat) sums() bool  { return false }

func (z *zstdFormat) head() []byte { return nil }

// tail is an empty frame for an empty image, which is a stream, too.
func (z *zstdFormat) tail(_ uint32, n int64) []byte {
	if n > 0 {
		return nil
	}
	return z.enc.EncodeAll(nil, nil)
}

func (z *zstdFormat) compress(dst, piece []byte) ([]byte, error) {
	return z.enc.EncodeAll(piece, dst), nil
}

// gzipFormat makes parts of one member.
type gzipFormat struct {
	level int
	free  sync.Pool // *flate.Writer
}

func newGzipFormat(level int) (*gzipFormat, error) {
	if level == 0 {
		level = 6
	}
	if level < 1 || level > 9 {
		return nil, fmt.Errorf("level %d: %w", level, disk.ErrUnsupported)
	}
	return &gzipFormat{level: level}, nil
}

func (g *gzipFormat) size() int64 { return gzipPiece }
func (g *gzipFormat) sums() bool  { return true }

// head is a member's header: deflate, no flags, no time, an unknown system.
func (g *gzipFormat) head() []byte { return []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255} }

// tail is an empty last block, the checksum and the length.
func (g *gzipFormat) tail(sum uint32, n int64) []byte {
	b := []byte{3, 0}
	b = le.AppendUint32(b, sum)
	return le.AppendUint32(b, uint32(n))
}

func (g *gzipFormat) compress(dst, piece []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	z, _ := g.free.Get().(*flate.Writer)
	if z == nil {
		var err error
		if z, err = flate.NewWriter(out, g.level); err != nil {
			return nil, err
		}
	} else {
		z.Reset(out)
	}
	defer g.free.Put(z)
	if _, err := z.Write(piece); err != nil {
		return nil, err
	}
	if err := z.Flush(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
