package ext4fs

import (
	"fmt"
	"io"
	"iter"
	"math"
	"os"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// Extent is a run of a file's blocks.
type Extent = extent.Extent

// What an Extent is; see the extent package.
const (
	ExtentUnwritten = extent.FlagUnwritten
	ExtentHole      = extent.FlagHole
	ExtentInline    = extent.FlagInline
)

// Extents yields the mapped runs of the inode in logical order, also beyond
// the end of the file; holes are not yielded. Inline data are one run with
// ExtentInline and no place. After an error the sequence ends.
func (i *Inode) Extents() iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		if i.Flags().Has(disk.FlagInlineData) {
			yield(Extent{Len: 1, Flags: extent.FlagInline}, nil)
			return
		}
		m, err := i.Map()
		if err != nil {
			yield(Extent{}, err)
			return
		}
		for e, err := range m.From(0) {
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// ReadAt reads file data: of a regular file, a directory's raw blocks, or a
// symbolic link's target. Holes and unwritten extents read as zeros. At the
// end of the file it returns io.EOF. Encrypted content gives ErrNoKey.
func (i *Inode) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("inode %d: offset %d: %w", i.num, off, ErrInvalid)
	}
	i.lockRead()
	defer i.unlockRead()
	if err := i.readable(); err != nil {
		return 0, err
	}
	size := i.Size()
	if off >= size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > size-off {
		p, end = p[:size-off], io.EOF
	}
	n, err := i.readBlocks(p, off)
	if err == nil {
		err = end
	}
	return n, err
}

// readable says why the content cannot be read.
func (i *Inode) readable() error {
	if i.Flags().Has(disk.FlagEncrypt) && i.IsRegular() {
		return fmt.Errorf("inode %d: %w", i.num, ErrNoKey)
	}
	return nil
}

