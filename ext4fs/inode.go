package ext4fs

import (
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/ext4fs/indirect"
)

// Inode is one inode: the node view. It is safe for concurrent use. It holds a
// copy of the record; that of a file system open for writing is the only one
// in memory and shows every change.
type Inode struct {
	fs *FS
	// rec points to the record: size bytes, never changed, but replaced.
	rec  atomic.Pointer[byte]
	num  disk.InodeNum
	size uint16

	ro    *readMap // of one for reading
	*node          // what a writable file system needs besides; nil in others
}

// readMap is the block map of an inode that is not changed.
type readMap struct {
	once sync.Once // guards the making of m
	m    extent.Map
	err  error
}

// newInode is an inode that is not changed, of this record.
func newInode(f *FS, n disk.InodeNum, raw disk.Inode) *Inode {
	x := new(struct {
		i Inode
		m readMap
	})
	i := &x.i
	i.fs, i.num, i.size, i.ro = f, n, uint16(len(raw)), &x.m
	i.rec.Store(&raw[0])
	return i
}

// record is the inode's record as it is now. It must not be changed. Of a
// writable file system it may end behind the extra fields; see whole.
func (i *Inode) record() disk.Inode { return unsafe.Slice(i.rec.Load(), i.size) }

// inodeReadAhead is how many blocks of an inode table are read at once: a
// tree walk needs the neighbours next.
const inodeReadAhead = 32

// Inode reads inode n. A number out of range gives ErrInvalid, a wrong
// checksum a *ChecksumError. An inode that is not in use is returned like any
// other; Links and Mode tell.
//
// In a file system open for writing all callers get the same *Inode for a
// number as long as somebody holds it.
func (f *FS) Inode(n disk.InodeNum) (*Inode, error) {
	if f.live != nil {
		return f.live.nodes.get(f, n)
	}
	return f.readInode(n)
}

// readInode makes an Inode from what is on disk.
func (f *FS) readInode(n disk.InodeNum) (*Inode, error) {
	if raw, ok := f.fast.inode(n); ok {
		return newInode(f, n, raw), nil
	}
	raw, block, err := f.inodeRecord(n)
	if err != nil {
		return nil, err
	}
	i := newInode(f, n, append(disk.Inode(nil), raw...))
	if err := i.verify(i.record(), block); err != nil {
		return nil, err
	}
	return i, nil
}

// verify checks the checksum of the inode's record r; block is where it was
// read.
func (i *Inode) verify(r disk.Inode, block disk.BlockNum) error {
	if !i.fs.verify() {
		return nil
	}
	if stored, computed := r.Checksum(i.fs.seed, i.num); stored != computed && !r.IsZero() {
		return &ChecksumError{What: "inode", Inode: i.num, Block: block, Stored: stored, Computed: computed}
	}
	return nil
}

// inodeRecord returns the record's bytes in the cached block that holds it.
func (f *FS) inodeRecord(n disk.InodeNum) (disk.Inode, disk.BlockNum, error) {
	block, at, err := f.InodeLocation(n)
	if err != nil {
		return nil, 0, err
	}
	_, index := f.super.InodeGroup(n)
	// The window of read-ahead is aligned inside the table, so that walkers
	// of neighbouring inodes agree on it.
	in := index / f.super.InodesPerBlock()
	first := in - in%inodeReadAhead
	length := min(inodeReadAhead, f.super.InodeTableBlocks()-first)
	buf, err := f.cache.GetRun(block, block-disk.BlockNum(in-first), int(length))
	if err != nil {
		return nil, block, fmt.Errorf("inode %d: %w", n, err)
	}
	size := f.super.InodeSize()
	return disk.Inode(buf.Data()[at : at+size : at+size]), block, nil
}

// InodeCached reports whether inode n's record is in memory at the moment, so that
// [FS.Inode] need not wait for the device.
func (f *FS) InodeCached(n disk.InodeNum) bool {
	block, _, err := f.InodeLocation(n)
	return err == nil && f.cache.Has(block)
}

// InodeLocation returns the block and the byte offset in it of inode n's
// record.
func (f *FS) InodeLocation(n disk.InodeNum) (disk.BlockNum, int, error) {
	if n == 0 || n > f.inodes {
		return 0, 0, fmt.Errorf("inode %d of %d: %w", n, f.inodes, ErrInvalid)
	}
	g, index := f.super.InodeGroup(n)
	table, err := f.inodeTable(g)
	if err != nil {
		return 0, 0, fmt.Errorf("inode %d: %w", n, err)
	}
	per := f.super.InodesPerBlock()
	block := table + disk.BlockNum(index/per)
	if uint64(block) >= f.super.Blocks() || table == 0 {
		return 0, 0, &CorruptError{What: "inode table", Inode: n, Block: block,
			Detail: fmt.Sprintf("outside the file system of %d blocks", f.super.Blocks())}
	}
	return block, int(index%per) * f.super.InodeSize(), nil
}

// inodeTable is where the inode table of group g begins.
func (f *FS) inodeTable(g disk.GroupNum) (disk.BlockNum, error) {
	if f.live != nil {
		return f.live.tables[g], nil
	}
	desc, err := f.Group(g)
	if err != nil {
		return 0, err
	}
	return desc.InodeTable(), nil
}

// FS is the file system the inode belongs to.
func (i *Inode) FS() *FS { return i.fs }

// Number is the inode number.
func (i *Inode) Number() disk.InodeNum { return i.num }

// Raw is the record as it is now. It must not be changed. In a file system open
// for writing it may end behind the extra fields that there are, before the
// attributes.
func (i *Inode) Raw() disk.Inode { return i.record() }

// Flags is i_flags.
func (i *Inode) Flags() disk.InodeFlags { return i.record().Flags() }

