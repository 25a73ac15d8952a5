package device

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math"
	"unicode/utf16"
)

// GUID Partition Table, after UEFI 2.10 chapter 5.
//
//	LBA 0      protective MBR
//	LBA 1      header: "EFI PART", revision, size, CRC-32 of itself, ...
//	LBA 2      array of entries, 128 bytes each or more, with a CRC-32
//	...
//	last LBA   a second header, with a second array before it
//
// All integers are little-endian; CRC-32 is the IEEE one.

const (
	gptHeaderSize = 92
	gptEntrySize  = 128
	// gptMaxArray bounds the array of entries; real ones have 16 KiB.
	gptMaxArray = 1 << 20
)

var gptMagic = []byte("EFI PART")

type gptHeader struct {
	sector    int64 // bytes
	lba       uint64
	alternate uint64
	entries   uint64 // LBA of the array
	count     uint32
	entrySize uint32
	arrayCRC  uint32
}

// readGPT returns the partitions. found says that there was a header, good or
// bad; its error tells why no header could be used.
func readGPT(d Device, wantBackup bool) (parts []Partition, found bool, err error) {
	for _, sector := range gptSectors(d) {
		h, here, herr := readGPTHeader(d, sector, 1)
		if here && herr == nil {
			parts, herr = h.read(d)
		}
		if here && herr == nil {
			return parts, true, nil
		}
		if here && err == nil {
			found, err = true, herr
		}
	}
	if !found && !wantBackup {
		return nil, false, nil
	}
	for _, sector := range gptSectors(d) {
		h, here, herr := readGPTHeader(d, sector, d.Size()/sector-1)
		if !here {
			continue
		}
		found = true
		if herr == nil {
			parts, herr = h.read(d)
		}
		if herr == nil {
			return parts, true, nil
		}
		if err == nil {
			err = herr
		}
	}
	return nil, found, err
}

// gptSectors are the sector sizes to try.
func gptSectors(d Device) []int64 {
	if s, ok := d.(sectorSizer); ok && s.sectorSize() == 4096 {
		return []int64{4096, 512}
	}
	return []int64{512, 4096}
}

// readGPTHeader reads the header at a sector. here says that its signature is.
func readGPTHeader(d Device, sector, lba int64) (h gptHeader, here bool, err error) {
	buf := make([]byte, sector)
	if lba < 1 || lba > math.MaxInt64/sector || !readSector(d, buf, lba*sector) || !bytes.HasPrefix(buf, gptMagic) {
		return h, false, nil
	}
	bad := func(format string, args ...any) (gptHeader, bool, error) {
		return h, true, &FormatError{Format: "GPT", Offset: lba * sector, Detail: fmt.Sprintf(format, args...)}
	}
	size := le.Uint32(buf[12:])
	if size < gptHeaderSize || int64(size) > sector {
		return bad("header size %d is out of range", size)
	}
	stored := le.Uint32(buf[16:])
	le.PutUint32(buf[16:], 0)
	if sum := crc32.ChecksumIEEE(buf[:size]); sum != stored {
		return bad("header checksum is 0x%08x, computed 0x%08x", stored, sum)
	}
	h = gptHeader{
		sector:    sector,
		lba:       le.Uint64(buf[24:]),
		alternate: le.Uint64(buf[32:]),
		entries:   le.Uint64(buf[72:]),
		count:     le.Uint32(buf[80:]),
		entrySize: le.Uint32(buf[84:]),
		arrayCRC:  le.Uint32(buf[88:]),
	}
	switch {
	case h.lba != uint64(lba):
		return bad("header says that it lies at sector %d", h.lba)
	case h.entrySize < gptEntrySize || h.entrySize%8 != 0:
		return bad("entry size %d is not possible", h.entrySize)
	case uint64(h.count)*uint64(h.entrySize) > gptMaxArray:
		return bad("%d entries of %d bytes are too many", h.count, h.entrySize)
	case h.entries > uint64(math.MaxInt64/sector):
		return bad("entries at sector %d are out of range", h.entries)
	}
	return h, true, nil
}

// read returns the partitions of the array, after its checksum was found good.
func (h gptHeader) read(d Device) ([]Partition, error) {
	off := int64(h.entries) * h.sector
	array := make([]byte, h.count*h.entrySize)
	if !readSector(d, array, off) {
		return nil, &FormatError{Format: "GPT", Offset: off, Detail: "entries cannot be read"}
	}
	if sum := crc32.ChecksumIEEE(array); sum != h.arrayCRC {
		return nil, &FormatError{
			Format: "GPT", Offset: off,
			Detail: fmt.Sprintf("checksum of the entries is 0x%08x, computed 0x%08x", h.arrayCRC, sum),
		}
	}
	var parts []Partition
	for i := range int(h.count) {
		e := array[i*int(h.entrySize):][:gptEntrySize]
		first, last := le.Uint64(e[32:]), le.Uint64(e[40:])
		unused := bytes.Equal(e[:16], make([]byte, 16))
		if unused || first > last || last >= uint64(math.MaxInt64/h.sector) {
			continue
		}
		parts = append(parts, Partition{
			Number: i + 1,
			Name:   gptName(e[56:128]),
			Type:   guid(e[:16]),
			UUID:   guid(e[16:32]),
			Offset: int64(first) * h.sector,
			Size:   int64(last-first+1) * h.sector,
		})
	}
	return parts, nil
}

// gptName decodes a label: UTF-16, ended by a zero.
func gptName(b []byte) string {
	u := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		c := le.Uint16(b)
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return string(utf16.Decode(u))
}

// guid writes a GUID as text. Its first three fields are little-endian.
func guid(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:16])
}
