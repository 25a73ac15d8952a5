package extent

import (
	"iter"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// readAhead is how many bytes of adjacent nodes are read at once.
const readAhead = 256 << 10

// From streams the extents; see Map.
func (t *tree) From(l disk.LogicalNum) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		w := walker{t: t, level: -1}
		w.push(t.root[:], 0, logicalEnd, l)
		for w.level >= 0 {
			f := &w.stack[w.level]
			if f.next == f.count {
				w.level--
				continue
			}
			if f.node.Depth() > 0 {
				x, high := w.child()
				n, err := w.load(x, high)
				if err != nil {
					yield(Extent{}, err)
					return
				}
				w.push(n, x.Child, high, l)
				continue
			}
			e := f.node.Leaf(f.next)
			f.next++
			if e.End() > uint64(l) && !yield(fromLeaf(e), nil) {
				return
			}
		}
	}
}

// Nodes streams the blocks of the tree; see Map.
func (t *tree) Nodes() iter.Seq2[Node, error] {
	return func(yield func(Node, error) bool) {
		w := walker{t: t, level: -1}
		w.push(t.root[:], 0, logicalEnd, 0)
		for w.level >= 0 {
			f := &w.stack[w.level]
			if f.next == f.count || f.node.Depth() == 0 {
				w.level--
				continue
			}
			parent := f.block
			x, high := w.child()
			node, n, err := w.inspect(x, high)
			if err != nil {
				yield(Node{}, err)
				return
			}
			node.Parent = parent
			if !yield(node, nil) {
				return
			}
			w.push(n, x.Child, high, 0)
		}
	}
}

// walker holds the way from the root to where a walk is.
type walker struct {
	t      *tree
	stack  [disk.MaxExtentDepth + 1]frame
	level  int // index of the last frame; -1 before the root and when done
	visits uint64
}

// frame is one node on the way.
type frame struct {
	node  disk.ExtentNode
	block disk.BlockNum // 0: the root
	high  uint64        // no key of the node is as large
	count int
	next  int // entry to take
	ahead int // entries before this one were read ahead
}

// push enters a node at the entry that may hold l. The stack cannot overflow:
// the root's depth is bounded and every child's is one less.
func (w *walker) push(n disk.ExtentNode, bn disk.BlockNum, high uint64, l disk.LogicalNum) {
	w.level++
	count := n.Entries()
	w.stack[w.level] = frame{
		node: n, block: bn, high: high, count: count,
		next: max(n.Search(count, l), 0),
	}
}

// child takes the next index of the current node, and says where the keys of
// the node it points to must end.
func (w *walker) child() (x disk.ExtentIndex, high uint64) {
	f := &w.stack[w.level]
	x, high = f.node.Index(f.next), f.high
	if f.next+1 < f.count {
		high = uint64(f.node.Key(f.next + 1))
	}
	if f.next >= f.ahead {
		w.readAhead(f)
	}
	f.next++
	return x, high
}

// readAhead reads the next child and those that lie right behind it.
func (w *walker) readAhead(f *frame) {
	limit := max(readAhead/w.t.cache.BlockSize(), 1)
	first := f.node.Index(f.next).Child
	n := 1
	for n < limit && f.next+n < f.count && f.node.Index(f.next+n).Child == first+disk.BlockNum(n) {
		n++
	}
	if n > 1 {
		w.t.cache.Prefetch(first, n)
	}
	f.ahead = f.next + n
}

// load is tree.load with a bound on the number of nodes of the whole walk: a
// tree of empty leaves has no keys that would bound it.
func (w *walker) load(x disk.ExtentIndex, high uint64) (disk.ExtentNode, error) {
	if err := w.visit(x.Child); err != nil {
		return nil, err
	}
	return w.t.load(x, w.stack[w.level].node.Depth()-1, high)
}

// inspect is load for those who want to see a node with a wrong checksum.
func (w *walker) inspect(x disk.ExtentIndex, high uint64) (Node, disk.ExtentNode, error) {
	t := w.t
	if err := w.visit(x.Child); err != nil {
		return Node{}, nil, err
	}
	buf, err := t.get(x.Child)
	if err != nil {
		return Node{}, nil, err
	}
	n := disk.ExtentNode(buf.Data())
	depth := w.stack[w.level].node.Depth() - 1
	p := n.HeaderProblem(depth)
	if p == "" {
		p = n.EntriesProblem(t.owner.FirstBlock, t.blocks)
	}
	if p != "" {
		return Node{}, nil, t.corrupt(x.Child, "%s", p)
	}
	if err := t.checkRange(x, n, high); err != nil {
		return Node{}, nil, err
	}
	node := Node{
		Block: x.Child, Depth: depth, Logical: x.Logical, Entries: n.Entries(), Max: n.Max(),
		HasChecksum: t.owner.HasChecksum || t.owner.Verify,
	}
	if node.HasChecksum {
		node.Stored, node.Computed, node.ChecksumOK = disk.VerifyExtentBlock(t.owner.Seed, n)
		if buf.Owner() != 0 {
			// The version of a running transaction is sealed at the commit.
			node.Stored, node.ChecksumOK = node.Computed, true
		}
	}
	return node, n, nil
}

func (w *walker) visit(bn disk.BlockNum) error {
	if w.visits++; w.visits > uint64(w.t.blocks) {
		return w.t.corrupt(bn, "more nodes than the file system has blocks, %d", w.t.blocks)
	}
	return nil
}
