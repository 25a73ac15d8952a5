package dump

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

var le = binary.LittleEndian

// Inode is one inode record: all its fields, and what its block array holds.
type Inode struct {
	Type   string `json:"type"`
	Inode  uint32 `json:"inode" text:"Inode"`
	Use    string `json:"use" text:"Use"`
	Group  uint32 `json:"group" text:"Group"`
	Index  uint32 `json:"index" text:"Index in the table"`
	Block  uint64 `json:"block" text:"In block"`
	Offset int    `json:"offset" text:"At byte"`
	InUse  *bool  `json:"in_use,omitempty" text:"Bitmap says used"`

	Kind         string  `json:"kind" text:"Kind"`
	Mode         uint32  `json:"mode"`
	Permissions  string  `json:"permissions" text:"Mode"`
	UID          uint32  `json:"uid" text:"User"`
	GID          uint32  `json:"gid" text:"Group id"`
	Size         int64   `json:"size" text:"Size"`
	SizeHi       uint32  `json:"size_high" text:"Size high word"`
	Links        uint32  `json:"links" text:"Links"`
	Blocks       uint64  `json:"blocks" text:"Block count"`
	BlockUnit    int     `json:"block_unit" text:"Block count unit (bytes)"`
	Flags        Flags   `json:"flags" text:"Flags"`
	Version      uint64  `json:"version" text:"Version"`
	Generation   uint32  `json:"generation" text:"Generation"`
	FileACL      uint64  `json:"file_acl" text:"Xattr block"`
	Faddr        uint32  `json:"faddr" text:"Fragment address"`
	Reserved     uint32  `json:"reserved,omitempty" text:"Reserved word,hex,omitempty"`
	ExtraIsize   uint32  `json:"extra_isize" text:"Extra isize"`
	Project      *uint32 `json:"project,omitempty" text:"Project"`
	EAReferences *uint64 `json:"ea_references,omitempty" text:"References to value"`
	EAHash       *uint32 `json:"ea_value_hash,omitempty" text:"Hash of value,hex"`

	Atime  InodeTime  `json:"atime" text:"Access time"`
	Ctime  InodeTime  `json:"ctime" text:"Change time"`
	Mtime  InodeTime  `json:"mtime" text:"Modify time"`
	Crtime *InodeTime `json:"crtime,omitempty" text:"Birth time"`
	Dtime  Time       `json:"dtime" text:"Deletion time"`

	Checksum Checksum `json:"checksum" text:"Checksum"`
	// FastCommit: the record is not the one on the disk, but as the journal's
	// fast commits leave it, in memory and without a checksum.
	FastCommit bool `json:"fast_commit,omitempty" text:"Made by fast commits,omitempty"`

	Major        *uint32     `json:"major,omitempty" text:"Device major"`
	Minor        *uint32     `json:"minor,omitempty" text:"Device minor"`
	Target       *string     `json:"target,omitempty" text:"Link target"`
	TargetBase64 string      `json:"target_base64,omitempty"` // where target is no UTF-8
	Inline       Bytes       `json:"inline,omitempty" text:"Inline data in record,omitempty"`
	ExtentRoot   *ExtentNode `json:"extent_root,omitempty"`
	Pointers     []uint32    `json:"pointers,omitempty" text:"Block pointers,omitempty"`
	RawBlock     Bytes       `json:"i_block" text:"Block array"`
	Xattrs       []XattrName `json:"xattrs,omitempty"`
	Problems     []string    `json:"problems,omitempty"`
}

// InodeTime is a time of an inode: the stored words and what they mean.
type InodeTime struct {
	Raw   uint32  `json:"raw"`
	Extra *uint32 `json:"raw_extra,omitempty"`
	Time  string  `json:"time"`
}

// String is the time, and the stored words in hexadecimal.
func (t InodeTime) String() string {
	if t.Extra == nil {
		return fmt.Sprintf("%s (0x%08x)", t.Time, t.Raw)
	}
	return fmt.Sprintf("%s (0x%08x:%08x)", t.Time, t.Raw, *t.Extra)
}

// XattrName is one extended attribute in short.
type XattrName struct {
	Name string `json:"name"`
	Size uint32 `json:"size"`
	In   string `json:"in"` // inode or block
}

