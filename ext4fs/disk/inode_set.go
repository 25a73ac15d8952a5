package disk

import (
	"io/fs"
	"time"
)

// NewInode is the record of an inode never used: zeros, with i_extra_isize
// set to extraSize as far as a record of size bytes has room for it. A size
// below 128 counts as 128.
func NewInode(size, extraSize int) Inode {
	i := make(Inode, max(size, InodeBaseSize))
	i.SetExtraSize(extraSize)
	return i
}

// SetMode writes i_mode: type and permissions.
func (i Inode) SetMode(mode uint16) { le.PutUint16(i[0x00:], mode) }

// SetUID writes both halves of the owner.
func (i Inode) SetUID(id uint32) {
	le.PutUint16(i[0x02:], uint16(id))
	le.PutUint16(i[0x78:], uint16(id>>16))
}

// SetGID writes both halves of the group.
func (i Inode) SetGID(id uint32) {
	le.PutUint16(i[0x18:], uint16(id))
	le.PutUint16(i[0x7a:], uint16(id>>16))
}

// SetSize writes both halves of i_size, in bytes. Sizes that the type and the
// features do not allow are the caller's to refuse.
func (i Inode) SetSize(n int64) {
	le.PutUint32(i[0x04:], uint32(n))
	le.PutUint32(i[0x6c:], uint32(uint64(n)>>32))
}

// SetDeletionTime writes i_dtime: the deletion time, or the next inode of the
// orphan list.
func (i Inode) SetDeletionTime(v uint32) { le.PutUint32(i[0x14:], v) }

// SetFlags writes i_flags.
func (i Inode) SetFlags(f InodeFlags) { le.PutUint32(i[0x20:], uint32(f)) }

// SetGeneration writes i_generation. It is part of the checksum seed of
// everything the inode owns.
func (i Inode) SetGeneration(v uint32) { le.PutUint32(i[0x64:], v) }

// SetFileACL writes the extended attribute block; the high half only where
// wide says that it counts, which is with the 64bit feature.
func (i Inode) SetFileACL(bn BlockNum, wide bool) {
	le.PutUint32(i[0x68:], uint32(bn))
	if wide {
		le.PutUint16(i[0x76:], uint16(bn>>32))
	}
}

// SetExtraSize writes i_extra_isize, cut to what the record can hold and to a
// multiple of 4. A record of 128 bytes has none.
func (i Inode) SetExtraSize(n int) {
	if len(i) > InodeBaseSize {
		le.PutUint16(i[0x80:], uint16(min(max(n, 0), len(i)-InodeBaseSize)&^3))
	}
}

// setExtra writes the extra field at off; false where there is none.
func (i Inode) setExtra(off int, v uint32) bool {
	if !i.has(off + 4) {
		return false
	}
	le.PutUint32(i[off:], v)
	return true
}

// The range of times, in seconds since 1970: of 32 signed bits, and with the
// two epoch bits of the extra fields.
const (
	MinTime      int64 = -1 << 31
	MaxTime      int64 = 1<<31 - 1
	MaxExtraTime int64 = 1<<34 + MinTime - 1
)

// ClampTime gives the nearest time an inode can store: in nanoseconds with the
// extra fields, else in seconds. At either end of the range the nanoseconds
// are dropped, as Linux does.
func ClampTime(t time.Time, extra bool) time.Time {
	last := MaxTime
	if extra {
		last = MaxExtraTime
	}
	sec, ns := min(max(t.Unix(), MinTime), last), int64(t.Nanosecond())
	if !extra || sec == MinTime || sec == last {
		ns = 0
	}
	return time.Unix(sec, ns).UTC()
}

// setTime writes a time as two words, the second only if it exists.
func (i Inode) setTime(t time.Time, seconds, extra int) {
	wide := i.has(extra + 4)
	t = ClampTime(t, wide)
	sec := t.Unix()
	le.PutUint32(i[seconds:], uint32(sec))
	if wide {
		epoch := uint32((sec-int64(int32(sec)))>>32) & 3
		le.PutUint32(i[extra:], epoch|uint32(t.Nanosecond())<<2)
	}
}

// SetAtime writes the time of last access, clamped to what the record can
// hold; so do the other times.
func (i Inode) SetAtime(t time.Time) { i.setTime(t, 0x08, 0x8c) }

// SetCtime writes the time of last inode change.
func (i Inode) SetCtime(t time.Time) { i.setTime(t, 0x0c, 0x84) }

// SetMtime writes the time of last content change.
func (i Inode) SetMtime(t time.Time) { i.setTime(t, 0x10, 0x88) }

