package inject

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
)

// Tar streams, as POSIX and GNU tar write them. Unlike archive/tar this gives
// the map of sparse members, so that a hole costs nothing, however large.
//
//	member  = header block, data, padding to 512
//	stream  = members, two blocks of zeros
//	before a member may come extended headers: x and g (PAX records), L and K
//	(long names of GNU)
const (
	tarBlock = 512

	// maxRecords bounds extended headers, maxNames GNU's long names, both in
	// bytes; maxPieces the pieces of a sparse member.
	maxRecords = 16 << 20
	maxNames   = 1 << 20
	maxPieces  = 1 << 22
)

// Types of members.
const (
	tarRegular    = '0'
	tarOldRegular = 0
	tarHard       = '1'
	tarSymlink    = '2'
	tarChar       = '3'
	tarBlockDev   = '4'
	tarDir        = '5'
	tarFIFO       = '6'
	tarContiguous = '7'
	tarSparse     = 'S'
	tarDumpDir    = 'D'
	tarVolume     = 'V'
)

var errTar = errors.New("damaged tar header")

// tarHeader is what is known of a member.
type tarHeader struct {
	name, link   string
	kind         byte
	mode         int64
	uid, gid     int64
	size         int64 // of the content
	mtime, atime time.Time
	major, minor int64
	records      map[string]string
	sparse       bool
	pieces       []ext4fs.Span // of a sparse member: where its data goes
}

// tarReader reads members; Read gives the data of the last one.
type tarReader struct {
	r      io.Reader
	left   int64 // of the data
	pad    int64
	global map[string]string
	block  [tarBlock]byte
}

func (t *tarReader) Read(p []byte) (int, error) {
	if t.left == 0 {
		return 0, io.EOF
	}
	n, err := t.r.Read(p[:min(int64(len(p)), t.left)])
	t.left -= int64(n)
	if err == io.EOF && t.left > 0 {
		err = io.ErrUnexpectedEOF
	} else if err == io.EOF {
		err = nil
	}
	return n, err
}