// readBlocks fills p from off on, whatever the size of the file says.
func (i *Inode) readBlocks(p []byte, off int64) (int, error) {
	if i.Flags().Has(disk.FlagInlineData) {
		data, err := i.inlineData()
		if err != nil {
			return 0, err
		}
		n := 0
		if off < int64(len(data)) {
			n = copy(p, data[off:])
		}
		clear(p[n:])
		return len(p), nil
	}
	if i.isFastSymlink() {
		n := copy(p, i.record().Block()[min(off, disk.InodeBlockSize):])
		return n, nil
	}
	m, err := i.Map()
	if err != nil {
		return 0, err
	}
	shift := i.fs.blockShift()
	done := 0
	for done < len(p) {
		at := off + int64(done)
		if at>>shift > int64(disk.MaxLogical) {
			clear(p[done:])
			return len(p), nil
		}
		e, err := m.Find(disk.LogicalNum(at >> shift))
		if err != nil {
			return done, err
		}
		in := at - int64(e.Logical)<<shift
		n := int(min(int64(e.Len)<<shift-in, int64(len(p)-done)))
		if e.Flags&(extent.FlagHole|extent.FlagUnwritten) != 0 {
			clear(p[done : done+n])
		} else if err := i.readRun(p[done:done+n], int64(e.Physical)<<shift+in); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// blockShift is log2 of the block size.
func (f *FS) blockShift() uint { return uint(f.super.LogBlockSize) + 10 }

// readDevice fills p; an end before that is an error that names the place.
func (f *FS) readDevice(p []byte, off int64, ino disk.InodeNum) error {
	if err := device.ReadFull(f.dev, p, off); err != nil {
		return fmt.Errorf("data of inode %d, block %d: %w", ino, off>>f.blockShift(), err)
	}
	return nil
}

// SeekData returns the first offset at or after off that holds data; holes
// and unwritten extents do not. Without data up to the end of the file it
// gives ErrNoData.
func (i *Inode) SeekData(off int64) (int64, error) { return i.seek(off, true) }

// SeekHole returns the first offset at or after off that lies in a hole; the
// end of the file is one. At or beyond the end it gives ErrNoData.
func (i *Inode) SeekHole(off int64) (int64, error) { return i.seek(off, false) }

func (i *Inode) seek(off int64, data bool) (int64, error) {
	i.lockRead()
	defer i.unlockRead()
	size := i.Size()
	if off < 0 || off >= size {
		return 0, fmt.Errorf("inode %d, offset %d: %w", i.num, off, ErrNoData)
	}
	if i.Flags().Has(disk.FlagInlineData) || i.isFastSymlink() {
		if data {
			return off, nil
		}
		return size, nil
	}
	m, err := i.Map()
	if err != nil {
		return 0, err
	}
	shift := i.fs.blockShift()
	for at := off; at < size; {
		if at>>shift > int64(disk.MaxLogical) {
			break
		}
		e, err := m.Find(disk.LogicalNum(at >> shift))
		if err != nil {
			return 0, err
		}
		if hole := e.Flags&(extent.FlagHole|extent.FlagUnwritten) != 0; hole != data {
			return at, nil
		}
		at = (int64(e.Logical) + int64(e.Len)) << shift
	}
	if data {
		return 0, fmt.Errorf("inode %d, offset %d: %w", i.num, off, ErrNoData)
	}
	return size, nil
}

// HostRange says where bytes of the file lie unchanged in a host file, for
// copy_file_range and the like. A nil file means that the bytes at off must be
// read with ReadAt: the device is no plain file, or a hole, an unwritten
// extent or a replayed journal is in the way. In a file system open for
// writing the bytes are the file's until it is changed.
func (i *Inode) HostRange(off, n int64) (file *os.File, fileOff, length int64) {
	host, ok := i.fs.dev.(device.HostRanger)
	if !ok || off < 0 || i.readable() != nil || !i.hasBlocks() || i.readsThroughCache() {
		return nil, 0, 0
	}
	m, err := i.Map()
	shift := i.fs.blockShift()
	if err != nil || off>>shift > int64(disk.MaxLogical) {
		return nil, 0, 0
	}
	e, err := m.Find(disk.LogicalNum(off >> shift))
	if err != nil || e.Flags&(extent.FlagHole|extent.FlagUnwritten) != 0 {
		return nil, 0, 0
	}
	in := off - int64(e.Logical)<<shift
	n = min(n, int64(e.Len)<<shift-in, i.Size()-off)
	if n <= 0 {
		return nil, 0, 0
	}
	return host.HostRange(int64(e.Physical)<<shift+in, n)
}

// Span is a run of bytes of a file.
type Span struct {
	Off, Len int64
}

// Data yields the spans of a file that hold data, in order and joined where
// they touch; the rest, up to Size, is holes. After an error the sequence
// ends.
func (i *Inode) Data() iter.Seq2[Span, error] {
	return func(yield func(Span, error) bool) {
		size := i.Size()
		if size == 0 {
			return
		}
		if i.Flags().Has(disk.FlagInlineData) || i.isFastSymlink() {
			yield(Span{0, size}, nil)
			return
		}
		m, err := i.Map()
		if err != nil {
			yield(Span{}, err)
			return
		}
		shift := i.fs.blockShift()
		var span Span
		for e, err := range m.From(0) {
			if err != nil {
				yield(Span{}, err)
				return
			}
			off := int64(e.Logical) << shift
			if off >= size {
				break
			}
			if e.Flags&extent.FlagUnwritten != 0 {
				continue
			}
			length := min(int64(e.Len)<<shift, size-off)
			if span.Len != 0 && span.Off+span.Len == off {
				span.Len += length
				continue
			}
			if span.Len != 0 && !yield(span, nil) {
				return
			}
			span = Span{off, length}
		}
		if span.Len != 0 {
			yield(span, nil)
		}
	}
}

// maxWhole bounds content that is read into memory at once.
const maxWhole = math.MaxInt32
