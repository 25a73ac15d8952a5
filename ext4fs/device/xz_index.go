package device

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"io"
)

// xzInput counts and sums up what the decoder takes from the file.
type xzInput struct {
	r       *bufio.Reader
	n       int64
	crc     uint32
	summing bool
}

// Read takes bytes.
func (i *xzInput) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	i.took(p[:n])
	return n, err
}

// ReadByte takes one byte.
func (i *xzInput) ReadByte() (byte, error) {
	b, err := i.r.ReadByte()
	if err == nil {
		i.took([]byte{b})
	}
	return b, err
}

func (i *xzInput) took(p []byte) {
	i.n += int64(len(p))
	if i.summing {
		i.crc = crc32.Update(i.crc, crc32.IEEETable, p)
	}
}

// full fills p; the end of the file is io.ErrUnexpectedEOF.
func (i *xzInput) full(p []byte) error {
	if _, err := io.ReadFull(i, p); err != nil {
		return unexpected(err)
	}
	return nil
}

// xzBlockHeader is what a block says of itself. Sizes are -1 if it does not.
type xzBlockHeader struct {
	compressed, uncompressed int64
	dict                     uint64
}

const xzFilterLZMA2 = 0x21

// parseXzBlock reads a block header without its checksum.
func parseXzBlock(b []byte) (xzBlockHeader, error) {
	h := xzBlockHeader{compressed: -1, uncompressed: -1}
	if len(b) < 2 || b[1]&0x3c != 0 {
		return h, errXzBlock
	}
	flags := b[1]
	r := bytes.NewReader(b[2:])
	var err error
	if flags&0x40 != 0 {
		if h.compressed, err = xzVarint(r); err != nil {
			return h, errXzBlock
		}
	}
	if flags&0x80 != 0 {
		if h.uncompressed, err = xzVarint(r); err != nil {
			return h, errXzBlock
		}
	}
	id, err := xzVarint(r)
	if err != nil {
		return h, errXzBlock
	}
	if id != xzFilterLZMA2 || flags&3 != 0 {
		return h, &UnsupportedError{Format: xzFormat, Detail: fmt.Sprintf("filter 0x%x", id)}
	}
	size, err := xzVarint(r)
	if err != nil || size != 1 {
		return h, errXzBlock
	}
	bits, err := r.ReadByte()
	if err != nil || bits > 40 {
		return h, errXzBlock
	}
	// Two bits of mantissa, 2 or 3, and an exponent; 40 is 4 GiB - 1.
	h.dict = uint64(2|bits&1) << (bits/2 + 11)
	rest, _ := io.ReadAll(r)
	if !allZero(rest) {
		return h, errXzBlock
	}
	return h, nil
}

// xzVarint reads a number of up to 63 bits in the format's encoding: 7 bits a
// byte, least significant first, never with a superfluous zero byte at the end.
func xzVarint(r io.ByteReader) (int64, error) {
	var v int64
	for i := range 9 {
		c, err := r.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		v |= int64(c&0x7f) << (7 * i)
		if c&0x80 == 0 {
			if c == 0 && i > 0 {
				break
			}
			return v, nil
		}
	}
	return 0, errXzIndex
}

// readIndex compares the index, whose first byte was taken, with the blocks
// that were read.
func (x *xzReader) readIndex() error {
	x.in.crc, x.in.summing = crc32.ChecksumIEEE([]byte{0}), true
	defer func() { x.in.summing = false }()
	n, err := xzVarint(&x.in)
	if err != nil {
		return err
	}
	if uint64(n) != x.blocks {
		return errXzIndex
	}
	records := sha256.New()
	for range n {
		unpadded, err := xzVarint(&x.in)
		if err != nil {
			return err
		}
		uncompressed, err := xzVarint(&x.in)
		if err != nil {
			return err
		}
		writeRecord(records, unpadded, uncompressed)
	}
	pad := make([]byte, -(x.in.n-x.blockStart)&3)
	if err := x.in.full(pad); err != nil {
		return err
	}
	want := x.in.crc
	x.in.summing = false
	var sum [4]byte
	if err := x.in.full(sum[:]); err != nil {
		return err
	}
	if !allZero(pad) || le.Uint32(sum[:]) != want || !bytes.Equal(records.Sum(nil), x.records.Sum(nil)) {
		return errXzIndex
	}
	return nil
}

// readFooter ends a stream: its flags again, and the size of the index.
func (x *xzReader) readFooter() error {
	index := x.in.n - x.blockStart
	var b [12]byte
	if err := x.in.full(b[:]); err != nil {
		return err
	}
	good := crc32.ChecksumIEEE(b[4:10]) == le.Uint32(b[0:]) &&
		(int64(le.Uint32(b[4:]))+1)*4 == index &&
		b[8] == 0 && b[9] == x.check && b[10] == 'Y' && b[11] == 'Z'
	if !good {
		return errXzFooter
	}
	return nil
}
