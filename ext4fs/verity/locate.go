package verity

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Layout says where things lie in the logical space of a verity file, in
// bytes.
type Layout struct {
	Tree           int64 // where the hash tree starts
	Descriptor     int64 // where the descriptor starts: the tree ends before it
	DescriptorSize int   // with the signature
	End            int64 // of the last extent
}

// Locate finds the descriptor of a file of the given size whose last extent
// ends at end, both in bytes. r reads the logical space up to end. Trouble is
// a *disk.CorruptError without inode, or what r gives.
func Locate(r io.ReaderAt, size, end int64, blockSize int) (Layout, error) {
	bs := int64(blockSize)
	switch {
	case size < 0 || size > math.MaxInt64-disk.VerityAlign:
		return Layout{}, corrupt("size of %d bytes", size)
	case bs < disk.MinBlockSize || bs > disk.MaxBlockSize:
		return Layout{}, corrupt("blocks of %d bytes", blockSize)
	case end%bs != 0 || end < bs:
		return Layout{}, corrupt("blocks end at byte %d", end)
	}
	l := Layout{Tree: roundUp(size, disk.VerityAlign), End: end}
	if l.Tree > end-bs {
		return Layout{}, corrupt("blocks end at byte %d, before a descriptor can be: metadata start at %d", end, l.Tree)
	}
	var word [disk.VerityTrailerSize]byte
	if err := device.ReadFull(r, word[:], end-disk.VerityTrailerSize); err != nil {
		return Layout{}, fmt.Errorf("read size of verity descriptor: %w", err)
	}
	n := binary.LittleEndian.Uint32(word[:])
	if n < disk.VeritySize || n > disk.MaxVeritySize {
		return Layout{}, corrupt("descriptor of %d bytes", n)
	}
	l.DescriptorSize = int(n)
	at := end - disk.VerityTrailerSize - int64(n)
	if at < l.Tree {
		return Layout{}, corrupt("descriptor of %d bytes before byte %d overlaps the content", n, end)
	}
	l.Descriptor = at - at%bs
	if l.Descriptor < l.Tree {
		return Layout{}, corrupt("descriptor at byte %d, metadata start at %d", l.Descriptor, l.Tree)
	}
	return l, nil
}

// ReadDescriptor reads the descriptor that Locate found and checks it against
// the file's size and the room there is for the tree. Trouble is a
// *disk.CorruptError without inode, or what r gives.
func ReadDescriptor(r io.ReaderAt, size int64, l Layout) (*disk.VerityDescriptor, error) {
	if l.DescriptorSize < disk.VeritySize || l.DescriptorSize > disk.MaxVeritySize {
		return nil, corrupt("descriptor of %d bytes", l.DescriptorSize)
	}
	b := make([]byte, l.DescriptorSize)
	if err := device.ReadFull(r, b, l.Descriptor); err != nil {
		return nil, fmt.Errorf("read verity descriptor: %w", err)
	}
	d := new(disk.VerityDescriptor)
	if err := d.Decode(b); err != nil {
		return nil, err
	}
	if d.DataSize != uint64(size) {
		return nil, corrupt("descriptor is for %d bytes, the file has %d", d.DataSize, size)
	}
	t, err := newShape(d)
	if err != nil {
		return nil, err
	}
	if t.bytes() > l.Descriptor-l.Tree {
		return nil, corrupt("tree of %d bytes where %d are left", t.bytes(), l.Descriptor-l.Tree)
	}
	return d, nil
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

func corrupt(format string, args ...any) error {
	return &disk.CorruptError{What: "verity metadata", Detail: fmt.Sprintf(format, args...)}
}
