package device

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// The .xz container, after the file format specification 1.2. It is read here,
// and only its LZMA2 content by the lzma package, because the size of the
// dictionary comes from the file and must be bounded for each block before
// anything is allocated.
//
//	stream = header, blocks, index, footer; streams may follow each other,
//	         with zeros in between, in multiples of 4
//	block  = header (filters), LZMA2 data, padding to 4, check
//	index  = the sizes of all blocks

const xzFormat = "xz"

var xzMagic = []byte{0xfd, '7', 'z', 'X', 'Z', 0}

var (
	errXzHeader = errors.New("bad stream header")
	errXzBlock  = errors.New("bad block header")
	errXzIndex  = errors.New("bad index")
	errXzFooter = errors.New("bad stream footer")
	errXzCheck  = errors.New("wrong check value of a block")
	errXzSize   = errors.New("wrong size of a block")
)

// xzReader decodes all streams of a file.
type xzReader struct {
	in    xzInput
	check byte // of the current stream
	sum   hash.Hash
	data  *lzma.Reader2 // of the current block; nil between blocks

	header       xzBlockHeader
	blockStart   int64 // where the current block begins
	dataStart    int64
	uncompressed int64

	blocks  uint64    // of the current stream
	records hash.Hash // of their sizes, to compare with the index
	err     error
}

// newXz reads the first stream header.
func newXz(r *countingReader) (io.ReadCloser, error) {
	x := &xzReader{in: xzInput{r: bufio.NewReaderSize(r, inputBuffer)}}
	if err := x.startStream(); err != nil {
		return nil, err
	}
	return x, nil
}

// Close has nothing to free.
func (x *xzReader) Close() error { return nil }

// Read decodes the next bytes.
func (x *xzReader) Read(p []byte) (int, error) {
	if len(p) == 0 || x.err != nil {
		return 0, x.err
	}
	for {
		if x.data == nil {
			if x.err = x.next(); x.err != nil {
				return 0, x.err
			}
			if x.data == nil {
				continue // a stream ended and another one began
			}
		}
		n, err := x.data.Read(p)
		x.sum.Write(p[:n])
		x.uncompressed += int64(n)
		if err == io.EOF {
			err = x.endBlock()
		}
		x.err = err
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next goes on after a block: into the next one, or through index and footer
// to the next stream. io.EOF is the end of the file.
func (x *xzReader) next() error {
	x.blockStart = x.in.n
	first, err := x.in.ReadByte()
	if err != nil {
		return unexpected(err)
	}
	if first != 0 {
		return x.startBlock(first)
	}
	if err := x.readIndex(); err != nil {
		return err
	}
	if err := x.readFooter(); err != nil {
		return err
	}
	return x.nextStream()
}

func (x *xzReader) startStream() error {
	var b [12]byte
	if err := x.in.full(b[:]); err != nil {
		return err
	}
	if !bytes.HasPrefix(b[:], xzMagic) || b[6] != 0 || b[7]&0xf0 != 0 || crc32.ChecksumIEEE(b[6:8]) != le.Uint32(b[8:]) {
		return errXzHeader
	}
	x.check = b[7]
	if x.sum = newXzCheck(x.check); x.sum == nil {
		return &UnsupportedError{Format: xzFormat, Detail: fmt.Sprintf("check type %d", x.check)}
	}
	x.blocks, x.records = 0, sha256.New()
	return nil
}

// nextStream skips padding and starts another stream if there is one.
func (x *xzReader) nextStream() error {
	for {
		head, err := x.in.r.Peek(4)
		switch {
		case len(head) == 0 && err == io.EOF:
			return io.EOF
		case len(head) < 4:
			return unexpected(err)
		case le.Uint32(head) != 0:
			return x.startStream()
		}
		if err := x.in.full(make([]byte, 4)); err != nil {
			return err
		}
	}
}

// newXzCheck is the hash of a check type, nil if it is not known.
func newXzCheck(check byte) hash.Hash {
	switch check {
	case 0:
		return noCheck{}
	case 1:
		return crc32.NewIEEE()
	case 4:
		return crc64.New(crc64.MakeTable(crc64.ECMA))
	case 10:
		return sha256.New()
	}
	return nil
}

// noCheck is the check of streams that have none.
type noCheck struct{}

func (noCheck) Write(p []byte) (int, error) { return len(p), nil }
func (noCheck) Sum(b []byte) []byte         { return b }
func (noCheck) Reset()                      {}
func (noCheck) Size() int                   { return 0 }
func (noCheck) BlockSize() int              { return 1 }

// startBlock reads a block header, whose first byte is its size.
func (x *xzReader) startBlock(size byte) error {
	b := make([]byte, (int(size)+1)*4)
	b[0] = size
	if err := x.in.full(b[1:]); err != nil {
		return err
	}
	body := b[:len(b)-4]
	if crc32.ChecksumIEEE(body) != le.Uint32(b[len(b)-4:]) {
		return errXzBlock
	}
	h, err := parseXzBlock(body)
	if err != nil {
		return err
	}
	if h.dict > maxWindow {
		return &UnsupportedError{Format: xzFormat, Detail: fmt.Sprintf("a dictionary of %d MiB", h.dict>>20)}
	}
	x.header, x.dataStart, x.uncompressed = h, x.in.n, 0
	x.sum.Reset()
	x.data, err = lzma.Reader2Config{DictCap: int(max(h.dict, lzma.MinDictCap))}.NewReader2(&x.in)
	return err
}

// endBlock checks sizes and check value.
func (x *xzReader) endBlock() error {
	x.data = nil
	compressed := x.in.n - x.dataStart
	if h := x.header; h.compressed >= 0 && h.compressed != compressed ||
		h.uncompressed >= 0 && h.uncompressed != x.uncompressed {
		return errXzSize
	}
	pad := make([]byte, -compressed&3)
	if err := x.in.full(pad); err != nil {
		return err
	}
	want := make([]byte, x.sum.Size())
	if err := x.in.full(want); err != nil {
		return err
	}
	if !allZero(pad) || !bytes.Equal(want, x.xzSum()) {
		return errXzCheck
	}
	x.blocks++
	x.record(x.in.n-x.blockStart-int64(len(pad)), x.uncompressed)
	return nil
}

// xzSum is the check value in the byte order of the file: the CRCs are
// little-endian there and big-endian in Go.
func (x *xzReader) xzSum() []byte {
	sum := x.sum.Sum(nil)
	if x.check == 1 || x.check == 4 {
		for i, j := 0, len(sum)-1; i < j; i, j = i+1, j-1 {
			sum[i], sum[j] = sum[j], sum[i]
		}
	}
	return sum
}

// record notes the sizes of a block, as they are or as the index has them.
func (x *xzReader) record(unpadded, uncompressed int64) {
	writeRecord(x.records, unpadded, uncompressed)
}

func writeRecord(h hash.Hash, unpadded, uncompressed int64) {
	var b [16]byte
	le.PutUint64(b[:], uint64(unpadded))
	le.PutUint64(b[8:], uint64(uncompressed))
	h.Write(b[:])
}

// unexpected turns the end of the input into its early end.
func unexpected(err error) error {
	if err == io.EOF || err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

func allZero(b []byte) bool {
	for len(b) > len(zeros) {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return bytes.Equal(b, zeros[:len(b)])
}
