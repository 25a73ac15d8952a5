package journal

import (
	"fmt"
	"math"
	"sort"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Log is the journal as a row of blocks. It is safe for concurrent use.
type Log interface {
	// ReadBlocks fills p, whose length is a multiple of the block size, with
	// the blocks from n on.
	ReadBlocks(n uint32, p []byte) error
	// Blocks is the number of blocks that can be read.
	Blocks() uint32
	// Super is the block that starts with the journal superblock: 0 for a
	// journal inside the file system.
	Super() uint32
}

// Run says where consecutive blocks of the journal's file lie.
type Run struct {
	Logical  disk.LogicalNum
	Physical disk.BlockNum
	Len      uint32
}

// NewInternal is the journal that lies in the given runs of dev: the mapping
// of the journal inode, in order. The log ends before the first hole. It is an
// error if there is no first block or if runs overlap or lie outside dev.
func NewInternal(dev device.Device, blockSize int, runs []Run) (Log, error) {
	if err := checkBlockSize(blockSize); err != nil {
		return nil, err
	}
	bad := func(r Run, detail string) error {
		return &disk.CorruptError{What: "journal file", Inode: disk.JournalInode, Block: r.Physical,
			Detail: fmt.Sprintf("run of %d blocks at logical block %d %s", r.Len, r.Logical, detail)}
	}
	blocks := uint64(dev.Size()) / uint64(blockSize)
	l := &mappedLog{dev: dev, blockSize: blockSize}
	for _, r := range runs {
		if r.Len == 0 {
			continue
		}
		if uint64(r.Physical) >= blocks || uint64(r.Len) > blocks-uint64(r.Physical) {
			return nil, bad(r, "lies outside the file system")
		}
		if uint32(r.Logical) < l.blocks {
			return nil, bad(r, "is out of order")
		}
		if uint32(r.Logical) > l.blocks {
			break
		}
		if r.Len > math.MaxUint32-l.blocks {
			return nil, bad(r, "is too long")
		}
		l.add(r)
	}
	if l.blocks == 0 {
		return nil, &disk.CorruptError{What: "journal file", Inode: disk.JournalInode, Detail: "no first block"}
	}
	return l, nil
}

func checkBlockSize(n int) error {
	if n < disk.MinBlockSize || n > disk.MaxBlockSize || n&(n-1) != 0 {
		return fmt.Errorf("journal block size %d: %w", n, disk.ErrUnsupported)
	}
	return nil
}

// mappedLog is a log in known places of one device.
type mappedLog struct {
	dev       device.Device
	blockSize int
	runs      []Run // without gaps, from logical block 0
	blocks    uint32
	super     uint32
}

func (l *mappedLog) add(r Run) {
	l.blocks += r.Len
	if n := len(l.runs); n > 0 {
		last := &l.runs[n-1]
		if last.Physical+disk.BlockNum(last.Len) == r.Physical {
			last.Len += r.Len
			return
		}
	}
	l.runs = append(l.runs, r)
}

func (l *mappedLog) Blocks() uint32 { return l.blocks }

func (l *mappedLog) Super() uint32 { return l.super }

func (l *mappedLog) ReadBlocks(n uint32, p []byte) error {
	bs := l.blockSize
	if want := uint64(len(p) / bs); len(p)%bs != 0 || uint64(n)+want > uint64(l.blocks) {
		return &BlockError{n, &disk.CorruptError{What: "journal file",
			Detail: fmt.Sprintf("%d bytes at block %d of %d", len(p), n, l.blocks)}}
	}
	for len(p) > 0 {
		r := l.runAt(n)
		skip := n - uint32(r.Logical)
		k := min(len(p)/bs, int(min(r.Len-skip, maxReadBlocks)))
		off := int64(uint64(r.Physical)+uint64(skip)) * int64(bs)
		if err := device.ReadFull(l.dev, p[:k*bs], off); err != nil {
			return &BlockError{n, err}
		}
		p, n = p[k*bs:], n+uint32(k)
	}
	return nil
}

// maxReadBlocks keeps the size of one read inside an int everywhere.
const maxReadBlocks = 1 << 14

// runAt is the run that holds block n, which is below l.blocks.
func (l *mappedLog) runAt(n uint32) Run {
	i := sort.Search(len(l.runs), func(i int) bool { return uint32(l.runs[i].Logical) > n })
	return l.runs[i-1]
}
