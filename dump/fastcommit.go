package dump

import (
	"fmt"
	"io"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/journal"
)

// FastRecord is one record of the fast-commit area. Which fields are there
// depends on Tag.
type FastRecord struct {
	Type     string `json:"type"`
	LogBlock uint32 `json:"log_block"`
	Offset   int    `json:"offset"`
	Length   int    `json:"length"` // of the value
	Tag      string `json:"tag"`

	Inode       *uint32     `json:"inode,omitempty" text:"inode"`
	Parent      *uint32     `json:"parent,omitempty" text:"parent"`
	Name        *Name       `json:"entry,omitempty" text:"name"`
	Extent      *ExtentLeaf `json:"extent,omitempty"`
	Removed     *ExtentLeaf `json:"removed,omitempty"`
	Features    *uint32     `json:"features,omitempty" text:"features,hex"`
	Transaction *uint32     `json:"transaction,omitempty" text:"transaction"`
	Checksum    *Checksum   `json:"checksum,omitempty" text:"checksum"`
	Raw         Bytes       `json:"raw,omitempty" text:"record,omitempty"`
	Problem     string      `json:"problem,omitempty"`
}

func newFastRecord(r *journal.FastRecord, err error) *FastRecord {
	v := &FastRecord{Type: "fast_commit", LogBlock: r.Block, Offset: r.Offset, Length: r.Len}
	if err != nil {
		v.Problem = problem(err)
	}
	if r.Record == nil {
		return v
	}
	v.Tag = r.Record.Tag().String()
	switch x := r.Record.(type) {
	case *disk.FCAddRange:
		v.Inode = number(x.Inode)
		v.Extent = &ExtentLeaf{uint32(x.Extent.Logical), uint64(x.Extent.Physical), x.Extent.Len, x.Extent.Unwritten}
	case *disk.FCDelRange:
		v.Inode = number(x.Inode)
		v.Removed = &ExtentLeaf{Logical: uint32(x.Logical), Length: x.Len}
	case *disk.FCDirent:
		name := newName(x.Name)
		v.Inode, v.Parent, v.Name = number(x.Inode), number(x.Parent), &name
	case *disk.FCInode:
		v.Inode = number(x.Inode)
		v.Raw = append(Bytes(nil), x.Raw...)
	case *disk.FCTail:
		v.Transaction = &x.Transaction
		sum := newChecksum(true, x.Checksum, r.Computed)
		v.Checksum = &sum
	case *disk.FCHead:
		v.Transaction, v.Features = &x.Transaction, &x.Features
	}
	return v
}

func number(n disk.InodeNum) *uint32 {
	v := uint32(n)
	return &v
}

// WriteText writes the record in a line, and its fields below.
func (v *FastRecord) WriteText(w io.Writer) error {
	return render(w, func(p *printer) {
		p.linef("%-12s fast commit %s, %d bytes", fmt.Sprintf("%d:%d", v.LogBlock, v.Offset), v.Tag, v.Length)
		p.block(func() {
			p.fields(v)
			if e := v.Extent; e != nil {
				state := ""
				if e.Unwritten {
					state = ", unwritten"
				}
				p.field("extent", fmt.Sprintf("logical %s, physical %s, %d blocks%s",
					span(e.Logical, e.Length), span(e.Physical, e.Length), e.Length, state))
			}
			if e := v.Removed; e != nil {
				p.field("removed", fmt.Sprintf("logical %s, %d blocks", span(e.Logical, e.Length), e.Length))
			}
			if v.Problem != "" {
				p.linef("! %s", escape(v.Problem))
			}
		})
	})
}
