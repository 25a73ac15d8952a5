package indirect

import (
	"encoding/binary"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// volume is an image in memory in which block maps are built pointer by
// pointer.
type volume struct {
	t         testing.TB
	blockSize int
	bytes     []byte
	next      uint32 // the next block that a pointer block takes
	root      [rootSize]byte
}

func newVolume(t testing.TB, blockSize, blocks int) *volume {
	return &volume{t: t, blockSize: blockSize, bytes: make([]byte, blockSize*blocks), next: 2}
}

func (v *volume) block(bn uint32) []byte { return v.bytes[int(bn)*v.blockSize:][:v.blockSize] }

// set maps logical block l, making pointer blocks as they are needed.
func (v *volume) set(l uint64, bn uint32) {
	apb := uint64(v.blockSize / pointerSize)
	le := binary.LittleEndian
	if l < direct {
		le.PutUint32(v.root[l*pointerSize:], bn)
		return
	}
	l -= direct
	size := apb
	for depth := range levels {
		if l >= size {
			l -= size
			size *= apb
			continue
		}
		at := v.root[(direct+depth)*pointerSize:]
		for size > 1 {
			if le.Uint32(at) == 0 {
				le.PutUint32(at, v.next)
				v.next++
			}
			b := v.block(le.Uint32(at))
			size /= apb
			at = b[l/size*pointerSize:]
			l %= size
		}
		le.PutUint32(at, bn)
		return
	}
	v.t.Fatalf("logical block out of range")
}

func (v *volume) owner() extent.Owner {
	return extent.Owner{Inode: 12, FirstBlock: 1, Blocks: 1 << 31}
}

func (v *volume) open(o extent.Owner) extent.Map {
	v.t.Helper()
	c := cache.New(device.NewMemory(v.bytes), v.blockSize, uint64(len(v.bytes)/v.blockSize), cache.Options{})
	m, err := New(c, o, v.root[:])
	if err != nil {
		v.t.Fatal(err)
	}
	return m
}

func collect(m extent.Map, l disk.LogicalNum) (out []extent.Extent, err error) {
	for e, err := range m.From(l) {
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
	return out, nil
}

func nodes(m extent.Map) (out []extent.Node, err error) {
	for n, err := range m.Nodes() {
		if err != nil {
			return out, err
		}
		out = append(out, n)
	}
	return out, nil
}