// Inode returns inode n. Bytes that cannot be read are an error; all else that
// is wrong stands in Problems.
func (im *Image) Inode(n disk.InodeNum) (*Inode, error) {
	i, err := im.inode(n)
	if err != nil {
		return nil, err
	}
	s, r := &im.super, i.Raw()
	v := &Inode{Type: "inode", Inode: uint32(n), Use: im.inodeUse(n)}
	g, index := s.InodeGroup(n)
	v.Group, v.Index = uint32(g), index
	if block, at, err := im.fs.InodeLocation(n); err != nil {
		v.Problems = append(v.Problems, problem(err))
	} else {
		v.Block, v.Offset = uint64(block), at
	}
	if bm, err := im.fs.InodeBitmap(g); err != nil {
		v.Problems = append(v.Problems, problem(err))
	} else if int(index) < bm.Len {
		used := bm.Has(int(index))
		v.InUse = &used
	}
	v.fixed(i, s)
	v.times(r)
	v.FastCommit = im.changedByFastCommit(v, r)
	stored, computed := r.Checksum(im.seed, n)
	// An inode that was never used has none.
	v.Checksum = newChecksum(im.csum && !r.IsZero() && !v.FastCommit, stored, computed)
	v.content(im, i)
	set, err := im.Xattrs(n)
	if err != nil {
		v.Problems = append(v.Problems, problem(err))
	}
	for _, x := range set {
		for _, e := range x.Entries {
			v.Xattrs = append(v.Xattrs, XattrName{e.Text, e.Size, x.In})
		}
		v.Problems = append(v.Problems, x.Problems...)
	}
	return v, nil
}

// changedByFastCommit reports whether the record is another than the one on
// the disk.
func (im *Image) changedByFastCommit(v *Inode, r disk.Inode) bool {
	if v.Block == 0 || !im.hasFastCommits() {
		return false
	}
	b, err := im.block(disk.BlockNum(v.Block))
	return err == nil && !bytes.Equal(r, b[v.Offset:v.Offset+len(r)])
}

// fixed fills in what every inode has.
func (v *Inode) fixed(i *ext4fs.Inode, s *disk.Superblock) {
	r := i.Raw()
	v.Mode, v.Kind, v.Permissions = uint32(r.Mode()), modeKind(r.Mode()), fmt.Sprintf("%06o", r.Mode())
	v.UID, v.GID = r.UID(), r.GID()
	v.Size, v.SizeHi = i.Size(), r.SizeHi()
	v.Links = uint32(r.Links())
	v.Blocks, v.BlockUnit = uint64(r.BlocksLo()), 512
	if s.Features.ROCompat.Has(disk.ROCompatHugeFile) {
		v.Blocks |= uint64(r.BlocksHi()) << 32
		if r.Flags().Has(disk.FlagHugeFile) {
			v.BlockUnit = s.BlockSize()
		}
	}
	v.Flags = namedFlags(uint32(r.Flags()), r.Flags().Names())
	v.Version, v.Generation = r.Version(), r.Generation()
	v.FileACL, v.Faddr = uint64(i.FileACL()), r.Faddr()
	v.Reserved = uint32(le.Uint16(r[0x7e:]))
	v.ExtraIsize = uint32(r.RawExtraSize())
	if id, ok := r.Project(); ok {
		v.Project = &id
	}
	if r.Flags().Has(disk.FlagEAInode) {
		hash, high, _ := r.RawTimes()
		refs := uint64(high)<<32 | uint64(r.VersionLo())
		v.EAReferences, v.EAHash = &refs, &hash
	}
}

func (v *Inode) times(r disk.Inode) {
	a, c, m := r.RawTimes()
	v.Atime = inodeTime(r, a, 0x8c, r.Atime())
	v.Ctime = inodeTime(r, c, 0x84, r.Ctime())
	v.Mtime = inodeTime(r, m, 0x88, r.Mtime())
	if t, ok := r.Crtime(); ok {
		born := inodeTime(r, le.Uint32(r[0x90:]), 0x94, t)
		v.Crtime = &born
	}
	v.Dtime = newTime(uint64(r.DeletionTime()))
}

