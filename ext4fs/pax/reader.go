package pax

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	// maxRecords bounds the extended headers of one member, maxNames GNU's
	// long names, maxGlobal what global headers leave behind, all in bytes.
	maxRecords = 16 << 20
	maxNames   = 1 << 20
	maxGlobal  = 1 << 20
	// maxGlobals bounds the global records, maxPieces the pieces of a sparse
	// member.
	maxGlobals = 4096
	maxPieces  = 1 << 22
	// maxStored bounds the data of a member, so that sums stay in range.
	maxStored = 1 << 60
)

// ErrHeader matches every *HeaderError.
var ErrHeader = errors.New("damaged tar header")

// HeaderError says that a header cannot be one. It matches ErrHeader.
type HeaderError struct {
	Offset int64 // in the stream, where the member or its first extended header begins
	Detail string
}

func (e *HeaderError) Error() string {
	return fmt.Sprintf("%v at byte %d: %s", ErrHeader, e.Offset, e.Detail)
}

// Is reports whether target is ErrHeader.
func (e *HeaderError) Is(target error) bool { return target == ErrHeader }

// Span is a run of bytes of a file.
type Span struct{ Off, Len int64 }

// Header is what is known of a member, extended headers included. Names are as
// the stream has them: see SplitName.
type Header struct {
	Name, Link   string
	Type         byte  // one of the constants, or what else the stream says
	Mode         int64 // may have bits of the type, which do not count
	UID, GID     int64 // may be anything
	Size         int64 // of the content, with its holes
	Major, Minor int64
	// Mtime, and Atime and Ctime, which are zero where the stream does not
	// have them.
	Mtime, Atime, Ctime time.Time

	// Offset is where the data begins in the stream, Stored its length.
	Offset, Stored int64
	// Sparse members have only Pieces stored, one after the other: not empty,
	// ascending, apart and within Size. The rest is zeros.
	Sparse bool
	Pieces []Span

	local  map[string]string
	global *globals
}

// Record returns the value of a keyword of the member's extended headers, or
// of a global one before it.
func (h *Header) Record(key string) (value string, ok bool) {
	value, ok = h.local[key]
	if !ok && h.global != nil {
		value, ok = h.global.values[key]
	}
	return value, ok && (value != "" || isXattrKey(key))
}

// globals are the records that count for all members that follow. It is not
// changed once a Header refers to it.
type globals struct {
	values map[string]string
	xattrs []string // those keywords that are attributes
	size   int
}

// Reader reads the members of a stream as GNU, ustar, v7, star and PAX write
// them. Unlike archive/tar it gives the map of sparse members, so that a hole
// costs nothing however large, and says where the data lies. It is for one
// goroutine.
//
// The stream is not trusted: extended headers of more than 16 MiB for one
// member, long names of more than 1 MiB, more than 1 MiB of global records, or
// 4194304 pieces of a sparse member are a *HeaderError. A stream that breaks
// off is io.ErrUnexpectedEOF.
type Reader struct {
	r      io.Reader
	at     *atReader // when r is one
	pos    int64     // in the stream
	start  int64     // of the member's first header
	left   int64     // of the data
	pad    int64
	budget int // for extended headers
	global *globals
	block  [blockSize]byte
}

// NewReader returns a reader of a stream, which it reads in small pieces: give
// it a buffer.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// NewReaderAt returns a reader of a stream that can be read anywhere; data that
// is not asked for is not read. size is its length, or negative when that is
// not known; then ReadAt says where the end is.
func NewReaderAt(r io.ReaderAt, size int64) *Reader {
	at := &atReader{r: r, size: size}
	return &Reader{r: at, at: at}
}

// Read reads data of the last member, for a sparse one its pieces without the
// holes between.
func (t *Reader) Read(p []byte) (int, error) {
	if t.left == 0 {
		return 0, io.EOF
	}
	n, err := t.r.Read(p[:min(int64(len(p)), t.left)])
	t.left -= int64(n)
	t.pos += int64(n)
	if err == io.EOF && t.left > 0 {
		err = io.ErrUnexpectedEOF
	} else if err == io.EOF {
		err = nil
	}
	return n, err
}