// next goes to the next member. io.EOF is the end of the stream.
func (t *tarReader) next() (*tarHeader, error) {
	var records []tarRecord
	var name, link string
	for extended := false; ; extended = true {
		if err := t.skip(); err != nil {
			return nil, err
		}
		h, err := t.header()
		if err == io.EOF && extended {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		switch h.kind {
		case 'x', 'g':
			list, err := t.extended()
			if err != nil {
				return nil, err
			}
			if h.kind == 'x' {
				records = append(records, list...)
				continue
			}
			if t.global == nil {
				t.global = make(map[string]string)
			}
			for _, r := range list {
				t.global[r.key] = r.value
			}
		case 'L', 'K':
			text, err := t.all(maxNames)
			if err != nil {
				return nil, err
			}
			text, _, _ = bytes.Cut(text, []byte{0})
			if h.kind == 'L' {
				name = string(text)
			} else {
				link = string(text)
			}
		default:
			if name != "" {
				h.name = name
			}
			if link != "" {
				h.link = link
			}
			return h, t.complete(h, records)
		}
	}
}

// skip goes to the end of the last member.
func (t *tarReader) skip() error {
	_, err := io.CopyN(io.Discard, t.r, t.left+t.pad)
	t.left, t.pad = 0, 0
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// all reads the data of an extended header.
func (t *tarReader) all(most int64) ([]byte, error) {
	if t.left > most {
		return nil, fmt.Errorf("%w: %d bytes of extended header", errTar, t.left)
	}
	p := make([]byte, t.left)
	_, err := io.ReadFull(t, p)
	return p, err
}

// full reads a block.
func (t *tarReader) full() error {
	_, err := io.ReadFull(t.r, t.block[:])
	return err
}

// header reads a header block and says how much data follows.
func (t *tarReader) header() (*tarHeader, error) {
	if err := t.full(); err != nil {
		return nil, err
	}
	b := t.block[:]
	if isZero(b) {
		return nil, io.EOF // one is enough
	}
	if !tarSumOK(b) {
		return nil, fmt.Errorf("%w: wrong checksum", errTar)
	}
	n := tarNumbers{b: b}
	h := &tarHeader{
		name: tarText(b[0:100]), link: tarText(b[157:257]), kind: b[156],
		mode: n.at(100, 8), uid: n.at(108, 8), gid: n.at(116, 8), size: n.at(124, 12), mtime: time.Unix(n.at(136, 12), 0),
	}
	switch string(b[257:265]) {
	case "ustar\x0000":
		prefix := tarText(b[345:500])
		if string(b[508:512]) == "tar\x00" {
			prefix = tarText(b[345:476]) // star
		}
		if prefix != "" {
			h.name = prefix + "/" + h.name
		}
		h.major, h.minor = n.at(329, 8), n.at(337, 8)
	case "ustar  \x00":
		h.major, h.minor = n.at(329, 8), n.at(337, 8)
	}
	if n.bad || h.size < 0 {
		return nil, fmt.Errorf("%w: not a number", errTar)
	}
	switch h.kind {
	case tarOldRegular:
		h.kind = tarRegular
		if strings.HasSuffix(h.name, "/") {
			h.kind = tarDir
		}
	case tarSparse:
		if err := t.oldSparse(h); err != nil {
			return nil, err
		}
		return h, nil
	}
	t.follows(h.size, h.kind)
	return h, nil
}

// follows says that so much data comes after the header.
func (t *tarReader) follows(n int64, kind byte) {
	switch kind {
	case tarHard, tarSymlink, tarChar, tarBlockDev, tarDir, tarFIFO:
		n = 0
	}
	t.left, t.pad = n, -n&(tarBlock-1)
}

func tarText(b []byte) string {
	text, _, _ := bytes.Cut(b, []byte{0})
	return string(text)
}

// tarSumOK compares the sum of the block, with blanks in its own place. Some
// programs have added bytes with a sign.
func tarSumOK(b []byte) bool {
	n := tarNumbers{b: b}
	want := n.at(148, 8)
	var plain, signed int64
	for i, c := range b {
		if i >= 148 && i < 156 {
			c = ' '
		}
		plain += int64(c)
		signed += int64(int8(c))
	}
	return !n.bad && (want == plain || want == signed)
}

// tarNumbers reads the numbers of a header.
type tarNumbers struct {
	b   []byte
	bad bool
}

// at reads octal digits, or base 256 where the first bit is set.
func (n *tarNumbers) at(off, size int) int64 {
	b := n.b[off : off+size]
	if b[0]&0x80 != 0 {
		return n.binary(b)
	}
	text := strings.Trim(string(b), " \x00")
	if text == "" {
		return 0
	}
	text, _, _ = strings.Cut(text, "\x00")
	v, err := strconv.ParseUint(strings.TrimRight(text, " "), 8, 63)
	n.bad = n.bad || err != nil
	return int64(v)
}

func (n *tarNumbers) binary(b []byte) int64 {
	inv := byte(0) // of a negative number all bits are turned
	if b[0]&0x40 != 0 {
		inv = 0xff
	}
	var v uint64
	for i, c := range b {
		c ^= inv
		if i == 0 {
			c &= 0x7f
		}
		if v>>55 != 0 {
			n.bad = true
			return 0
		}
		v = v<<8 | uint64(c)
	}
	if inv != 0 {
		return ^int64(v)
	}
	return int64(v)
}

// oldSparse reads the map in a header of GNU tar's own format.
func (t *tarReader) oldSparse(h *tarHeader) error {
	n := tarNumbers{b: bytes.Clone(t.block[:])}
	stored := h.size
	h.sparse, h.size = true, n.at(483, 12)
	more := n.b[482] != 0
	add := func(off, count int) {
		for k := range count {
			at := off + 24*k
			if n.b[at] == 0 {
				break
			}
			h.pieces = append(h.pieces, ext4fs.Span{Off: n.at(at, 12), Len: n.at(at+12, 12)})
		}
	}
	add(386, 4)
	for more {
		if len(h.pieces) > maxPieces {
			return fmt.Errorf("%w: too many pieces", errTar)
		}
		if err := t.full(); err != nil {
			return noEOF(err)
		}
		n.b = t.block[:]
		add(0, 21)
		more = n.b[504] != 0
	}
	if n.bad {
		return fmt.Errorf("%w: not a number", errTar)
	}
	t.follows(stored, h.kind)
	return t.checkPieces(h)
}

// noEOF is an end where none may be.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// checkPieces checks that the pieces come in order and are what data follows.
func (t *tarReader) checkPieces(h *tarHeader) error {
	var end, sum int64
	for _, p := range h.pieces {
		if p.Off < end || p.Len < 0 || p.Len > h.size || p.Off > h.size-p.Len {
			return fmt.Errorf("%w: the pieces of a sparse file overlap or lie beyond its end", errTar)
		}
		end = p.Off + p.Len
		sum += p.Len
	}
	if sum != t.left {
		return fmt.Errorf("%w: a sparse file has %d bytes, its pieces %d", errTar, t.left, sum)
	}
	return nil
}

// tarRecord is a record of an extended header.
type tarRecord struct{ key, value string }

// extended reads the records "LENGTH KEY=VALUE\n".
func (t *tarReader) extended() ([]tarRecord, error) {
	b, err := t.all(maxRecords)
	if err != nil {
		return nil, noEOF(err)
	}
	bad := fmt.Errorf("%w: bad record in an extended header", errTar)
	var list []tarRecord
	for len(b) > 0 {
		digits, _, ok := bytes.Cut(b[:min(len(b), 20)], []byte{' '})
		n, err := strconv.Atoi(string(digits))
		if !ok || err != nil || n <= len(digits)+1 || n > len(b) || b[n-1] != '\n' {
			return nil, bad
		}
		key, value, ok := bytes.Cut(b[len(digits)+1:n-1], []byte{'='})
		if !ok || len(key) == 0 {
			return nil, bad
		}
		list = append(list, tarRecord{string(key), string(value)})
		b = b[n:]
	}
	return list, nil
}

// complete applies the records of extended headers.
func (t *tarReader) complete(h *tarHeader, records []tarRecord) error {
	h.records = make(map[string]string, len(t.global)+len(records))
	for k, v := range t.global {
		h.records[k] = v
	}
	var offsets []string // of the oldest sparse form, whose keys repeat
	for _, r := range records {
		if r.key == "GNU.sparse.offset" || r.key == "GNU.sparse.numbytes" {
			offsets = append(offsets, r.value)
		}
		if r.value == "" && !strings.HasPrefix(r.key, paxXattr) && !strings.HasPrefix(r.key, libXattr) {
			delete(h.records, r.key)
		} else {
			h.records[r.key] = r.value
		}
	}
	if h.kind == tarSparse {
		h.kind = tarRegular
		return t.plain(h, nil)
	}
	stored := h.size
	if err := t.plain(h, &stored); err != nil {
		return err
	}
	t.follows(stored, h.kind)
	h.size = stored
	return t.paxSparse(h, offsets)
}

// plain applies what is not about holes. size is that of the data.
func (t *tarReader) plain(h *tarHeader, size *int64) error {
	text := func(key string, to *string) {
		if v, ok := h.records[key]; ok {
			*to = v
		}
	}
	text("path", &h.name)
	text("linkpath", &h.link)
	for _, f := range []struct {
		key string
		to  *int64
	}{{"uid", &h.uid}, {"gid", &h.gid}, {"size", size}, {"SCHILY.devmajor", &h.major}, {"SCHILY.devminor", &h.minor}} {
		v, ok := h.records[f.key]
		if !ok || f.to == nil {
			continue
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("%w: %s=%q", errTar, f.key, v)
		}
		*f.to = n
	}
	for _, f := range []struct {
		key string
		to  *time.Time
	}{{"mtime", &h.mtime}, {"atime", &h.atime}} {
		if v, ok := h.records[f.key]; ok {
			var err error
			if *f.to, err = parsePAXTime(v); err != nil {
				return err
			}
		}
	}
	return nil
}

// parsePAXTime reads decimal seconds; digits beyond nanoseconds do not count.
func parsePAXTime(s string) (time.Time, error) {
	whole, part, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.Trim(part, "0123456789") != "" {
		return time.Time{}, fmt.Errorf("%w: time %q", errTar, s)
	}
	ns, _ := strconv.ParseInt((part + "000000000")[:9], 10, 64)
	if strings.HasPrefix(whole, "-") {
		ns = -ns
	}
	return time.Unix(sec, ns), nil
}

// paxSparse finds the map of a sparse member in one of the three forms that
// GNU tar has had for PAX.
func (t *tarReader) paxSparse(h *tarHeader, offsets []string) error {
	size, old := h.records["GNU.sparse.size"], true
	if h.records["GNU.sparse.major"] == "1" && h.records["GNU.sparse.minor"] == "0" {
		size, old = h.records["GNU.sparse.realsize"], false
	}
	if size == "" {
		return nil
	}
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("%w: sparse size %q", errTar, size)
	}
	if name := h.records["GNU.sparse.name"]; name != "" {
		h.name = name
	}
	h.sparse, h.size = true, n
	if !old {
		err = t.sparseMap(h)
	} else {
		if text, ok := h.records["GNU.sparse.map"]; ok {
			offsets = strings.Split(text, ",")
		}
		err = h.addPieces(offsets)
	}
	if err != nil {
		return err
	}
	return t.checkPieces(h)
}

// addPieces takes offsets and lengths in turn.
func (h *tarHeader) addPieces(list []string) error {
	if len(list) == 1 && list[0] == "" {
		return nil
	}
	if len(list)%2 != 0 || len(list)/2 > maxPieces {
		return fmt.Errorf("%w: map of a sparse file", errTar)
	}
	for k := 0; k < len(list); k += 2 {
		off, err := strconv.ParseInt(list[k], 10, 64)
		n, err2 := strconv.ParseInt(list[k+1], 10, 64)
		if err != nil || err2 != nil {
			return fmt.Errorf("%w: map of a sparse file", errTar)
		}
		h.pieces = append(h.pieces, ext4fs.Span{Off: off, Len: n})
	}
	return nil
}

// sparseMap reads the map at the beginning of the data: decimal lines, filled
// up to whole blocks.
func (t *tarReader) sparseMap(h *tarHeader) error {
	var rest []byte
	line := func() (int64, error) {
		var digits []byte
		for {
			if len(rest) == 0 {
				if t.left < tarBlock {
					return 0, fmt.Errorf("%w: map of a sparse file", errTar)
				}
				if _, err := io.ReadFull(t, t.block[:]); err != nil {
					return 0, noEOF(err)
				}
				rest = t.block[:]
			}
			c := rest[0]
			rest = rest[1:]
			if c == '\n' {
				return strconv.ParseInt(string(digits), 10, 64)
			}
			if digits = append(digits, c); len(digits) > 20 {
				return math.MaxInt64, fmt.Errorf("%w: map of a sparse file", errTar)
			}
		}
	}
	count, err := line()
	if err == nil && (count < 0 || count > maxPieces) {
		err = fmt.Errorf("%w: %d pieces", errTar, count)
	}
	for ; err == nil && count > 0; count-- {
		var p ext4fs.Span
		if p.Off, err = line(); err == nil {
			p.Len, err = line()
		}
		h.pieces = append(h.pieces, p)
	}
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, errTar) {
		err = fmt.Errorf("%w: %w", errTar, err)
	}
	return err
}
