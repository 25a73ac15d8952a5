package device

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"syscall"
)

// store takes the content of a decompressed image in order and gives it out by
// offset. Zeros are not kept. The content stays in memory while it is small
// and moves to a temporary file, with holes for the zeros, when it is not.
//
// It is written by one goroutine; when finish has returned it is read by many.
type store struct {
	format string
	o      *Options

	size   int64 // logical
	stored int64 // without zeros

	runs  []run    // in memory: what lies where
	slabs [][]byte // of slabSize bytes each
	used  int64    // bytes of the slabs

	file    *os.File // when it got large
	dir     string
	checked int64 // stored bytes when the free space was last looked at
}

// run is a piece of content in the slabs.
type run struct {
	off int64 // in the image
	n   int64
	pos int64 // in the slabs
}

const (
	slabSize = 1 << 20
	// grain is the size of the smallest hole. Larger ones would miss the
	// zeros between scattered blocks of metadata.
	grain = 4096
	// freeCheck is how often the free space is looked at, in stored bytes.
	freeCheck = 32 << 20
)

var zeros [grain]byte

// append adds p to the end. All calls but the last must have a multiple of
// grain bytes.
func (s *store) append(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), grain)
		if bytes.Equal(p[:n], zeros[:n]) {
			s.size += int64(n)
			p = p[n:]
			continue
		}
		for n < len(p) {
			next := p[n:min(n+grain, len(p))]
			if bytes.Equal(next, zeros[:len(next)]) {
				break
			}
			n += len(next)
		}
		if err := s.keep(p[:n]); err != nil {
			return err
		}
		s.size += int64(n)
		p = p[n:]
	}
	return nil
}

// keep stores p at the current end.
func (s *store) keep(p []byte) error {
	s.stored += int64(len(p))
	if limit := s.o.MaxBytes; limit > 0 && s.stored > limit {
		return &TooLargeError{Format: s.format, Stored: s.stored, Limit: limit}
	}
	if s.file == nil && s.stored > s.o.memoryBytes() {
		if err := s.spill(); err != nil {
			return err
		}
	}
	if s.file != nil {
		return s.write(p, s.size)
	}
	if last := len(s.runs) - 1; last >= 0 && s.runs[last].off+s.runs[last].n == s.size {
		s.runs[last].n += int64(len(p))
	} else {
		s.runs = append(s.runs, run{off: s.size, n: int64(len(p)), pos: s.used})
	}
	for len(p) > 0 {
		at := s.used % slabSize
		if at == 0 {
			s.slabs = append(s.slabs, make([]byte, slabSize))
		}
		n := copy(s.slabs[len(s.slabs)-1][at:], p)
		s.used += int64(n)
		p = p[n:]
	}
	return nil
}

// spill moves what is in memory to a temporary file.
func (s *store) spill() error {
	f, err := os.CreateTemp(s.o.TempDir, "e4kit-image-*")
	if err != nil {
		return fmt.Errorf("temporary file for the %s content: %w", s.format, err)
	}
	s.file, s.dir = f, s.o.TempDir
	if s.dir == "" {
		s.dir = os.TempDir()
	}
	unlinkOpen(f)
	s.checked = -freeCheck // look before the first byte
	for _, r := range s.runs {
		for r.n > 0 {
			piece := s.piece(r.pos, r.n)
			if err := s.write(piece, r.off); err != nil {
				return err
			}
			r.off += int64(len(piece))
			r.pos += int64(len(piece))
			r.n -= int64(len(piece))
		}
	}
	s.runs, s.slabs = nil, nil
	return nil
}

// piece is what lies in one slab of the n bytes at pos.
func (s *store) piece(pos, n int64) []byte {
	slab := s.slabs[pos/slabSize][pos%slabSize:]
	return slab[:min(n, int64(len(slab)))]
}

// write puts p into the file, if the disk has room for it.
func (s *store) write(p []byte, off int64) error {
	if s.stored-s.checked >= freeCheck {
		s.checked = s.stored
		if free, ok := freeSpace(s.file, s.dir); ok && free < FreeSpace {
			return &TooLargeError{Format: s.format, Stored: s.stored, Dir: s.dir}
		}
	}
	if _, err := s.file.WriteAt(p, off); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			return &TooLargeError{Format: s.format, Stored: s.stored, Dir: s.dir}
		}
		return fmt.Errorf("temporary file for the %s content: %w", s.format, err)
	}
	return nil
}

// finish gives a file its full length, which may end in a hole.
func (s *store) finish() error {
	if s.file == nil {
		return nil
	}
	if err := s.file.Truncate(s.size); err != nil {
		return fmt.Errorf("temporary file for the %s content: %w", s.format, err)
	}
	return nil
}

// Close removes the temporary file.
func (s *store) Close() error {
	if s.file == nil {
		return nil
	}
	return closeTemp(s.file)
}

// device is the content, once it is complete.
func (s *store) device() Device {
	if s.file != nil {
		return &hostFile{f: s.file, size: s.size}
	}
	return s
}

// Size is the logical size of the content.
func (s *store) Size() int64 { return s.size }

// ReadAt reads content that is in memory.
func (s *store) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errNegativeOffset
	}
	want := len(p)
	if rest := max(s.size-off, 0); int64(len(p)) > rest {
		p = p[:rest]
	}
	clear(p)
	end := off + int64(len(p))
	i := sort.Search(len(s.runs), func(i int) bool { return s.runs[i].off+s.runs[i].n > off })
	for ; i < len(s.runs) && s.runs[i].off < end; i++ {
		r := s.runs[i]
		skip := max(off-r.off, 0)
		at, pos, n := r.off+skip, r.pos+skip, r.n-skip
		n = min(n, end-at)
		for n > 0 {
			piece := s.piece(pos, n)
			copy(p[at-off:], piece)
			at += int64(len(piece))
			pos += int64(len(piece))
			n -= int64(len(piece))
		}
	}
	if len(p) < want {
		return len(p), io.EOF
	}
	return len(p), nil
}