// Next goes to the next member. io.EOF is the end of the stream; the bytes
// after its mark are not read.
func (t *Reader) Next() (*Header, error) {
	var records []record
	var name, link string
	t.budget = maxRecords
	for extended := false; ; extended = true {
		if err := t.skip(); err != nil {
			return nil, err
		}
		if !extended {
			t.start = t.pos
		}
		h, err := t.header()
		if err == io.EOF && extended {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		switch h.Type {
		case typeExtended, typeOldRecords:
			records, err = t.extended(records)
		case typeGlobal:
			err = t.addGlobal()
		case typeLongName:
			name, err = t.longName()
		case typeLongLink:
			link, err = t.longName()
		default:
			if name != "" {
				h.Name = name
			}
			if link != "" {
				h.Link = link
			}
			if err := t.complete(h, records); err != nil {
				return nil, err
			}
			h.Offset, h.Stored = t.pos, t.left
			return h, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// bad is an error of the header at hand.
func (t *Reader) bad(format string, args ...any) error {
	return &HeaderError{Offset: t.start, Detail: fmt.Sprintf(format, args...)}
}

// skip goes to the end of the last member.
func (t *Reader) skip() error {
	n := t.left + t.pad
	if n == 0 {
		return nil
	}
	var err error
	if t.at != nil {
		err = t.at.skip(n)
	} else {
		_, err = io.CopyN(io.Discard, t.r, n)
	}
	t.pos += n
	t.left, t.pad = 0, 0
	return noEOF(err)
}

// all reads the data of an extended header.
func (t *Reader) all(most int) ([]byte, error) {
	if t.left > int64(most) {
		return nil, t.bad("%d bytes of extended header", t.left)
	}
	p := make([]byte, t.left)
	_, err := io.ReadFull(t, p)
	return p, noEOF(err)
}

// longName reads a name in GNU's own form.
func (t *Reader) longName() (string, error) {
	text, err := t.all(maxNames)
	if err != nil {
		return "", err
	}
	text, _, _ = bytes.Cut(text, []byte{0})
	return string(text), nil
}

// full reads a block.
func (t *Reader) full() error {
	n, err := io.ReadFull(t.r, t.block[:])
	t.pos += int64(n)
	return err
}

// header reads a header block and says how much data follows.
func (t *Reader) header() (*Header, error) {
	if err := t.full(); err != nil {
		return nil, err
	}
	b := t.block[:]
	if b[0] == 0 && isZero(b) {
		return nil, io.EOF // one is enough
	}
	if !sumOK(b) {
		return nil, t.bad("wrong checksum")
	}
	n := numbers{b: b}
	h := &Header{
		Name: fieldText(b[0:100]), Link: fieldText(b[157:257]), Type: b[156],
		Mode: n.at(100, 8), UID: n.at(108, 8), GID: n.at(116, 8), Size: n.at(124, 12), Mtime: time.Unix(n.at(136, 12), 0),
	}
	switch string(b[257:265]) {
	case "ustar\x0000":
		prefix := fieldText(b[345:500])
		if string(b[508:512]) == "tar\x00" {
			prefix = fieldText(b[345:476]) // star
			h.Atime, h.Ctime = n.timeAt(476), n.timeAt(488)
		}
		if prefix != "" {
			h.Name = prefix + "/" + h.Name
		}
		h.Major, h.Minor = n.at(329, 8), n.at(337, 8)
	case "ustar  \x00":
		h.Major, h.Minor = n.at(329, 8), n.at(337, 8)
		h.Atime, h.Ctime = n.timeAt(345), n.timeAt(357)
	}
	if n.bad || h.Size < 0 || h.Size > maxStored {
		return nil, t.bad("not a number, or out of range")
	}
	if h.Type == typeSparse {
		return h, t.oldSparse(h)
	}
	t.follows(h.Size, h.Type)
	return h, nil
}

// follows says that so much data comes after the header.
func (t *Reader) follows(n int64, kind byte) {
	switch kind {
	case TypeLink, TypeSymlink, TypeChar, TypeBlock, TypeDir, TypeFIFO:
		n = 0
	}
	t.left, t.pad = n, padding(n)
}

// complete applies the records of extended headers.
func (t *Reader) complete(h *Header, records []record) error {
	h.global = t.global
	var offsets []string // of the oldest sparse form, whose keywords repeat
	if len(records) > 0 {
		h.local = make(map[string]string, len(records))
	}
	for _, r := range records {
		if r.key == "GNU.sparse.offset" || r.key == "GNU.sparse.numbytes" {
			offsets = append(offsets, r.value)
		}
		h.local[r.key] = r.value
	}
	stored := h.Size
	size := &stored
	if h.Type == typeSparse {
		h.Type, size = TypeRegular, nil
	}
	if h.local != nil || h.global != nil {
		if err := t.apply(h, size); err != nil {
			return err
		}
	}
	if (h.Type == typeOldRegular || h.Type == TypeRegular && stored == 0) && strings.HasSuffix(h.Name, "/") {
		h.Type = TypeDir // v7 has no type for them
	} else if h.Type == typeOldRegular {
		h.Type = TypeRegular
	}
	if size == nil {
		return nil
	}
	if stored > maxStored {
		return t.bad("%d bytes of data", stored)
	}
	h.Size = stored
	t.follows(stored, h.Type)
	if h.Type != TypeRegular && h.Type != TypeContiguous {
		return nil
	}
	return t.paxSparse(h, offsets)
}

// noEOF is an end where none may be.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func isZero(p []byte) bool {
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}