// SetCrtime writes the time of birth; false where the inode keeps none.
func (i Inode) SetCrtime(t time.Time) bool {
	if !i.has(0x94) {
		return false
	}
	i.setTime(t, 0x90, 0x94)
	return true
}

// SetRawTimes writes the low words of atime, ctime and mtime: value hash, high
// half of the reference count and, for old Lustre values, parent of an EA
// inode. The extra fields, which mean nothing there, stay.
func (i Inode) SetRawTimes(atime, ctime, mtime uint32) {
	le.PutUint32(i[0x08:], atime)
	le.PutUint32(i[0x0c:], ctime)
	le.PutUint32(i[0x10:], mtime)
}

// SetVersion writes the change counter, its high half where the inode has the
// field.
func (i Inode) SetVersion(v uint64) {
	le.PutUint32(i[0x24:], uint32(v))
	i.setExtra(0x98, uint32(v>>32))
}

// EARefs is the reference count of an EA inode: how many entries name it.
func (i Inode) EARefs() uint64 {
	return uint64(le.Uint32(i[0x0c:]))<<32 | uint64(i.VersionLo())
}

// SetEARefs writes the reference count of an EA inode.
func (i Inode) SetEARefs(n uint64) {
	le.PutUint32(i[0x0c:], uint32(n>>32))
	le.PutUint32(i[0x24:], uint32(n))
}

// EAHash is the hash of the value that an EA inode holds.
func (i Inode) EAHash() uint32 { return le.Uint32(i[0x08:]) }

// SetEAHash writes the hash of the value that an EA inode holds, with the
// epoch bits with which Linux stores the number as a time.
func (i Inode) SetEAHash(h uint32) {
	le.PutUint32(i[0x08:], h)
	i.setExtra(0x8c, h>>31)
}

// SetProject writes the project id; false where the inode has no field for it.
func (i Inode) SetProject(id uint32) bool { return i.setExtra(0x9c, id) }

// SetDevice writes a device node's number into i_block, in the old encoding
// where it fits. Major has 12 bits, minor 20; what is above is dropped.
func (i Inode) SetDevice(major, minor uint32) {
	b := i.Block()
	if major < 256 && minor < 256 {
		le.PutUint32(b, major<<8|minor)
		le.PutUint32(b[4:], 0)
		return
	}
	le.PutUint32(b, 0)
	le.PutUint32(b[4:], minor&0xff|major&0xfff<<8|minor&0xfff00<<12)
	le.PutUint32(b[8:], 0)
}

// SetSectors writes i_blocks from units of 512 bytes, choosing the unit and
// setting or clearing FlagHugeFile accordingly. It reports false, and changes
// nothing, where the number does not fit: more than 32 bits without the
// huge_file feature, else more than 48 bits of blocks.
func (i Inode) SetSectors(n uint64, hugeFile bool, blockSize int) bool {
	switch {
	case n < 1<<32 || hugeFile && n < 1<<48:
		i.SetFlags(i.Flags() &^ FlagHugeFile)
	case !hugeFile || blockSize < 512:
		return false
	default:
		if n /= uint64(blockSize / 512); n >= 1<<48 {
			return false
		}
		i.SetFlags(i.Flags() | FlagHugeFile)
	}
	i.SetBlocks(n)
	return true
}

// Seal computes and stores the record's checksum: both halves where there is
// room for the high one. fsSeed is the file system's.
func (i Inode) Seal(fsSeed uint32, n InodeNum) {
	_, sum := i.Checksum(fsSeed, n)
	le.PutUint16(i[0x7c:], uint16(sum))
	if i.hasChecksumHi() {
		le.PutUint16(i[0x82:], uint16(sum>>16))
	}
}

// ModeFromFileMode converts the io/fs form to i_mode; it undoes FileMode. A
// mode without a type that ext4 has gives one without type bits.
func ModeFromFileMode(m fs.FileMode) uint16 {
	mode := uint16(m.Perm())
	switch m.Type() {
	case 0:
		mode |= ModeRegular
	case fs.ModeDir:
		mode |= ModeDir
	case fs.ModeSymlink:
		mode |= ModeSymlink
	case fs.ModeDevice | fs.ModeCharDevice, fs.ModeCharDevice:
		mode |= ModeChar
	case fs.ModeDevice:
		mode |= ModeBlock
	case fs.ModeNamedPipe:
		mode |= ModeFIFO
	case fs.ModeSocket:
		mode |= ModeSocket
	}
	if m&fs.ModeSetuid != 0 {
		mode |= ModeSetuid
	}
	if m&fs.ModeSetgid != 0 {
		mode |= ModeSetgid
	}
	if m&fs.ModeSticky != 0 {
		mode |= ModeSticky
	}
	return mode
}
