package dump

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// File is one inode in use and its runs, as Scan shows it. It is valid only
// during the call.
type File struct {
	Inode   disk.InodeNum
	Raw     disk.Inode
	Extents []extent.Extent // mapped runs, or one of inline data
	Err     error           // why there may be more
}

// Runs calls yield for every run of the file in logical order. With holes, the
// blocks up to the end of a regular file that are not mapped come too.
func (f *File) Runs(blockSize int, holes bool, yield func(extent.Extent)) {
	end := uint64(0)
	for _, e := range f.Extents {
		if e.Flags&extent.FlagInline != 0 {
			yield(e)
			return
		}
		if holes && uint64(e.Logical) > end {
			yield(holeTo(end, uint64(e.Logical)))
		}
		yield(e)
		end = e.End()
	}
	if !holes || f.Err != nil || f.Raw == nil || f.Raw.Mode()&disk.ModeType != disk.ModeRegular {
		return
	}
	size := uint64(f.Raw.SizeLo()) | uint64(f.Raw.SizeHi())<<32
	blocks := min(size/uint64(blockSize)+min(size%uint64(blockSize), 1), uint64(disk.MaxLogical)+1)
	if blocks > end {
		yield(holeTo(end, blocks))
	}
}

// ScanOptions says what Scan does.
type ScanOptions struct {
	// Verify: a wrong checksum of an inode is an error of that file.
	Verify bool
}

