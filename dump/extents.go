package dump

import (
	"encoding/base64"
	"fmt"
	"io"
	"iter"
	"strconv"
	"unicode/utf8"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// Extent is one run of a file: of blocks, of a hole, or its inline data.
type Extent struct {
	Inode      uint32   `json:"inode"`
	Path       string   `json:"path,omitempty"`
	PathBase64 string   `json:"path_base64,omitempty"` // where path is no UTF-8
	Logical    uint32   `json:"logical"`
	Physical   *uint64  `json:"physical"` // null for holes and inline data
	Length     uint32   `json:"length"`   // blocks; 0 for inline data
	Flags      []string `json:"flags"`    // unwritten, hole, inline
}

// Extents yields the runs of inode n in logical order. With holes, the blocks
// up to the end of the file that are not mapped come too. After an error the
// sequence ends.
func (im *Image) Extents(n disk.InodeNum, holes bool) iter.Seq2[extent.Extent, error] {
	return func(yield func(extent.Extent, error) bool) {
		i, err := im.inode(n)
		if err != nil {
			yield(extent.Extent{}, err)
			return
		}
		end := uint64(0)
		for e, err := range i.Extents() {
			if err != nil {
				yield(extent.Extent{}, err)
				return
			}
			if e.Flags&extent.FlagInline != 0 {
				yield(e, nil)
				return
			}
			if holes && uint64(e.Logical) > end && !yield(holeTo(end, uint64(e.Logical)), nil) {
				return
			}
			if !yield(e, nil) {
				return
			}
			end = e.End()
		}
		if holes && i.IsRegular() {
			size, bs := uint64(i.Size()), uint64(im.blockSize())
			if n := min(size/bs+min(size%bs, 1), uint64(disk.MaxLogical)+1); n > end {
				yield(holeTo(end, n), nil)
			}
		}
	}
}

func holeTo(from, to uint64) extent.Extent {
	return extent.Extent{Logical: disk.LogicalNum(from), Len: uint32(to - from), Flags: extent.FlagHole}
}

// NewExtent makes the value of one run.
func NewExtent(n disk.InodeNum, path string, e extent.Extent) *Extent {
	v := &Extent{Inode: uint32(n), Path: path, Logical: uint32(e.Logical), Length: e.Len, Flags: extentFlags(e.Flags)}
	if !utf8.ValidString(path) {
		v.Path, v.PathBase64 = validText([]byte(path)), base64.StdEncoding.EncodeToString([]byte(path))
	}
	if e.Flags&extent.FlagInline != 0 {
		v.Length = 0
	}
	if e.Flags&(extent.FlagHole|extent.FlagInline) == 0 {
		p := uint64(e.Physical)
		v.Physical = &p
	}
	return v
}

var extentFlagNames = []string{"unwritten", "hole", "inline"}

func extentFlags(f extent.Flags) []string {
	list := []string{}
	for i, name := range extentFlagNames {
		if f&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	return list
}

// AppendExtentJSON appends what json.Marshal makes of NewExtent, and a
// newline. path is what AppendPathJSON makes; nil leaves it out.
func AppendExtentJSON(b []byte, n disk.InodeNum, path []byte, e extent.Extent) []byte {
	b = append(b, `{"inode":`...)
	b = strconv.AppendUint(b, uint64(n), 10)
	b = append(b, path...)
	b = append(b, `,"logical":`...)
	b = strconv.AppendUint(b, uint64(e.Logical), 10)
	b = append(b, `,"physical":`...)
	length := e.Len
	switch {
	case e.Flags&extent.FlagInline != 0:
		length = 0
		fallthrough
	case e.Flags&extent.FlagHole != 0:
		b = append(b, "null"...)
	default:
		b = strconv.AppendUint(b, uint64(e.Physical), 10)
	}
	b = append(b, `,"length":`...)
	b = strconv.AppendUint(b, uint64(length), 10)
	b = append(b, `,"flags":[`...)
	comma := false
	for i, name := range extentFlagNames {
		if e.Flags&(1<<i) == 0 {
			continue
		}
		if comma {
			b = append(b, ',')
		}
		comma = true
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, '"')
	}
	return append(b, "]}\n"...)
}

// ExtentHeading is the heading of the lines that AppendExtentText makes.
const ExtentHeading = "     inode    logical        physical      length  flags\n"

// AppendExtentText appends a run as one line of a table. path may be empty.
func AppendExtentText(b []byte, n disk.InodeNum, path []byte, e extent.Extent) []byte {
	b = appendRight(b, uint64(n), 10)
	b = appendRight(b, uint64(e.Logical), 11)
	length := uint64(e.Len)
	if e.Flags&(extent.FlagHole|extent.FlagInline) != 0 {
		b = append(b, "               -"...)
		if e.Flags&extent.FlagInline != 0 {
			length = 0
		}
	} else {
		b = appendRight(b, uint64(e.Physical), 16)
	}
	b = appendRight(b, length, 12)
	sep := "  "
	for i, name := range extentFlagNames {
		if e.Flags&(1<<i) != 0 {
			b = append(b, sep...)
			b = append(b, name...)
			sep = ","
		}
	}
	if len(path) > 0 {
		if sep == "  " {
			b = append(b, "  -"...)
		}
		b = append(b, ' ', ' ')
		b = append(b, escape(validText(path))...)
	}
	return append(b, '\n')
}

// Fragments counts the pieces that a file lies in. The zero value has seen
// nothing.
type Fragments struct {
	Extents   uint64 `json:"extents"`   // mapped runs
	Blocks    uint64 `json:"blocks"`    // mapped blocks
	Unwritten uint64 `json:"unwritten"` // of them not written
	Pieces    uint64 `json:"fragments"` // runs that do not go on where the one before ended
	last      extent.Extent
}

// Add counts a run; they come in logical order. Holes and inline data do not
// count.
func (f *Fragments) Add(e extent.Extent) {
	if e.Flags&(extent.FlagHole|extent.FlagInline) != 0 {
		return
	}
	f.Extents++
	f.Blocks += uint64(e.Len)
	if e.Flags&extent.FlagUnwritten != 0 {
		f.Unwritten += uint64(e.Len)
	}
	// A hole whose room on the disk was left free does not cut the file.
	l := f.last
	if f.Extents == 1 || e.Physical != l.Physical+disk.BlockNum(l.Len) &&
		e.Physical-l.Physical != disk.BlockNum(e.Logical-l.Logical) {
		f.Pieces++
	}
	f.last = e
}

// Ideal is the fewest fragments that so many blocks can lie in, where longest
// is what LongestRun gives.
func Ideal(blocks, longest uint64) uint64 {
	if longest == 0 {
		return 0
	}
	return (blocks + longest - 1) / longest
}

// TreeNode is a block of a file's block map.
type TreeNode struct {
	Type     string   `json:"type"`
	Inode    uint32   `json:"inode"`
	Block    uint64   `json:"block"`
	Parent   uint64   `json:"parent"` // 0: the inode
	Depth    int      `json:"depth"`  // 0: a leaf
	Logical  uint32   `json:"logical"`
	Entries  int      `json:"entries"`
	Max      int      `json:"max"`
	Checksum Checksum `json:"checksum"`
}

// Tree yields the blocks that the map of inode n takes, parents before
// children. After an error the sequence ends.
func (im *Image) Tree(n disk.InodeNum) iter.Seq2[*TreeNode, error] {
	return func(yield func(*TreeNode, error) bool) {
		i, err := im.inode(n)
		if err != nil {
			yield(nil, err)
			return
		}
		m, err := i.Map()
		if err != nil {
			yield(nil, err)
			return
		}
		for node, err := range m.Nodes() {
			if err != nil {
				yield(nil, err)
				return
			}
			kept, stored, computed := node.HasChecksum, node.Stored, node.Computed
			if !kept && im.csum && i.Flags().Has(disk.FlagExtents) {
				// The map was opened with checksums ignored.
				if b, err := im.block(node.Block); err == nil {
					stored, computed, _ = disk.VerifyExtentBlock(im.inodeSeed(i), b)
					kept = true
				}
			}
			v := &TreeNode{Type: "tree_node", Inode: uint32(n), Block: uint64(node.Block), Parent: uint64(node.Parent),
				Depth: node.Depth, Logical: uint32(node.Logical), Entries: node.Entries, Max: node.Max,
				Checksum: newChecksum(kept, stored, computed)}
			if !yield(v, nil) {
				return
			}
		}
	}
}

// WriteText writes the node in one line.
func (v *TreeNode) WriteText(w io.Writer) error {
	return render(w, func(p *printer) {
		kind := "leaf "
		if v.Depth > 0 {
			kind = "index"
		}
		parent := "inode"
		if v.Parent != 0 {
			parent = "block " + utoa(v.Parent)
		}
		p.linef("%s in block %d, depth %d, from logical block %d, %d of %d entries, below %s, checksum %s",
			kind, v.Block, v.Depth, v.Logical, v.Entries, v.Max, parent, v.Checksum)
	})
}

// AppendPathJSON appends the path members of an extent's JSON, for
// AppendExtentJSON.
func AppendPathJSON(b, path []byte) []byte {
	b = append(b, `,"path":`...)
	if utf8.Valid(path) {
		return appendJSONString(b, path)
	}
	b = appendJSONString(b, []byte(validText(path)))
	b = append(b, `,"path_base64":"`...)
	b = base64.StdEncoding.AppendEncode(b, path)
	return append(b, '"')
}

// appendJSONString appends s, which is UTF-8, as a JSON string in the form
// that encoding/json has without HTML escapes.
func appendJSONString(b, s []byte) []byte {
	return append(appendJSONText(append(b, '"'), s), '"')
}

// appendJSONText is appendJSONString without the quotes.
func appendJSONText(b, s []byte) []byte {
	for len(s) > 0 {
		n := 0
		for n < len(s) && s[n] >= 0x20 && s[n] < 0x80 && s[n] != '"' && s[n] != '\\' {
			n++
		}
		b = append(b, s[:n]...)
		if s = s[n:]; len(s) == 0 {
			break
		}
		r, size := utf8.DecodeRune(s)
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r < 0x20 || r == 0x2028 || r == 0x2029:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = append(b, s[:size]...)
		}
		s = s[size:]
	}
	return b
}