// inodeTime joins a stored word with the extra word at off, where the record
// has one.
func inodeTime(r disk.Inode, raw uint32, off int, t time.Time) InodeTime {
	v := InodeTime{Raw: raw, Time: t.Format(time.RFC3339Nano)}
	if off+4 <= disk.InodeBaseSize+r.ExtraSize() {
		extra := le.Uint32(r[off:])
		v.Extra = &extra
	}
	return v
}

// content takes the block array apart, by what the inode is.
func (v *Inode) content(im *Image, i *ext4fs.Inode) {
	r := i.Raw()
	v.RawBlock = append(Bytes(nil), r.Block()...)
	kind := r.Mode() & disk.ModeType
	switch {
	case r.Flags().Has(disk.FlagInlineData):
		v.Inline = v.RawBlock
		if kind == disk.ModeSymlink {
			v.readTarget(i)
		}
	case kind == disk.ModeChar || kind == disk.ModeBlock:
		major, minor := r.Device()
		v.Major, v.Minor = &major, &minor
	case kind == disk.ModeSymlink && !r.Flags().Has(disk.FlagExtents) && i.Size() < disk.InodeBlockSize:
		v.readTarget(i)
	case r.Flags().Has(disk.FlagExtents):
		v.ExtentRoot = im.extentNode(r.Block(), 0)
		if kind == disk.ModeSymlink {
			v.readTarget(i)
		}
	case kind == disk.ModeRegular || kind == disk.ModeDir || kind == disk.ModeSymlink || i.Number() == disk.BadBlocksInode:
		for n := 0; n < disk.InodeBlockSize; n += 4 {
			v.Pointers = append(v.Pointers, le.Uint32(r.Block()[n:]))
		}
		if kind == disk.ModeSymlink {
			v.readTarget(i)
		}
	}
}

func (v *Inode) readTarget(i *ext4fs.Inode) {
	if v.Links == 0 && v.Size == 0 {
		return // removed
	}
	target, err := i.Readlink()
	if err != nil {
		v.Problems = append(v.Problems, problem(err))
		return
	}
	name := newName([]byte(target))
	v.Target, v.TargetBase64 = &name.Text, name.Base64
}

// inodeUse says what a number is reserved for.
func (im *Image) inodeUse(n disk.InodeNum) string {
	switch s := &im.super; {
	case n == disk.BadBlocksInode:
		return "bad blocks"
	case n == disk.RootInode:
		return "root directory"
	case n == s.UserQuotaInode && n != 0, n == disk.UserQuotaInode:
		return "user quota"
	case n == s.GroupQuotaInode && n != 0, n == disk.GrpQuotaInode:
		return "group quota"
	case n == disk.BootInode:
		return "boot loader"
	case n == disk.UndeleteInode:
		return "undelete directory"
	case n == disk.ResizeInode:
		return "reserved group descriptors"
	case n == s.JournalInode, n == disk.JournalInode:
		return "journal"
	case n == disk.ExcludeInode:
		return "exclude bitmap"
	case n == disk.ReplicaInode:
		return "replica"
	case n < s.FirstInode:
		return "reserved"
	case n == s.ProjectQuotaInode:
		return "project quota"
	case n == s.OrphanFileInode:
		return "orphan file"
	}
	return "ordinary"
}

func modeKind(mode uint16) string {
	switch mode & disk.ModeType {
	case disk.ModeFIFO:
		return "fifo"
	case disk.ModeChar:
		return "character device"
	case disk.ModeDir:
		return "directory"
	case disk.ModeBlock:
		return "block device"
	case disk.ModeRegular:
		return "regular file"
	case disk.ModeSymlink:
		return "symbolic link"
	case disk.ModeSocket:
		return "socket"
	case 0:
		return "none"
	}
	return "unknown"
}

// WriteText writes all fields, one a line.
func (v *Inode) WriteText(w io.Writer) error {
	return render(w, func(p *printer) {
		p.fields(v)
		if v.ExtentRoot != nil {
			p.linef("Extent root:")
			p.block(func() { v.ExtentRoot.print(p) })
		}
		if len(v.Xattrs) > 0 {
			p.linef("Extended attributes:")
			rows := [][]string{{"name", "size", "in"}}
			for _, x := range v.Xattrs {
				rows = append(rows, []string{escape(x.Name), utoa(x.Size), x.In})
			}
			p.block(func() { p.table(" r", rows) })
		}
		p.problems(v.Problems)
	})
}
