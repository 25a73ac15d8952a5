package tree

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/host"
)

// Span is a part of a file that is not a hole: Off and Len in bytes.
type Span = host.Span

// File is the content of a regular file, open for reading. Several goroutines
// may read at once.
type File interface {
	io.ReaderAt
	io.Closer
	// Host gives, if the content is part of a file of the host, that file and
	// where the content begins in it: for copy_file_range(2). The file is
	// closed with this one.
	Host() (f *os.File, off int64, ok bool)
}

// Content is where the content of one file comes from. It must be safe for
// concurrent use.
type Content interface {
	// Open opens the content. Where it turns out shorter than the node's
	// Size, reading gives io.EOF or io.ErrUnexpectedEOF.
	Open() (File, error)
	// Spans are the parts that are not holes, in order and apart; nil means
	// that there is no hole.
	Spans() ([]Span, error)
}

// source gives the content of many files; ref is what it knows a file by.
type source interface {
	open(ref uint64, n *Node) (File, error)
	spans(ref uint64, n *Node) ([]Span, error)
}

// addSource makes a source known, for setContent.
func (t *Tree) addSource(s source) uint32 {
	t.sources = append(t.sources, s)
	return uint32(len(t.sources) - 1)
}

// setContent says where the content of a regular file comes from, and whether
// that may have holes.
func (t *Tree) setContent(id ID, source uint32, ref uint64, holes bool) {
	n := t.Node(id)
	n.source, n.ref = source+1, ref
	n.bits &^= bitHoles
	if holes {
		n.bits |= bitHoles
	}
}

// SetContent says where the content of a regular file comes from: Size bytes,
// which the caller sets.
func (t *Tree) SetContent(id ID, c Content) error {
	if !t.Node(id).IsRegular() {
		return ErrType
	}
	t.setContent(id, 0, uint64(t.given.add(c)), true)
	return nil
}

// givenContent is the source of what SetContent gave.
type givenContent Tree

func (g *givenContent) open(ref uint64, n *Node) (File, error) {
	f, err := (*g.given.at(uint32(ref))).Open()
	if err != nil {
		return nil, err
	}
	return givenFile{f, n.Size}, nil
}

// givenFile holds an open file to its promised size.
type givenFile struct {
	File
	size int64
}

func (f givenFile) ReadAt(p []byte, off int64) (int, error) {
	return sectionFile{f.File, f.size}.ReadAt(p, off)
}

func (g *givenContent) spans(ref uint64, _ *Node) ([]Span, error) {
	return (*g.given.at(uint32(ref))).Spans()
}

// Open opens the content of a regular file: the first Size bytes of it count.
// If it is shorter by now, reading gives io.ErrUnexpectedEOF. Errors are
// *fs.PathError.
func (t *Tree) Open(id ID) (File, error) {
	n := t.Node(id)
	if !n.IsRegular() {
		return nil, pathError("open", t.Path(id), ErrType)
	}
	if n.source == 0 {
		return sectionFile{zeros{}, n.Size}, nil
	}
	f, err := t.sources[n.source-1].open(n.ref, n)
	if err != nil {
		return nil, pathError("open", t.Path(id), bare(err))
	}
	return f, nil
}

// Spans are the parts of a regular file that are not holes, in order, apart,
// and below Size. Nil means that there is no hole; a file that is all hole has
// an empty list. It may read the source. Errors are *fs.PathError.
//
// With Options.ContentHoles the content alone decides: of a file of at least
// 1 MiB the aligned pieces of 64 KiB that are all zeros are holes, and nothing
// else.
func (t *Tree) Spans(id ID) ([]Span, error) {
	n := t.Node(id)
	switch {
	case !n.IsRegular() || n.Size == 0:
		return nil, nil
	case t.contentHoles && n.Size < minHoles:
		return nil, nil
	case n.source == 0:
		return []Span{}, nil
	}
	spans, err := t.sourceSpans(n)
	if err == nil && t.contentHoles {
		spans, err = t.dataOf(id, n, spans)
	}
	if err != nil {
		return nil, pathError("read", t.Path(id), bare(err))
	}
	return spans, nil
}

