package device

import (
	"fmt"
	"io"
	"math"
	"os"
	"sort"
)

// Android sparse images, version 1.
//
//	header  28 bytes or more: magic, version, sizes of the headers, block
//	        size, blocks of the image, chunks, a CRC-32 of the whole image
//	chunk   12 bytes or more: kind, blocks of the image, bytes of the chunk
//	        with its header; then
//	        raw: the blocks; fill: 4 bytes, repeated; skip: nothing; crc32:
//	        the checksum of the image up to here, no blocks
//
// All integers are little-endian. The checksums are written by few tools and
// cover the image as it would be expanded; they are not verified.

const (
	androidFormat     = "Android sparse"
	androidMagic      = 0xed26ff3a
	androidHeaderSize = 28
	androidChunkSize  = 12

	androidRaw  = 0xcac1
	androidFill = 0xcac2
	androidSkip = 0xcac3
	androidCRC  = 0xcac4

	// androidMaxPieces bounds the index in memory, to about 128 MiB.
	androidMaxPieces = 4 << 20
	// androidMaxBlock bounds the block size; real ones have 4096.
	androidMaxBlock = 64 << 20
	// androidMaxHeader bounds the headers, which may grow in later versions.
	androidMaxHeader = 4096
)

func isAndroidSparse(b []byte) bool {
	return len(b) >= androidHeaderSize && le.Uint32(b) == androidMagic && le.Uint16(b[4:]) == 1
}

// AndroidSparse is the image inside an Android sparse image, read in place.
// What the chunks skip reads as zeros.
type AndroidSparse struct {
	d      Device
	size   int64
	pieces []androidPiece // in order, without what is zero
}

// androidPiece is a part of the image that is not zero.
type androidPiece struct {
	off, size int64 // in the image
	src       int64 // of raw: where in d; of fill: -1
	fill      [4]byte
}

// NewAndroidSparse reads the chunk headers of d. Errors are *FormatError, or
// those of d.
func NewAndroidSparse(d Device) (*AndroidSparse, error) {
	p := &androidParser{d: d, out: &AndroidSparse{d: d}}
	if err := p.header(); err != nil {
		return nil, err
	}
	for p.left = p.chunks; p.left > 0; p.left-- {
		if err := p.chunk(); err != nil {
			return nil, err
		}
	}
	if p.block != p.blocks {
		return nil, p.bad("chunks hold %d blocks, the header says %d", p.block, p.blocks)
	}
	return p.out, nil
}

// androidParser walks over the chunks once.
type androidParser struct {
	d   Device
	out *AndroidSparse
	at  int64 // in d

	chunkHeader int64
	blockSize   int64
	blocks      int64
	chunks      uint32
	left        uint32
	block       int64 // of the image, next
}

func (p *androidParser) bad(format string, args ...any) error {
	return &FormatError{Format: androidFormat, Offset: p.at, Detail: fmt.Sprintf(format, args...)}
}

// read fills b from at.
func (p *androidParser) read(b []byte, at int64) error {
	if at > p.d.Size()-int64(len(b)) {
		return &FormatError{Format: androidFormat, Offset: at, Detail: "the image is cut off", Err: io.ErrUnexpectedEOF}
	}
	if n, err := p.d.ReadAt(b, at); n < len(b) {
		return fmt.Errorf("%s: read at byte %d: %w", androidFormat, at, unexpected(err))
	}
	return nil
}

func (p *androidParser) header() error {
	var b [androidHeaderSize]byte
	if err := p.read(b[:], 0); err != nil {
		return err
	}
	if le.Uint32(b[0:]) != androidMagic {
		return p.bad("magic number is 0x%08x", le.Uint32(b[0:]))
	}
	if v := le.Uint16(b[4:]); v != 1 {
		return &UnsupportedError{Format: androidFormat, Detail: fmt.Sprintf("version %d", v)}
	}
	p.at = int64(le.Uint16(b[8:]))
	p.chunkHeader = int64(le.Uint16(b[10:]))
	p.blockSize = int64(le.Uint32(b[12:]))
	p.blocks = int64(le.Uint32(b[16:]))
	p.chunks = le.Uint32(b[20:])
	switch {
	case p.at < androidHeaderSize || p.at > androidMaxHeader:
		return p.bad("file header of %d bytes", p.at)
	case p.chunkHeader < androidChunkSize || p.chunkHeader > androidMaxHeader:
		return p.bad("chunk headers of %d bytes", p.chunkHeader)
	case p.blockSize == 0 || p.blockSize%4 != 0 || p.blockSize > androidMaxBlock:
		return p.bad("block size %d", p.blockSize)
	case p.blocks > math.MaxInt64/p.blockSize:
		return p.bad("%d blocks of %d bytes", p.blocks, p.blockSize)
	case int64(p.chunks) > (p.d.Size()-p.at)/p.chunkHeader:
		return p.bad("%d chunks do not fit into %d bytes", p.chunks, p.d.Size())
	}
	p.out.size = p.blocks * p.blockSize
	return nil
}

