package extent

import (
	"io"
	"sync/atomic"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// volume is a device of blocks with extent trees in it.
type volume struct {
	t         testing.TB
	blockSize int
	blocks    uint64
	bytes     []byte
	next      disk.BlockNum // the next block that a node takes
	stride    disk.BlockNum // from one node to the next
	seed      uint32
	reads     atomic.Int64
}

func newVolume(t testing.TB, blockSize, blocks int) *volume {
	return &volume{
		t: t, blockSize: blockSize, blocks: uint64(blocks), bytes: make([]byte, blockSize*blocks),
		next: 2, stride: 1, seed: 0x1234,
	}
}

func (v *volume) Size() int64 { return int64(len(v.bytes)) }

func (v *volume) ReadAt(p []byte, off int64) (int, error) {
	v.reads.Add(1)
	n := copy(p, v.bytes[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

var _ device.Device = (*volume)(nil)

func (v *volume) cache() *cache.Cache {
	return cache.New(v, v.blockSize, v.blocks, cache.Options{})
}

func (v *volume) block(bn disk.BlockNum) disk.ExtentNode {
	return v.bytes[int(bn)*v.blockSize:][:v.blockSize]
}

func (v *volume) owner() Owner {
	return Owner{Inode: 12, Seed: v.seed, Verify: true, FirstBlock: 1, Blocks: 1 << 40}
}

func (v *volume) open(root []byte) Map {
	v.t.Helper()
	m, err := New(v.cache(), v.owner(), root)
	if err != nil {
		v.t.Fatal(err)
	}
	return m
}

// build writes a tree with at most perNode entries in a node, of at least the
// given depth, and returns its root.
func (v *volume) build(extents []disk.ExtentLeaf, perNode, depth int) []byte {
	v.t.Helper()
	root := disk.ExtentNode(make([]byte, disk.ExtentRootSize))
	root.Init(0)
	if len(extents) <= disk.ExtentRootMax && depth == 0 {
		root.SetEntries(len(extents))
		for i, e := range extents {
			root.PutLeaf(i, e)
		}
		return root
	}
	var level []disk.ExtentIndex
	for len(extents) > 0 {
		n := min(perNode, len(extents))
		x, node := v.node(0, extents[0].Logical)
		node.SetEntries(n)
		for i, e := range extents[:n] {
			node.PutLeaf(i, e)
		}
		disk.SealExtentBlock(v.seed, node)
		level = append(level, x)
		extents = extents[n:]
	}
	d := 1
	for ; len(level) > disk.ExtentRootMax || d < depth; d++ {
		var above []disk.ExtentIndex
		for len(level) > 0 {
			n := min(perNode, len(level))
			x, node := v.node(d, level[0].Logical)
			node.SetEntries(n)
			for i, y := range level[:n] {
				node.PutIndex(i, y)
			}
			disk.SealExtentBlock(v.seed, node)
			above = append(above, x)
			level = level[n:]
		}
		level = above
	}
	root.Init(d)
	root.SetEntries(len(level))
	for i, x := range level {
		root.PutIndex(i, x)
	}
	return root
}

func (v *volume) node(depth int, key disk.LogicalNum) (disk.ExtentIndex, disk.ExtentNode) {
	x := disk.ExtentIndex{Logical: key, Child: v.next}
	v.next += v.stride
	n := v.block(x.Child)
	n.Init(depth)
	return x, n
}

// reseal makes the checksum of a block good after a change.
func (v *volume) reseal(bn disk.BlockNum) { disk.SealExtentBlock(v.seed, v.block(bn)) }

// gappy is n extents of one block with a hole before each.
func gappy(n int) []disk.ExtentLeaf {
	out := make([]disk.ExtentLeaf, n)
	for i := range out {
		out[i] = disk.ExtentLeaf{Logical: disk.LogicalNum(2*i + 1), Len: 1, Physical: disk.BlockNum(1_000_000 - 3*i)}
	}
	return out
}

func collect(m Map, l disk.LogicalNum) (out []Extent, err error) {
	for e, err := range m.From(l) {
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
	return out, nil
}

func nodes(m Map) (out []Node, err error) {
	for n, err := range m.Nodes() {
		if err != nil {
			return out, err
		}
		out = append(out, n)
	}
	return out, nil
}
