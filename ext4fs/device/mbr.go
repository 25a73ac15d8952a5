package device

import "fmt"

// Master Boot Record: at byte 440 a disk signature, at 446 four entries, at
// 510 the bytes 55 aa. An entry: status, 3 bytes of geometry, type, 3 bytes of
// geometry, first sector, sectors.
//
// An extended partition holds a chain of sectors of the same form, each with
// one logical partition (relative to that sector) and a link to the next one
// (relative to the extended partition).

const (
	mbrSize       = 512
	mbrSignature  = 440
	mbrTable      = 446
	mbrEntrySize  = 16
	mbrProtective = 0xee
	// mbrMaxLogical bounds the chain of logical partitions.
	mbrMaxLogical = 256
)

type mbrEntry struct {
	status, kind   byte
	first, sectors uint32
}

func (e mbrEntry) used() bool     { return e.kind != 0 && e.sectors != 0 }
func (e mbrEntry) extended() bool { return e.kind == 0x05 || e.kind == 0x0f || e.kind == 0x85 }

type mbr struct {
	signature uint32
	entries   [4]mbrEntry
}

// readMBR reads the table of sector 0. The boot sector of a file system ends
// in the same two bytes: it is told apart by its entries making no sense.
func readMBR(d Device) (*mbr, bool) {
	m, ok := readMBRAt(d, 0)
	if !ok {
		return nil, false
	}
	sectors := d.Size() / mbrSize
	for _, e := range m.entries {
		if e.status&0x7f != 0 || (e.used() && int64(e.first) >= sectors) {
			return nil, false
		}
	}
	return m, true
}

func readMBRAt(d Device, off int64) (*mbr, bool) {
	var b [mbrSize]byte
	if !readSector(d, b[:], off) || b[510] != 0x55 || b[511] != 0xaa {
		return nil, false
	}
	m := &mbr{signature: le.Uint32(b[mbrSignature:])}
	for i := range m.entries {
		e := b[mbrTable+i*mbrEntrySize:][:mbrEntrySize]
		m.entries[i] = mbrEntry{status: e[0], kind: e[4], first: le.Uint32(e[8:]), sectors: le.Uint32(e[12:])}
	}
	return m, true
}

// protective reports that an entry says "this disk has a GPT", alone or, in a
// hybrid MBR, beside others.
func (m *mbr) protective() bool {
	for _, e := range m.entries {
		if e.kind == mbrProtective {
			return true
		}
	}
	return false
}

func (m *mbr) empty() bool {
	for _, e := range m.entries {
		if e.used() {
			return false
		}
	}
	return true
}

// partitions lists what the table and its logical chains hold. The table
// counts in the disk's sectors, which an image does not tell: 4096 is taken if
// the device says so, or if only then an ext file system is found.
func (m *mbr) partitions(d Device) []Partition {
	sizes := gptSectors(d)
	parts := m.partitionsWith(d, sizes[0])
	for _, p := range parts {
		if rankExt(d, p.Offset) != extNone {
			return parts
		}
	}
	other := m.partitionsWith(d, sizes[1])
	for _, p := range other {
		if rankExt(d, p.Offset) == extFS {
			return other
		}
	}
	return parts
}

func (m *mbr) partitionsWith(d Device, sector int64) []Partition {
	var parts []Partition
	logical := 5
	for i, e := range m.entries {
		if !e.used() || e.kind == mbrProtective {
			continue
		}
		// The extended partition itself is listed, as other tools do. Its
		// first kilobyte is a table, so it is never taken for ext.
		parts = append(parts, m.partition(i+1, e, 0, sector))
	}
	for _, e := range m.entries {
		if e.used() && e.extended() {
			more := m.logical(d, e, sector, logical)
			parts = append(parts, more...)
			logical += len(more)
		}
	}
	return parts
}

// logical follows the chain of one extended partition. It ends at anything
// that is not right, as in the kernel: what came before is still good.
func (m *mbr) logical(d Device, ext mbrEntry, sector int64, number int) []Partition {
	var parts []Partition
	seen := make(map[uint32]bool)
	next := uint32(0)
	for range mbrMaxLogical {
		if seen[next] || next >= ext.sectors {
			break
		}
		seen[next] = true
		at := int64(ext.first) + int64(next)
		t, ok := readMBRAt(d, at*sector)
		if !ok {
			break
		}
		link := mbrEntry{}
		for _, e := range t.entries {
			switch {
			case !e.used():
			case e.extended():
				if !link.used() {
					link = e
				}
			case int64(next)+int64(e.first) < int64(ext.sectors):
				parts = append(parts, m.partition(number, e, at, sector))
				number++
			}
		}
		if !link.used() {
			break
		}
		next = link.first
	}
	return parts
}

// partition makes the entry of a table that lies at a sector public.
func (m *mbr) partition(number int, e mbrEntry, base, sector int64) Partition {
	p := Partition{
		Number: number,
		Type:   fmt.Sprintf("0x%02x", e.kind),
		Offset: (base + int64(e.first)) * sector,
		Size:   int64(e.sectors) * sector,
	}
	if m.signature != 0 {
		p.UUID = fmt.Sprintf("%08x-%02x", m.signature, number)
	}
	return p
}
