package device

import "encoding/binary"

// How much the bytes at a place look like an ext superblock. The device knows
// no more of ext4 than what is needed to tell where a file system starts.
type extRank int

const (
	extNone    extRank = iota
	extMagic           // the magic number, with a geometry that cannot be
	extJournal         // an external journal: no file system by itself
	extFS              // a file system
)

const (
	superOffset = 1024
	superSize   = 1024
)

var le = binary.LittleEndian

// rankExt looks for an ext superblock at off. A place that cannot be read
// holds none: the read that matters comes later and tells the error.
func rankExt(d Device, off int64) extRank {
	var sb [superSize]byte
	if off < 0 || off > d.Size()-superOffset-superSize {
		return extNone
	}
	if n, _ := d.ReadAt(sb[:], off+superOffset); n < len(sb) {
		return extNone
	}
	if le.Uint16(sb[0x38:]) != 0xef53 {
		return extNone
	}
	var (
		inodes    = le.Uint32(sb[0x00:])
		blocks    = le.Uint32(sb[0x04:])
		logBlock  = le.Uint32(sb[0x18:])
		perGroup  = le.Uint32(sb[0x20:])
		iperGroup = le.Uint32(sb[0x28:])
		revision  = le.Uint32(sb[0x4c:])
		incompat  = le.Uint32(sb[0x60:])
		blocksHi  = le.Uint32(sb[0x150:])
	)
	const incompatJournalDev = 0x8
	if incompat&incompatJournalDev != 0 && revision <= 1 && logBlock <= 6 {
		return extJournal
	}
	if inodes == 0 || blocks|blocksHi == 0 || logBlock > 6 || perGroup == 0 || iperGroup == 0 || revision > 1 {
		return extMagic
	}
	return extFS
}