// chunk reads one chunk header and indexes what it brings.
func (p *androidParser) chunk() error {
	var b [androidChunkSize + 4]byte
	head := b[:androidChunkSize]
	if err := p.read(head, p.at); err != nil {
		return err
	}
	kind := le.Uint16(head)
	blocks := int64(le.Uint32(head[4:]))
	body := int64(le.Uint32(head[8:])) - p.chunkHeader
	if blocks > p.blocks-p.block {
		return p.bad("chunk of %d blocks at block %d of %d", blocks, p.block, p.blocks)
	}
	size := blocks * p.blockSize
	want := int64(0)
	switch kind {
	case androidRaw:
		want = size
	case androidFill, androidCRC:
		want = 4
	case androidSkip:
	default:
		return p.bad("unknown chunk type 0x%04x", kind)
	}
	if body != want || (kind == androidCRC && blocks != 0) {
		return p.bad("chunk of type 0x%04x with %d blocks has %d bytes of content", kind, blocks, body)
	}
	src := p.at + p.chunkHeader
	if src > p.d.Size() || body > p.d.Size()-src {
		return &FormatError{Format: androidFormat, Offset: src, Detail: "the image is cut off", Err: io.ErrUnexpectedEOF}
	}
	piece := androidPiece{off: p.block * p.blockSize, size: size, src: src}
	if kind == androidFill {
		if err := p.read(b[androidChunkSize:], src); err != nil {
			return err
		}
		piece.src = -1
		copy(piece.fill[:], b[androidChunkSize:])
	}
	p.at = src + body
	p.block += blocks
	if kind == androidRaw || (kind == androidFill && piece.fill != [4]byte{}) {
		return p.add(piece)
	}
	return nil
}

func (p *androidParser) add(piece androidPiece) error {
	if piece.size == 0 {
		return nil
	}
	ps := p.out.pieces
	if n := len(ps); n > 0 && piece.src < 0 && ps[n-1].src < 0 && ps[n-1].fill == piece.fill &&
		ps[n-1].off+ps[n-1].size == piece.off {
		ps[n-1].size += piece.size
		return nil
	}
	if len(ps) >= androidMaxPieces {
		return &UnsupportedError{Format: androidFormat, Detail: fmt.Sprintf("an image of more than %d chunks", androidMaxPieces)}
	}
	p.out.pieces = append(ps, piece)
	return nil
}

// Size is the size of the expanded image.
func (a *AndroidSparse) Size() int64 { return a.size }

// ReadAt reads the expanded image.
func (a *AndroidSparse) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errNegativeOffset
	}
	want := len(b)
	if rest := max(a.size-off, 0); int64(len(b)) > rest {
		b = b[:rest]
	}
	end := off + int64(len(b))
	at := off
	for i := a.find(off); at < end; i++ {
		if i == len(a.pieces) || a.pieces[i].off >= end {
			clear(b[at-off:])
			break
		}
		p := &a.pieces[i]
		if p.off > at {
			clear(b[at-off : p.off-off])
			at = p.off
		}
		n := min(p.off+p.size, end) - at
		dst := b[at-off:][:n]
		if p.src < 0 {
			p.repeat(dst, at)
		} else if n, err := a.d.ReadAt(dst, p.src+at-p.off); n < len(dst) {
			return int(at-off) + n, unexpected(err)
		}
		at += n
	}
	if len(b) < want {
		return len(b), io.EOF
	}
	return len(b), nil
}

// find is the first piece that ends after off.
func (a *AndroidSparse) find(off int64) int {
	return sort.Search(len(a.pieces), func(i int) bool { return a.pieces[i].off+a.pieces[i].size > off })
}

// repeat writes the fill value as it is at a place of the image.
func (p *androidPiece) repeat(b []byte, at int64) {
	// The first four bytes start inside the pattern; the rest doubles them.
	n := 0
	for n < 4 && n < len(b) {
		b[n] = p.fill[(at+int64(n))&3]
		n++
	}
	for n < len(b) {
		n += copy(b[n:], b[:n])
	}
}

// HostRange maps raw chunks, if the sparse image lies in a host file.
func (a *AndroidSparse) HostRange(off, n int64) (*os.File, int64, int64) {
	h, ok := a.d.(HostRanger)
	if !ok || off < 0 || n <= 0 || off >= a.size {
		return nil, 0, 0
	}
	i := a.find(off)
	if i == len(a.pieces) || a.pieces[i].off > off || a.pieces[i].src < 0 {
		return nil, 0, 0
	}
	p := &a.pieces[i]
	skip := off - p.off
	return h.HostRange(p.src+skip, min(n, p.size-skip))
}
