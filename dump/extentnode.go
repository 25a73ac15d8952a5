package dump

import (
	"io"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// ExtentNode is one node of an extent tree.
type ExtentNode struct {
	Type       string        `json:"type"`
	Block      uint64        `json:"block"` // 0: the root in the inode
	Magic      uint32        `json:"magic" text:"Magic,hex"`
	Entries    int           `json:"entries" text:"Entries"`
	Max        int           `json:"max" text:"Room"`
	Depth      int           `json:"depth" text:"Depth"`
	Generation uint32        `json:"generation" text:"Generation"`
	Checksum   *Checksum     `json:"checksum,omitempty" text:"Checksum"`
	Leaves     []ExtentLeaf  `json:"leaves,omitempty"`
	Indexes    []ExtentIndex `json:"indexes,omitempty"`
	Problems   []string      `json:"problems,omitempty"`
}

// ExtentLeaf is one entry of a leaf.
type ExtentLeaf struct {
	Logical   uint32 `json:"logical"`
	Physical  uint64 `json:"physical"`
	Length    uint32 `json:"length"`
	Unwritten bool   `json:"unwritten"`
}

// ExtentIndex is one entry of an index node.
type ExtentIndex struct {
	Logical uint32 `json:"logical"`
	Child   uint64 `json:"child"`
}

// extentNode takes a node apart: the root for block 0.
func (im *Image) extentNode(b []byte, block disk.BlockNum) *ExtentNode {
	n := disk.ExtentNode(b)
	v := &ExtentNode{
		Type: "extent_node", Block: uint64(block), Magic: uint32(n.Magic()), Entries: n.Entries(), Max: n.Max(),
		Depth: n.Depth(), Generation: n.Generation(),
	}
	if p := n.HeaderProblem(-1); p != "" {
		v.Problems = append(v.Problems, p)
		return v
	}
	if p := n.EntriesProblem(disk.BlockNum(im.super.FirstDataBlock), disk.BlockNum(im.super.Blocks())); p != "" {
		v.Problems = append(v.Problems, p)
	}
	for k := range n.Entries() { // at most Capacity, says HeaderProblem
		if n.Depth() > 0 {
			x := n.Index(k)
			v.Indexes = append(v.Indexes, ExtentIndex{uint32(x.Logical), uint64(x.Child)})
			continue
		}
		l := n.Leaf(k)
		v.Leaves = append(v.Leaves, ExtentLeaf{uint32(l.Logical), uint64(l.Physical), l.Len, l.Unwritten})
	}
	return v
}

// WriteText writes the node's header and its entries.
func (v *ExtentNode) WriteText(w io.Writer) error {
	return render(w, func(p *printer) { v.print(p) })
}

func (v *ExtentNode) print(p *printer) {
	p.fields(v)
	var rows [][]string
	if len(v.Leaves) > 0 {
		rows = append(rows, []string{"logical", "physical", "length", "flags"})
		for _, l := range v.Leaves {
			flags := ""
			if l.Unwritten {
				flags = "unwritten"
			}
			rows = append(rows, []string{span(l.Logical, l.Length), span(l.Physical, l.Length), utoa(l.Length), flags})
		}
	}
	if len(v.Indexes) > 0 {
		rows = append(rows, []string{"from logical", "child block"})
		for _, x := range v.Indexes {
			rows = append(rows, []string{utoa(x.Logical), utoa(x.Child)})
		}
	}
	p.table("rrr", rows)
	p.problems(v.Problems)
}

// span is n numbers from first on.
func span[T ~uint32 | ~uint64](first T, n uint32) string {
	if n == 0 {
		return utoa(first) + "-"
	}
	return newRange(uint64(first), uint64(n)).String()
}