// Scan goes over the inode tables and calls visit for every inode in use, in
// several goroutines but never at once for one T: each group has a T of its
// own, which begins as the zero value and is yielded in the order of the
// groups. What cannot be read of a group is a File without Inode. Of inode 7,
// whose map is that of the reserved descriptors, nothing is shown.
func Scan[T any](ctx context.Context, im *Image, o ScanOptions, visit func(*T, *File)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		if err := im.geometry(); err != nil {
			yield(nil, err)
			return
		}
		fast := im.fastInodes()
		work := func(g disk.GroupNum) *T {
			t := new(T)
			s := scans.Get().(*groupScan)
			s.im, s.o, s.fast, s.visit = im, o, fast, func(f *File) { visit(t, f) }
			s.run(g)
			*s = groupScan{runs: s.runs[:0], buf: s.buf}
			scans.Put(s)
			return t
		}
		for t, err := range inOrder(ctx, im.super.Groups(), 1, work) {
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}

// fastInodes are the inodes that fast commits changed: their records on disk
// are out of date.
func (im *Image) fastInodes() map[disk.InodeNum]bool {
	if !im.hasFastCommits() {
		return nil
	}
	set := map[disk.InodeNum]bool{}
	for _, r := range im.fs.Recovery().FastCommits {
		switch r := r.(type) {
		case *disk.FCInode:
			set[r.Inode] = true
		case *disk.FCAddRange:
			set[r.Inode] = true
		case *disk.FCDelRange:
			set[r.Inode] = true
		}
	}
	return set
}

// groupScan goes over the inodes of one group.
type groupScan struct {
	im    *Image
	o     ScanOptions
	fast  map[disk.InodeNum]bool
	visit func(*File)
	file  File
	runs  []extent.Extent
	buf   []byte
}

// scans keeps the memory of scans for the next group.
var scans = sync.Pool{New: func() any { return new(groupScan) }}

// scanBytes is how much of an inode table is read at once.
const scanBytes = 256 << 10

func (s *groupScan) run(g disk.GroupNum) {
	sb := &s.im.super
	desc, err := s.im.fs.Group(g)
	if err != nil {
		s.fail(err)
		return
	}
	if s.im.inodesUninit(desc) && s.fast == nil {
		return
	}
	bm, err := s.im.fs.InodeBitmap(g)
	if err != nil {
		s.fail(err)
		return
	}
	first := disk.InodeNum(uint32(g)*sb.InodesPerGroup) + 1
	count := min(bm.Len, int(sb.Inodes()-first+1))
	table, blocks := uint64(desc.InodeTable()), uint64(sb.InodeTableBlocks())
	if table == 0 || table >= sb.Blocks() || blocks > sb.Blocks()-table {
		if !bm.Uninit {
			s.fail(&disk.CorruptError{What: "inode table", Block: disk.BlockNum(table),
				Detail: fmt.Sprintf("of group %d, outside the file system of %d blocks", g, sb.Blocks())})
		}
		return
	}
	used := func(n int) bool { return bm.Has(n) || s.fast[first+disk.InodeNum(n)] }
	size := sb.InodeSize()
	step := max(scanBytes/size, 1)
	for n := 0; n < count; {
		if bm.Bits[n>>3] == 0 && n&7 == 0 && s.fast == nil {
			n += 8
			continue
		}
		if !used(n) {
			n++
			continue
		}
		// One read up to the last inode in use within reach.
		end := n + 1
		for k := end; k < min(count, n+step); k++ {
			if used(k) {
				end = k + 1
			}
		}
		s.chunk(first, n, end, int64(table)*int64(sb.BlockSize())+int64(n)*int64(size), used)
		n = end
	}
}

func (s *groupScan) chunk(first disk.InodeNum, from, to int, off int64, used func(int) bool) {
	size := s.im.super.InodeSize()
	if need := (to - from) * size; cap(s.buf) < need {
		s.buf = make([]byte, need)
	}
	b := s.buf[:(to-from)*size]
	if err := device.ReadFull(s.im.dev, b, off); err != nil {
		s.fail(fmt.Errorf("inodes %d to %d: %w", first+disk.InodeNum(from), first+disk.InodeNum(to)-1, err))
		return
	}
	for n := from; n < to; n++ {
		if used(n) {
			at := (n - from) * size
			s.inode(first+disk.InodeNum(n), disk.Inode(b[at:at+size:at+size]))
		}
	}
}

func (s *groupScan) fail(err error) {
	s.file = File{Err: err}
	s.visit(&s.file)
}

// inode shows one inode. Those without a mode and links are reserved and not
// in use.
func (s *groupScan) inode(n disk.InodeNum, raw disk.Inode) {
	if n == disk.ResizeInode {
		return
	}
	s.file = File{Inode: n, Raw: raw}
	if s.fast[n] {
		s.slow()
		return
	}
	if raw.Mode() == 0 && raw.Links() == 0 && n != disk.BadBlocksInode {
		return
	}
	if s.o.Verify && s.im.csum {
		if stored, computed := raw.Checksum(s.im.seed, n); stored != computed && !raw.IsZero() {
			s.file.Err = &disk.ChecksumError{What: "inode", Inode: n, Stored: stored, Computed: computed}
			s.visit(&s.file)
			return
		}
	}
	if !s.plain(raw) {
		s.slow()
		return
	}
	s.file.Extents = s.runs
	s.visit(&s.file)
}

// plain takes the map of an inode apart that needs no other block, and
// reports whether it does not.
func (s *groupScan) plain(raw disk.Inode) bool {
	s.runs = s.runs[:0]
	flags := raw.Flags()
	kind := raw.Mode() & disk.ModeType
	switch {
	case flags.Has(disk.FlagInlineData):
		s.runs = append(s.runs, extent.Extent{Len: 1, Flags: extent.FlagInline})
		return true
	case kind == disk.ModeSymlink && !flags.Has(disk.FlagExtents) && raw.SizeLo() < disk.InodeBlockSize:
		return true
	case kind != disk.ModeRegular && kind != disk.ModeDir && kind != disk.ModeSymlink:
		return s.file.Inode != disk.BadBlocksInode
	case flags.Has(disk.FlagExtents):
		return s.plainExtents(disk.ExtentNode(raw.Block()))
	}
	return s.plainPointers(raw.Block())
}

func (s *groupScan) plainExtents(n disk.ExtentNode) bool {
	sb := &s.im.super
	if n.Depth() != 0 || n.HeaderProblem(0) != "" ||
		n.EntriesProblem(disk.BlockNum(sb.FirstDataBlock), disk.BlockNum(sb.Blocks())) != "" {
		return false
	}
	for i := range n.Entries() {
		l := n.Leaf(i)
		e := extent.Extent{Logical: l.Logical, Physical: l.Physical, Len: l.Len}
		if l.Unwritten {
			e.Flags = extent.FlagUnwritten
		}
		s.runs = append(s.runs, e)
	}
	return true
}

// plainPointers takes twelve direct pointers.
func (s *groupScan) plainPointers(b []byte) bool {
	const direct = 12
	sb := &s.im.super
	for i := range disk.LogicalNum(direct + 3) {
		p := disk.BlockNum(le.Uint32(b[4*i:]))
		if p == 0 {
			continue
		}
		if i >= direct || p <= disk.BlockNum(sb.FirstDataBlock) || uint64(p) >= sb.Blocks() {
			return false
		}
		if k := len(s.runs) - 1; k >= 0 && s.runs[k].Logical+disk.LogicalNum(s.runs[k].Len) == i &&
			s.runs[k].Physical+disk.BlockNum(s.runs[k].Len) == p {
			s.runs[k].Len++
			continue
		}
		s.runs = append(s.runs, extent.Extent{Logical: i, Physical: p, Len: 1})
	}
	return true
}

// slow asks the file system for the map.
func (s *groupScan) slow() {
	s.runs = s.runs[:0]
	i, err := s.im.fs.Inode(s.file.Inode)
	if err != nil {
		s.file.Err = err
		s.visit(&s.file)
		return
	}
	s.file.Raw = i.Raw()
	if s.fast != nil && i.Raw().Links() == 0 {
		return
	}
	for e, err := range i.Extents() {
		if err != nil {
			s.file.Err = err
			break
		}
		s.runs = append(s.runs, e)
	}
	s.file.Extents = s.runs
	s.visit(&s.file)
}
