package device

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// AndroidOptions say how an Android sparse image is written. The zero value is
// good.
type AndroidOptions struct {
	// BlockSize in bytes, a power of two from 512 on; 0 is 4096, which some
	// readers insist on.
	BlockSize int
	// Ranges are the data, in order; nil is what NextData tells. The rest
	// is a hole and is not read.
	Ranges []Range
	// SkipHoles leaves what is on the target as it is where there is a hole
	// (don't-care chunks). Else it is filled with zeros there. It is only
	// right when nothing depends on holes being zeros: with Ranges that hold
	// all blocks in use of a file system, for instance.
	SkipHoles bool
	// CRC adds a chunk with a CRC-32 of the whole image, in which what is
	// skipped counts as zeros.
	CRC bool
	// Progress, if not nil, is told how many bytes of the image are done.
	Progress func(done, total int64)
}

// androidChunk is a chunk to be written.
type androidChunk struct {
	kind   uint16
	fill   uint32
	blocks uint32
}

const (
	// sparseBuffer is how much is read at once.
	sparseBuffer = 1 << 20
	// sparseMaxRaw bounds a raw chunk, in bytes: readers may hold one in
	// memory.
	sparseMaxRaw = 64 << 20
	// sparseMaxFills is how many chunks there are before data is not looked
	// through any more for blocks to fill.
	sparseMaxFills = 1 << 20
)

// WriteAndroidSparse writes d as an Android sparse image. Blocks that repeat
// four bytes, as zeros do, become fill chunks, or are skipped where they are
// holes. What lies in data ranges is read twice, and must not change meanwhile.
// An image whose size is not a multiple of the block size is padded with zeros.
//
// Errors are those of d, w and ctx, disk.ErrUnsupported for an image of too many
// blocks, and *RangeError for impossible ranges.
func WriteAndroidSparse(ctx context.Context, w io.Writer, d Device, o AndroidOptions) error {
	s, err := newSparseWriter(ctx, w, d, o)
	if err == nil {
		err = s.plan()
	}
	if err == nil {
		err = s.write()
	}
	if err != nil {
		return fmt.Errorf("write an Android sparse image: %w", err)
	}
	return nil
}

// sparseWriter writes one sparse image.
type sparseWriter struct {
	ctx    context.Context
	w      io.Writer
	d      Device
	o      AndroidOptions
	block  int64
	blocks int64
	chunks []androidChunk
	buf    []byte
	sum    uint32
}

func newSparseWriter(ctx context.Context, w io.Writer, d Device, o AndroidOptions) (*sparseWriter, error) {
	s := &sparseWriter{ctx: ctx, w: w, d: d, o: o, block: int64(o.BlockSize)}
	if s.block == 0 {
		s.block = 4096
	}
	if s.block < 512 || s.block > sparseBuffer || s.block&(s.block-1) != 0 {
		return nil, fmt.Errorf("blocks of %d bytes: %w", s.block, disk.ErrUnsupported)
	}
	size := d.Size()
	s.blocks = size / s.block
	if size%s.block != 0 {
		s.blocks++
	}
	if s.blocks > math.MaxUint32 {
		return nil, &UnsupportedError{Format: androidFormat, Detail: fmt.Sprintf("an image of %d blocks", s.blocks)}
	}
	s.buf = make([]byte, sparseBuffer)
	return s, nil
}

// plan makes the list of chunks.
func (s *sparseWriter) plan() error {
	w, err := newWalk(s.d, s.o.Ranges)
	if err != nil {
		return err
	}
	size := s.d.Size()
	for at := int64(0); at < s.blocks; {
		r, err := w.data(at*s.block, (s.blocks-at)*s.block)
		if err != nil {
			return err
		}
		// The block in which data begins is all data.
		if hole := r.Off/s.block - at; hole > 0 || r.N == 0 {
			if r.N == 0 {
				hole = s.blocks - at
			}
			s.add(s.holeKind(), 0, hole)
			at += hole
			continue
		}
		n := min(int64(len(s.buf)), ((r.End()+s.block-1)/s.block-at)*s.block)
		b := s.buf[:n]
		clear(b)
		if _, err := w.read(s.ctx, b[:min(n, size-at*s.block)], at*s.block); err != nil {
			return err
		}
		s.classify(b)
		at += n / s.block
		s.report(at*s.block/2, size)
	}
	return nil
}

func (s *sparseWriter) report(done, size int64) {
	if s.o.Progress != nil {
		s.o.Progress(min(done, size), size)
	}
}

func (s *sparseWriter) holeKind() uint16 {
	if s.o.SkipHoles {
		return androidSkip
	}
	return androidFill
}