func (t *Tree) sourceSpans(n *Node) ([]Span, error) {
	if n.bits&bitHoles == 0 {
		return nil, nil
	}
	spans, err := t.sources[n.source-1].spans(n.ref, n)
	if err != nil || spans == nil {
		return nil, err
	}
	return below(spans, n.Size), nil
}

// below cuts spans off at the size, and joins those that touch. All is data:
// nil.
func below(spans []Span, size int64) []Span {
	kept := make([]Span, 0, len(spans))
	for _, s := range spans {
		if s.Off >= size {
			break
		}
		s.Len = min(s.Len, size-s.Off)
		if s.Len <= 0 {
			continue
		}
		if n := len(kept); n > 0 && kept[n-1].Off+kept[n-1].Len == s.Off {
			kept[n-1].Len += s.Len
			continue
		}
		kept = append(kept, s)
	}
	if len(kept) == 1 && kept[0].Off == 0 && kept[0].Len == size {
		return nil
	}
	return slices.Clip(kept)
}

// Holes by content.
const (
	minHoles  = 1 << 20
	holePiece = 64 << 10
	holeRead  = 1 << 20 // read at once
)

var zeroPiece [holePiece]byte

// dataOf finds the pieces that are not all zeros. What the source calls a hole
// need not be read.
func (t *Tree) dataOf(id ID, n *Node, known []Span) ([]Span, error) {
	f, err := t.Open(id)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if known == nil {
		known = []Span{{Len: n.Size}}
	}
	buf := make([]byte, holeRead)
	found := []Span{}
	done := int64(0) // up to here all pieces are judged
	for _, s := range known {
		end := min((s.Off+s.Len+holePiece-1)/holePiece*holePiece, n.Size)
		for off := max(done, s.Off/holePiece*holePiece); off < end; {
			p := buf[:min(end-off, holeRead)]
			if err := device.ReadFull(f, p, off); err != nil {
				return nil, err
			}
			found = appendData(found, p, off)
			off += int64(len(p))
			done = off
		}
	}
	return below(found, n.Size), nil
}

// appendData appends the pieces of p, which is at off, that are not zeros.
func appendData(found []Span, p []byte, off int64) []Span {
	for len(p) > 0 {
		n := min(len(p), holePiece)
		if !bytes.Equal(p[:n], zeroPiece[:n]) {
			if k := len(found); k > 0 && found[k-1].Off+found[k-1].Len == off {
				found[k-1].Len += int64(n)
			} else {
				found = append(found, Span{Off: off, Len: int64(n)})
			}
		}
		p, off = p[n:], off+int64(n)
	}
	return found
}

// Bytes is content that is in memory.
func Bytes(b []byte) Content { return byteContent(b) }

type byteContent []byte

func (b byteContent) Open() (File, error) {
	return sectionFile{bytes.NewReader(b), int64(len(b))}, nil
}

func (b byteContent) Spans() ([]Span, error) { return nil, nil }

// sectionFile is a File of something that needs no closing.
type sectionFile struct {
	r    io.ReaderAt
	size int64
}

func (s sectionFile) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fs.ErrInvalid
	}
	if off >= s.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > s.size-off
	if short {
		p = p[:s.size-off]
	}
	n, err := s.r.ReadAt(p, off)
	switch {
	case n < len(p) && (err == nil || err == io.EOF):
		err = io.ErrUnexpectedEOF
	case n == len(p) && short:
		err = io.EOF
	case n == len(p):
		err = nil
	}
	return n, err
}

func (sectionFile) Close() error                  { return nil }
func (sectionFile) Host() (*os.File, int64, bool) { return nil, 0, false }

// zeros reads as zeros.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// ReadFile gives the whole content of a regular file of at most limit bytes.
func (t *Tree) ReadFile(ctx context.Context, id ID, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n := t.Node(id)
	if n.Size > limit {
		return nil, pathError("read", t.Path(id), ErrTooMany)
	}
	f, err := t.Open(id)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := make([]byte, n.Size)
	if err := device.ReadFull(f, p, 0); err != nil {
		return nil, pathError("read", t.Path(id), bare(err))
	}
	return p, nil
}
