package quota_test

import (
	"errors"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// memory is a quota file in memory. Its methods fail when left gets to 0.
type memory struct {
	bs    int
	data  []byte // whole blocks
	size  int64
	left  int // calls of Write and Grow before they fail; below 0 they do not
	wrote map[disk.LogicalNum]bool
}

var errFake = errors.New("injected")

func newMemory(bs int, data []byte) *memory {
	m := &memory{bs: bs, left: -1, wrote: map[disk.LogicalNum]bool{}}
	m.grow(int64(len(data)))
	copy(m.data, data)
	return m
}

func (m *memory) grow(size int64) {
	blocks := (size + int64(m.bs) - 1) / int64(m.bs)
	m.data = append(m.data, make([]byte, max(blocks*int64(m.bs)-int64(len(m.data)), 0))...)
	m.size = size
}

func (m *memory) fail() bool {
	if m.left > 0 {
		m.left--
	}
	return m.left == 0
}

func (m *memory) BlockSize() int { return m.bs }
func (m *memory) Size() int64    { return m.size }

func (m *memory) Read(l disk.LogicalNum) ([]byte, error) {
	return m.data[int(l)*m.bs:][:m.bs:m.bs], nil
}

func (m *memory) Write(_ cache.Tx, l disk.LogicalNum) ([]byte, error) {
	if m.fail() {
		return nil, errFake
	}
	m.wrote[l] = true
	return m.Read(l)
}

func (m *memory) Grow(_ cache.Tx, size int64) error {
	if m.fail() {
		return errFake
	}
	m.grow(size)
	return nil
}
