package dump

import (
	"fmt"
	"io"
	"strings"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// XattrSet is the extended attributes of one place: the inode or a block.
type XattrSet struct {
	Type     string       `json:"type"`
	Inode    uint32       `json:"inode,omitempty" text:"Inode,omitempty"`
	In       string       `json:"in" text:"Place"` // inode or block
	Block    uint64       `json:"block" text:"In block"`
	Offset   int          `json:"offset" text:"At byte"`
	Size     int          `json:"size" text:"Room"`
	Magic    uint32       `json:"magic" text:"Magic,hex"`
	Refs     *uint32      `json:"references,omitempty" text:"References"`
	Blocks   *uint32      `json:"blocks,omitempty" text:"Blocks"`
	Hash     *uint32      `json:"hash,omitempty" text:"Hash,hex"`
	HashSum  *uint32      `json:"hash_computed,omitempty" text:"Computed hash,hex"`
	Checksum Checksum     `json:"checksum" text:"Checksum"`
	Free     int          `json:"free" text:"Free bytes"`
	Entries  []XattrEntry `json:"entries"`
	Problems []string     `json:"problems,omitempty"`
}

// XattrEntry is one extended attribute.
type XattrEntry struct {
	Name                // with its prefix
	Offset      int     `json:"offset"` // in the place
	Index       uint32  `json:"index"`
	Size        uint32  `json:"size"`
	ValueOffset int     `json:"value_offset"` // as stored
	ValueInode  uint32  `json:"value_inode,omitempty"`
	Hash        uint32  `json:"hash"`
	HashState   string  `json:"hash_state"`      // good, bad or none
	Value       *string `json:"value,omitempty"` // where it reads as text
	ValueHex    Bytes   `json:"value_hex,omitempty"`
	ACL         []ACL   `json:"acl,omitempty"`
	Problem     string  `json:"problem,omitempty"`
}

// ACL is one line of an access control list.
type ACL struct {
	Tag  string  `json:"tag"`
	ID   *uint32 `json:"id,omitempty"`
	Perm string  `json:"perm"`
}

// String is the line as getfacl writes it.
func (a ACL) String() string {
	tag, id := a.Tag, ""
	switch tag {
	case "user_obj", "group_obj":
		tag = strings.TrimSuffix(tag, "_obj")
	}
	if a.ID != nil {
		id = utoa(*a.ID)
	}
	return tag + ":" + id + ":" + a.Perm
}

// Xattrs returns the extended attributes of inode n, as they lie in the inode
// and in its block.
func (im *Image) Xattrs(n disk.InodeNum) ([]*XattrSet, error) {
	i, err := im.inode(n)
	if err != nil {
		return nil, err
	}
	var list []*XattrSet
	if v := im.inodeXattrs(i); v != nil {
		list = append(list, v)
	}
	if block := i.FileACL(); block != 0 {
		v := im.XattrBlock(block)
		v.Inode = uint32(n)
		list = append(list, v)
	}
	return list, nil
}

func (im *Image) inodeXattrs(i *ext4fs.Inode) *XattrSet {
	r := i.Raw()
	at := disk.InodeBaseSize + r.ExtraSize()
	// Without i_extra_isize there is no place for attributes.
	if len(r) <= disk.InodeBaseSize || r.RawExtraSize() == 0 || len(r)-at < 8 || le.Uint32(r[at:]) != disk.XattrMagic {
		return nil
	}
	v := &XattrSet{Type: "xattrs", Inode: uint32(i.Number()), In: "inode", Magic: disk.XattrMagic,
		Checksum: Checksum{State: ChecksumNone}, Entries: []XattrEntry{}}
	if block, off, err := im.fs.InodeLocation(i.Number()); err == nil {
		v.Block, v.Offset = uint64(block), off+at
	}
	v.Size = len(r) - at
	v.entries(im, r[at+disk.XattrInodeHeaderSize:], 0)
	return v
}

// XattrBlock returns the attribute block at block. What is wrong with it
// stands in its Problems.
func (im *Image) XattrBlock(block disk.BlockNum) *XattrSet {
	v := &XattrSet{Type: "xattrs", In: "block", Block: uint64(block), Entries: []XattrEntry{}}
	b, err := im.block(block)
	if err != nil {
		v.Problems = append(v.Problems, problem(err))
		return v
	}
	h := disk.XattrHeader(b)
	refs, blocks, hash := h.Refs(), h.Blocks(), h.Hash()
	v.Size, v.Magic, v.Refs, v.Blocks, v.Hash = len(b), h.Magic(), &refs, &blocks, &hash
	stored, computed, _ := disk.VerifyXattrBlock(im.seed, block, b)
	v.Checksum = newChecksum(im.csum, stored, computed)
	if v.Magic != disk.XattrMagic {
		v.Problems = append(v.Problems, fmt.Sprintf("magic 0x%08x is not 0x%08x", v.Magic, disk.XattrMagic))
		return v
	}
	if blocks != 1 {
		v.Problems = append(v.Problems, fmt.Sprintf("%d blocks instead of 1", blocks))
	}
	v.entries(im, b, disk.XattrHeaderSize)
	var sums []uint32
	for _, e := range v.Entries {
		sums = append(sums, e.Hash)
	}
	sum := disk.XattrBlockHash(sums)
	v.HashSum = &sum
	return v
}

// entries walks over the entries in b from off on. Value offsets count from
// the start of b.
func (v *XattrSet) entries(im *Image, b []byte, off int) {
	low := len(b)
	for {
		if len(b)-off < 4 {
			v.Problems = append(v.Problems, fmt.Sprintf("no end of the entries before byte %d", len(b)))
			return
		}
		e := disk.XattrEntry(b[off:])
		if e.IsEnd() {
			break
		}
		if len(e) < disk.XattrEntrySize || len(e) < disk.XattrEntrySize+e.NameLen() {
			v.Problems = append(v.Problems, fmt.Sprintf("entry at %d does not fit into %d bytes", off, len(b)))
			return
		}
		x := xattrEntry(im, b, off, e)
		if x.ValueInode == 0 && x.Size > 0 && x.Problem == "" {
			low = min(low, x.ValueOffset)
		}
		v.Entries = append(v.Entries, x)
		off += e.Size()
		if off > len(b) {
			v.Problems = append(v.Problems, fmt.Sprintf("last entry ends at %d, beyond %d bytes", off, len(b)))
			return
		}
	}
	v.Free = max(low-off-4, 0)
}

func xattrEntry(im *Image, b []byte, off int, e disk.XattrEntry) XattrEntry {
	x := XattrEntry{
		Offset: off, Index: uint32(e.Index()), Name: newName(append([]byte(e.Index().Prefix()), e.Name()...)),
		Size: e.ValueSize(), ValueOffset: e.ValueOffset(), ValueInode: uint32(e.ValueInode()), Hash: e.Hash(),
		HashState: ChecksumNone,
	}
	var value []byte
	var computed [2]uint32
	if x.ValueInode != 0 {
		var err error
		if value, err = im.xattrValue(e.ValueInode(), x.Size); err != nil {
			x.Problem = problem(err)
			return x
		}
		sum := disk.XattrValueHash(im.seed, value)
		computed = [2]uint32{disk.XattrInodeHash(e.Name(), sum, false), disk.XattrInodeHash(e.Name(), sum, true)}
	} else {
		if uint64(x.ValueOffset)+uint64(x.Size) > uint64(len(b)) {
			x.Problem = fmt.Sprintf("value of %d bytes at %d leaves the %d bytes of its place", x.Size, x.ValueOffset, len(b))
			return x
		}
		value = b[x.ValueOffset:][:x.Size]
		computed = [2]uint32{disk.XattrHash(e.Name(), value, false), disk.XattrHash(e.Name(), value, true)}
	}
	if x.Hash != 0 {
		x.HashState = ChecksumBad
		if x.Hash == computed[0] || x.Hash == computed[1] {
			x.HashState = ChecksumGood
		}
	}
	x.setValue(e.Index(), value)
	return x
}

// xattrValue reads a value that is the content of an inode.
func (im *Image) xattrValue(n disk.InodeNum, size uint32) ([]byte, error) {
	if size > disk.XattrMaxValue {
		return nil, fmt.Errorf("value of %d bytes in inode %d", size, n)
	}
	i, err := im.inode(n)
	if err != nil {
		return nil, err
	}
	if i.Size() != int64(size) {
		return nil, fmt.Errorf("value of %d bytes in inode %d, which has %d", size, n, i.Size())
	}
	value := make([]byte, size)
	if _, err := i.ReadAt(value, 0); err != nil {
		return nil, err
	}
	return value, nil
}

// setValue shows a value as text where it is one, as an ACL where it is one,
// else as bytes.
func (x *XattrEntry) setValue(index disk.XattrIndex, value []byte) {
	if index == disk.XattrACLAccess || index == disk.XattrACLDefault {
		list, err := disk.DecodeACL(value)
		if err != nil {
			x.Problem = problem(err)
		}
		for _, e := range list {
			x.ACL = append(x.ACL, newACL(e))
		}
	}
	if x.ACL == nil && isText(value) {
		text := string(value)
		x.Value = &text
		return
	}
	x.ValueHex = append(Bytes{}, value...)
}

func newACL(e disk.ACLEntry) ACL {
	a := ACL{Tag: "unknown", Perm: permString(e.Perm)}
	switch e.Tag {
	case disk.ACLUserObj:
		a.Tag = "user_obj"
	case disk.ACLUser:
		a.Tag = "user"
	case disk.ACLGroupObj:
		a.Tag = "group_obj"
	case disk.ACLGroup:
		a.Tag = "group"
	case disk.ACLMask:
		a.Tag = "mask"
	case disk.ACLOther:
		a.Tag = "other"
	}
	if e.Tag.Named() {
		id := e.ID
		a.ID = &id
	}
	return a
}

func permString(perm uint16) string {
	b := []byte("---")
	for i, c := range []byte("rwx") {
		if perm&(4>>i) != 0 {
			b[i] = c
		}
	}
	return string(b)
}

// isText reports whether a value reads as text: printable ASCII, perhaps with
// a NUL at its end.
func isText(value []byte) bool {
	for i, c := range value {
		if (c < 0x20 || c >= 0x7f) && c != '\t' && c != '\n' && (c != 0 || i != len(value)-1) {
			return false
		}
	}
	return true
}

// WriteText writes the place and its attributes.
func (v *XattrSet) WriteText(w io.Writer) error {
	return render(w, func(p *printer) { v.print(p) })
}

func (v *XattrSet) print(p *printer) {
	p.fields(v)
	for i := range v.Entries {
		e := &v.Entries[i]
		p.linef("%s", e.Name)
		p.block(func() { e.print(p) })
	}
	p.problems(v.Problems)
}

func (x *XattrEntry) print(p *printer) {
	p.field("Entry at byte", utoa(uint(x.Offset)))
	p.field("Name index", utoa(x.Index))
	if x.ValueInode != 0 {
		p.field("Value in inode", utoa(x.ValueInode))
	}
	p.field("Value at byte", utoa(uint(x.ValueOffset)))
	p.field("Value size", utoa(x.Size))
	p.field("Hash", fmt.Sprintf("0x%08x (%s)", x.Hash, x.HashState))
	for _, a := range x.ACL {
		p.field("ACL", a.String())
	}
	switch {
	case x.Value != nil:
		p.field("Value", `"`+escape(*x.Value)+`"`)
	case x.ValueHex != nil:
		p.field("Value", x.ValueHex.String())
	}
	if x.Problem != "" {
		p.linef("! %s", escape(x.Problem))
	}
}
