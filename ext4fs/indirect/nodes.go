package indirect

import (
	"iter"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// Nodes streams the pointer blocks; see extent.Map.
func (t *table) Nodes() iter.Seq2[extent.Node, error] {
	return func(yield func(extent.Node, error) bool) {
		c := cursor{t: t}
		base := uint64(direct)
		for depth := range levels {
			if base >= logicalEnd {
				return
			}
			bn := pointer(t.root[:], direct+depth)
			if bn != 0 && !c.nodes(depth, bn, 0, base, yield) {
				return
			}
			base += 1 << (t.shift * uint(depth+1))
		}
	}
}

// nodes yields block bn and the pointer blocks below it; false means stop.
func (c *cursor) nodes(depth int, bn, parent, base uint64, yield func(extent.Node, error) bool) bool {
	data, err := c.enter(depth, bn, base)
	if err != nil {
		yield(extent.Node{}, err)
		return false
	}
	apb := 1 << c.t.shift
	used := 0
	for i := range apb {
		if pointer(data, i) != 0 {
			used++
		}
	}
	n := extent.Node{
		Block: disk.BlockNum(bn), Parent: disk.BlockNum(parent), Depth: depth,
		Logical: disk.LogicalNum(base), Entries: used, Max: apb,
	}
	if !yield(n, nil) {
		return false
	}
	if depth == 0 {
		return true
	}
	shift := c.t.shift * uint(depth)
	for i := range apb {
		at := base + uint64(i)<<shift
		if at >= logicalEnd {
			break
		}
		if child := pointer(data, i); child != 0 && !c.nodes(depth-1, child, bn, at, yield) {
			return false
		}
	}
	return true
}
