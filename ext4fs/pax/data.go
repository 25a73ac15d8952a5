package pax

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// regular writes a regular file.
func (t *Writer) regular(ctx context.Context, i *ext4fs.Inode, name, path string) error {
	size := i.Size()
	if i.Flags().Has(disk.FlagEncrypt) && size > 0 {
		if _, err := i.ReadAt(t.buf[:1], 0); err != nil {
			t.fail(path, err)
			return nil
		}
	}
	h := &header{name: name, kind: TypeRegular, size: size}
	var m sparseMap
	if !t.o.NoSparse && size > 0 {
		var err error
		if m, err = measure(i, size); err != nil {
			t.fail(path, err)
			return nil
		}
	}
	if m.holes {
		h.size = m.mapBytes + m.data
		h.records = sparseRecords(name, size)
		h.name = sparseName(name)
	}
	if err := t.member(h, i, path); err != nil {
		return err
	}
	start := t.count
	var bad error
	if m.holes {
		bad = t.sparse(ctx, i, m, size)
	} else {
		bad = t.span(ctx, i, ext4fs.Span{Off: 0, Len: size})
	}
	if err := t.fill(start, h.size); err != nil {
		return err
	}
	if bad == nil {
		return nil
	}
	if err, ok := bad.(*streamError); ok {
		return err.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	t.fail(path, bad)
	return nil
}

// streamError is a failure of the output, not of the image.
type streamError struct{ err error }

func (e *streamError) Error() string { return e.err.Error() }

// fill brings the data of a member that began at start to its size and to the
// end of a block.
func (t *Writer) fill(start, size int64) error {
	for missing := start + size + padding(size) - t.count; missing > 0; {
		k := min(missing, int64(len(t.buf)))
		clear(t.buf[:k])
		if err := t.write(t.buf[:k]); err != nil {
			return err
		}
		missing -= k
	}
	return nil
}

// span writes a run of a file's bytes.
func (t *Writer) span(ctx context.Context, i *ext4fs.Inode, s ext4fs.Span) error {
	for done := int64(0); done < s.Len; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := t.buf[:min(int64(len(t.buf)), s.Len-done)]
		k, err := i.ReadAt(p, s.Off+done)
		if k < len(p) {
			if err == nil || err == io.EOF {
				err = fmt.Errorf("at byte %d: %w", s.Off+done+int64(k), io.ErrUnexpectedEOF)
			}
			return err
		}
		if err := t.write(p); err != nil {
			return &streamError{err}
		}
		done += int64(k)
		t.bytes += int64(k)
		t.progress("")
	}
	return nil
}

// sparseMap sums up the pieces of a file with holes.
type sparseMap struct {
	holes    bool
	pieces   int64 // with the one that marks the end
	data     int64
	mapBytes int64 // of the map as it is written, whole blocks
}

// measure looks through a file for holes. Pieces are counted and not kept: a
// file may have millions.
func measure(i *ext4fs.Inode, size int64) (sparseMap, error) {
	var m sparseMap
	digits, end := int64(0), int64(0)
	for s, err := range i.Data() {
		if err != nil {
			return m, err
		}
		m.holes = m.holes || s.Off != end
		m.pieces++
		m.data += s.Len
		digits += int64(len(decimal(s.Off)) + len(decimal(s.Len)) + 2)
		end = s.Off + s.Len
	}
	m.holes = m.holes || end != size
	if end != size || m.pieces == 0 {
		m.pieces++
		digits += int64(len(decimal(size)) + len("0") + 2)
	}
	digits += int64(len(decimal(m.pieces)) + 1)
	m.mapBytes = digits + padding(digits)
	return m, nil
}

func sparseRecords(name string, size int64) []record {
	return []record{
		{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"},
		{"GNU.sparse.name", name}, {"GNU.sparse.realsize", decimal(size)},
	}
}

// sparseName is what the member is called for readers that do not know holes.
func sparseName(name string) string {
	i := strings.LastIndexByte(name, '/') + 1
	return name[:i] + "GNUSparseFile.0/" + name[i:]
}

// sparse writes the map and the pieces.
func (t *Writer) sparse(ctx context.Context, i *ext4fs.Inode, m sparseMap, size int64) error {
	start := t.count
	line := func(n int64) error { return t.write([]byte(decimal(n) + "\n")) }
	err := line(m.pieces)
	end := int64(0)
	for s, dataErr := range i.Data() {
		if dataErr != nil {
			return dataErr
		}
		if err == nil {
			err = line(s.Off)
		}
		if err == nil {
			err = line(s.Len)
		}
		end = s.Off + s.Len
	}
	if err == nil && end != size {
		if err = line(size); err == nil {
			err = line(0)
		}
	}
	if err == nil {
		err = t.fill(start, m.mapBytes)
	}
	if err != nil {
		return &streamError{err}
	}
	for s, dataErr := range i.Data() {
		if dataErr != nil {
			return dataErr
		}
		if err := t.span(ctx, i, s); err != nil {
			return err
		}
	}
	return nil
}