// Mode is the type and permissions.
func (i *Inode) Mode() fs.FileMode { return disk.FileMode(i.record().Mode()) }

// IsDir reports whether the inode is a directory.
func (i *Inode) IsDir() bool { return i.is(disk.ModeDir) }

// IsRegular reports whether the inode is a regular file.
func (i *Inode) IsRegular() bool { return i.is(disk.ModeRegular) }

// IsSymlink reports whether the inode is a symbolic link.
func (i *Inode) IsSymlink() bool { return i.is(disk.ModeSymlink) }

func (i *Inode) is(mode uint16) bool { return i.record().Mode()&disk.ModeType == mode }

// Size is the length in bytes.
func (i *Inode) Size() int64 {
	size := int64(i.record().SizeLo())
	if i.IsRegular() || i.fs.super.Features.Incompat.Has(disk.IncompatLargeDir) {
		size |= int64(i.record().SizeHi()) << 32
	}
	return max(size, 0)
}

// Sectors is the space taken, in units of 512 bytes.
func (i *Inode) Sectors() uint64 {
	n := uint64(i.record().BlocksLo())
	if !i.fs.super.Features.ROCompat.Has(disk.ROCompatHugeFile) {
		return n
	}
	n |= uint64(i.record().BlocksHi()) << 32
	if i.Flags().Has(disk.FlagHugeFile) {
		n *= uint64(i.fs.super.BlockSize() / 512)
	}
	return n
}

// FileACL is the block of extended attributes; 0 is none.
func (i *Inode) FileACL() disk.BlockNum {
	return i.record().FileACL(i.fs.super.Features.Incompat.Has(disk.Incompat64bit))
}

// seed is the checksum seed of everything the inode owns.
func (i *Inode) seed() uint32 {
	return disk.InodeSeed(i.fs.seed, i.num, i.record().Generation())
}

// isFastSymlink reports whether the target lies in i_block. What decides is
// the size, as for current kernels, but for links whose block map is plain.
func (i *Inode) isFastSymlink() bool {
	return i.IsSymlink() && i.Flags()&(disk.FlagExtents|disk.FlagInlineData) == 0 && i.Size() < disk.InodeBlockSize
}

// hasBlocks reports whether i_block is a block map or an extent root.
func (i *Inode) hasBlocks() bool {
	if i.Flags().Has(disk.FlagInlineData) {
		return false
	}
	switch i.record().Mode() & disk.ModeType {
	case disk.ModeRegular, disk.ModeDir:
		return true
	case disk.ModeSymlink:
		return !i.isFastSymlink()
	}
	// The bad blocks inode has no mode, but it has blocks.
	return i.num == disk.BadBlocksInode
}

// Map returns the block map. An inode without one (device, fast symlink,
// inline data) has an empty map. That of a writable file system is for short
// use: it must not be asked while the inode is changed through it.
func (i *Inode) Map() (extent.Map, error) {
	if i.node != nil {
		return i.liveMap()
	}
	r := i.ro
	r.once.Do(func() {
		if m, ok := i.fs.fast.blocks(i.num); ok {
			r.m = m
			return
		}
		switch {
		case !i.hasBlocks():
			r.m = extent.List(nil)
		case i.Flags().Has(disk.FlagExtents):
			r.m, r.err = extent.New(i.fs.cache, i.mapOwner(), i.record().Block())
		default:
			r.m, r.err = indirect.New(i.fs.cache, i.mapOwner(), i.record().Block())
		}
	})
	return r.m, r.err
}

func (i *Inode) mapOwner() extent.Owner {
	return extent.Owner{
		Inode: i.num, Seed: i.seed(), HasChecksum: i.fs.super.HasMetadataCsum(), Verify: i.fs.verify(),
		FirstBlock: disk.BlockNum(i.fs.super.FirstDataBlock),
	}
}

// Stat is what is known of an inode, as stat(2) and more give it.
type Stat struct {
	Inode      disk.InodeNum
	Mode       fs.FileMode
	RawMode    uint16 // i_mode
	Links      uint16
	UID, GID   uint32
	Size       int64
	Sectors    uint64 // units of 512 bytes; inline files count as if they took some
	BlockSize  int
	Flags      disk.InodeFlags
	Generation uint32
	Version    uint64
	Project    uint32
	Major      uint32 // of a device node
	Minor      uint32
	Atime      time.Time
	Mtime      time.Time
	Ctime      time.Time
	Crtime     time.Time // zero where the inode keeps none
	Dtime      uint32    // i_dtime: deletion time or orphan link
}

// Stat returns what is known of the inode.
func (i *Inode) Stat() *Stat {
	r := i.record()
	st := &Stat{
		Inode: i.num, Mode: i.Mode(), RawMode: r.Mode(), Links: r.Links(), UID: r.UID(), GID: r.GID(),
		Size: i.Size(), Sectors: i.Sectors(), BlockSize: i.fs.BlockSize(), Flags: r.Flags(),
		Generation: r.Generation(), Version: r.Version(),
		Atime: r.Atime(), Mtime: r.Mtime(), Ctime: r.Ctime(), Dtime: r.DeletionTime(),
	}
	if i.IsRegular() && i.Flags().Has(disk.FlagInlineData) {
		// As Linux does, so that nobody takes the file for one large hole.
		st.Sectors += uint64(st.Size+511) / 512
	}
	st.Project, _ = r.Project()
	st.Crtime, _ = r.Crtime()
	if st.Mode&fs.ModeDevice != 0 {
		st.Major, st.Minor = r.Device()
	}
	if i.IsSymlink() && i.Flags().Has(disk.FlagEncrypt) {
		// The kernel shows the length of the form it presents.
		if target, err := i.Readlink(); err == nil {
			st.Size = int64(len(target))
		}
	}
	return st
}