// classify adds blocks of data.
func (s *sparseWriter) classify(b []byte) {
	for ; len(b) > 0; b = b[s.block:] {
		kind, fill := uint16(androidRaw), uint32(0)
		if len(s.chunks) < sparseMaxFills && repeats(b[:s.block]) {
			kind, fill = androidFill, le.Uint32(b)
		}
		s.add(kind, fill, 1)
	}
}

// repeats reports whether a block is the same four bytes all over.
func repeats(b []byte) bool {
	return le.Uint32(b) == le.Uint32(b[4:]) && string(b[4:]) == string(b[:len(b)-4])
}

// add adds blocks, to the last chunk if it is of that kind.
func (s *sparseWriter) add(kind uint16, fill uint32, n int64) {
	most := int64(math.MaxUint32)
	if kind == androidRaw {
		most = sparseMaxRaw / s.block
	}
	if k := len(s.chunks); k > 0 {
		if c := &s.chunks[k-1]; c.kind == kind && c.fill == fill && int64(c.blocks)+n <= most {
			c.blocks += uint32(n)
			return
		}
	}
	s.chunks = append(s.chunks, androidChunk{kind, fill, uint32(n)})
}

// write writes header and chunks.
func (s *sparseWriter) write() error {
	var b [androidHeaderSize]byte
	count := len(s.chunks)
	if s.o.CRC {
		count++
	}
	le.PutUint32(b[0:], androidMagic)
	le.PutUint16(b[4:], 1)
	le.PutUint16(b[8:], androidHeaderSize)
	le.PutUint16(b[10:], androidChunkSize)
	le.PutUint32(b[12:], uint32(s.block))
	le.PutUint32(b[16:], uint32(s.blocks))
	le.PutUint32(b[20:], uint32(count))
	if err := writeAll(s.w, b[:]); err != nil {
		return err
	}
	w, err := newWalk(s.d, s.o.Ranges)
	if err != nil {
		return err
	}
	at, size := int64(0), s.d.Size()
	for _, c := range s.chunks {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if err := s.chunk(w, c, at*s.block); err != nil {
			return err
		}
		at += int64(c.blocks)
		s.report(size/2+at*s.block/2, size)
	}
	s.report(size, size)
	if !s.o.CRC {
		return nil
	}
	return s.head(androidCRC, 0, 4, s.sum)
}

// head writes the header of a chunk with so many bytes of content, and, if
// these are 4, the content.
func (s *sparseWriter) head(kind uint16, blocks uint32, content int64, value uint32) error {
	var b [androidChunkSize + 4]byte
	le.PutUint16(b[0:], kind)
	le.PutUint32(b[4:], blocks)
	le.PutUint32(b[8:], uint32(androidChunkSize+content))
	le.PutUint32(b[12:], value)
	n := androidChunkSize
	if content == 4 {
		n += 4
	}
	return writeAll(s.w, b[:n])
}

// chunk writes the chunk at a place of the image.
func (s *sparseWriter) chunk(w *walk, c androidChunk, off int64) error {
	n := int64(c.blocks) * s.block
	if c.kind != androidRaw {
		s.sumFill(c.fill, n)
		content := int64(4)
		if c.kind == androidSkip {
			content = 0
		}
		return s.head(c.kind, c.blocks, content, c.fill)
	}
	if err := s.head(c.kind, c.blocks, n, 0); err != nil {
		return err
	}
	for n > 0 {
		b := s.buf[:min(n, int64(len(s.buf)))]
		clear(b)
		if _, err := w.read(s.ctx, b[:min(int64(len(b)), s.d.Size()-off)], off); err != nil {
			return err
		}
		if s.o.CRC {
			s.sum = crc32.Update(s.sum, crc32.IEEETable, b)
		}
		if err := writeAll(s.w, b); err != nil {
			return err
		}
		off += int64(len(b))
		n -= int64(len(b))
	}
	return nil
}

// sumFill adds n bytes of a filled chunk to the checksum.
func (s *sparseWriter) sumFill(fill uint32, n int64) {
	if !s.o.CRC {
		return
	}
	if fill == 0 {
		s.sum = crcJoin(s.sum, crcZeros(n), n)
		return
	}
	b := s.buf[:s.block]
	for i := 0; i < len(b); i += 4 {
		le.PutUint32(b[i:], fill)
	}
	one := crc32.ChecksumIEEE(b)
	// Doubling: the checksum of a power of two of blocks, from that of half.
	for left, size := n/s.block, s.block; left > 0; left >>= 1 {
		if left&1 != 0 {
			s.sum = crcJoin(s.sum, one, size)
		}
		one = crcJoin(one, one, size)
		size *= 2
	}
}
