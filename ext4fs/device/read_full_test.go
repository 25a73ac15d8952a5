package device

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadFull(t *testing.T) {
	r := strings.NewReader("content")
	for _, tt := range []struct {
		off  int64
		n    int
		want error
	}{{0, 7, nil}, {3, 4, nil}, {7, 0, nil}, {3, 5, io.ErrUnexpectedEOF}, {7, 1, io.ErrUnexpectedEOF}, {9, 1, io.ErrUnexpectedEOF}} {
		if err := ReadFull(r, make([]byte, tt.n), tt.off); err != tt.want {
			t.Errorf("%d bytes at %d: %v, want %v", tt.n, tt.off, err, tt.want)
		}
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

func TestReadSome(t *testing.T) {
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		r    io.Reader
		n    int
		want error
	}{
		"all":      {strings.NewReader("content"), 4, nil},
		"slowly":   {iotest.OneByteReader(strings.NewReader("content")), 4, nil},
		"the end":  {strings.NewReader("abc"), 3, io.EOF},
		"cut off":  {io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(io.ErrUnexpectedEOF)), 3, io.ErrUnexpectedEOF},
		"broken":   {io.MultiReader(strings.NewReader("a"), iotest.ErrReader(broken)), 1, broken},
		"standing": {idle{}, 0, io.ErrNoProgress},
	} {
		if n, err := ReadSome(tt.r, make([]byte, 4)); n != tt.n || err != tt.want {
			t.Errorf("%s: %d, %v, want %d, %v", name, n, err, tt.n, tt.want)
		}
	}
}
