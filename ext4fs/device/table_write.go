package device

import (
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"strings"
	"syscall"
	"unicode/utf16"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// GUID is a GUID in the order of its text; the disk has the first three fields
// the other way round.
type GUID [16]byte

// String is the GUID as text, in lower case.
func (g GUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", g[0:4], g[4:6], g[6:8], g[8:10], g[10:16])
}

// ErrGUID says that a text is no GUID. It matches fs.ErrInvalid and
// syscall.EINVAL.
var ErrGUID = disk.NewKind("not a GUID", fs.ErrInvalid, syscall.EINVAL)

// ParseGUID reads a GUID as text, in either case.
func ParseGUID(s string) (g GUID, err error) {
	parts := strings.Split(s, "-")
	if len(s) != 36 || len(parts) != 5 || len(parts[0]) != 8 || len(parts[1]) != 4 || len(parts[2]) != 4 || len(parts[3]) != 4 {
		return g, fmt.Errorf("%q: %w", s, ErrGUID)
	}
	if _, err := hex.Decode(g[:], []byte(strings.Join(parts, ""))); err != nil {
		return GUID{}, fmt.Errorf("%q: %w", s, ErrGUID)
	}
	return g, nil
}

// put writes the GUID as it is on disk.
func (g GUID) put(b []byte) {
	for i, from := range [16]int{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15} {
		b[i] = g[from]
	}
}

// LinuxDataGUID is the type of a partition with any Linux file system.
const LinuxDataGUID = "0fc63daf-8483-4772-8e79-3d69d8477de4"

// rootGUIDs are the types of root partitions of the Discoverable Partitions
// Specification, by architecture as Go calls it, or else uname -m.
var rootGUIDs = map[string]string{
	"386":      "44479540-f297-41b2-9af7-d131d5f0458a",
	"amd64":    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
	"alpha":    "6523f8ae-3eb1-4e2a-a05a-18b695ae656f",
	"arc":      "d27f46ed-2919-4cb8-bd25-9531f3c16534",
	"arm":      "69dad710-2ce4-4e3c-b16c-21a1d49abed3",
	"arm64":    "b921b045-1df0-41c3-af44-4c6f280d3fae",
	"ia64":     "993d8d3d-f80e-4225-855a-9daf8ed7ea97",
	"loong64":  "77055800-792c-4f94-b39a-98c91b762bb6",
	"mips":     "e9434544-6e2c-47cc-bae2-12d6deafb44c",
	"mips64":   "d113af76-80ef-41b4-bdb6-0cff4d3d4a25",
	"mipsle":   "37c58c8a-d913-4156-a25f-48b1b64e07f0",
	"mips64le": "700bda43-7a34-4507-b179-eeb93d7a7ca3",
	"parisc":   "1aacdb3b-5444-4138-bd9e-e5c2239b2346",
	"ppc":      "1de3f1ef-fa98-47b5-8dcd-4a860a654d78",
	"ppc64":    "912ade1d-a839-4913-8964-a10eee08fbd2",
	"ppc64le":  "c31c45e6-3f39-412e-80fb-4809c4980599",
	"riscv32":  "60d5a7fe-8e7d-435c-b714-3dd8162144e1",
	"riscv64":  "72ec70a6-cf74-40e6-bd49-4bda08e8f224",
	"s390":     "08a7acea-624c-4a20-91e8-6e0fa67d23f9",
	"s390x":    "5eead9a9-fe09-4a1e-a1d7-520d00531306",
}

var archAliases = map[string]string{
	"i386": "386", "i486": "386", "i586": "386", "i686": "386", "x86": "386", "x86_64": "amd64", "x86-64": "amd64",
	"aarch64": "arm64", "armv6l": "arm", "armv7l": "arm", "armhf": "arm", "armel": "arm", "loongarch64": "loong64",
	"mipsel": "mipsle", "mips-le": "mipsle", "mips64el": "mips64le", "mips64-le": "mips64le",
	"powerpc": "ppc", "powerpc64": "ppc64", "powerpc64le": "ppc64le", "ppc64el": "ppc64le", "ppc64-le": "ppc64le",
}

// RootGUID is the type of the root partition of an architecture, which may be
// called as Go, uname -m or Debian call it; false if there is none.
func RootGUID(arch string) (string, bool) {
	arch = strings.ToLower(arch)
	if a, ok := archAliases[arch]; ok {
		arch = a
	}
	g, ok := rootGUIDs[arch]
	return g, ok
}

// TableOptions say what a partition table with one partition is like. The GUIDs
// are the caller's, so that a table can be made again.
type TableOptions struct {
	Scheme     Scheme // SchemeGPT or SchemeMBR
	Payload    int64  // size of the content, in bytes
	SectorSize int    // 512 or 4096; 0 is 512
	Align      int64  // of the partition's start and the disk's size, in bytes; 0 is 1 MiB
	Bootable   bool   // the active partition; for GPT the attribute "legacy BIOS bootable"

	// Of GPT.
	Disk      GUID
	Partition GUID
	Type      GUID   // zero is LinuxDataGUID
	Name      string // up to 36 UTF-16 units

	// Of MBR.
	DiskID uint32 // the disk signature
	Kind   byte   // the type; 0 is 0x83, Linux
}

// TableLayout is where things lie on a disk with a table.
type TableLayout struct {
	Size    int64 // of the disk
	Offset  int64 // of the partition
	Payload int64 // size of the partition: that of the content, in whole sectors
}

const (
	gptEntries  = 128
	gptRevision = 0x10000
	mbrLinux    = 0x83
	mbrActive   = 0x80
	// gptBootable is the attribute of what a BIOS may boot.
	gptBootable = 1 << 2
	// tableMax keeps all sums in range.
	tableMax = math.MaxInt64 / 4
)

// bad is an option that cannot be.
func (o *TableOptions) bad(format string, args ...any) error {
	return &UnsupportedError{Format: o.Scheme.String(), Detail: fmt.Sprintf(format, args...)}
}

// defaults fills in and checks.
func (o TableOptions) defaults() (TableOptions, error) {
	if o.SectorSize == 0 {
		o.SectorSize = 512
	}
	if o.Align == 0 {
		o.Align = 1 << 20
	}
	if o.Type == (GUID{}) {
		g, err := ParseGUID(LinuxDataGUID)
		if err != nil {
			return o, err
		}
		o.Type = g
	}
	if o.Kind == 0 {
		o.Kind = mbrLinux
	}
	switch {
	case o.Scheme != SchemeGPT && o.Scheme != SchemeMBR:
		return o, o.bad("a table of this scheme")
	case o.SectorSize != 512 && o.SectorSize != 4096:
		return o, o.bad("a sector size of %d bytes", o.SectorSize)
	case o.Align < int64(o.SectorSize) || o.Align%int64(o.SectorSize) != 0 || o.Align > 1<<40:
		return o, o.bad("alignment to %d bytes", o.Align)
	case o.Payload <= 0 || o.Payload > tableMax:
		return o, o.bad("a partition of %d bytes", o.Payload)
	case len(utf16.Encode([]rune(o.Name))) > 36 || strings.IndexByte(o.Name, 0) >= 0:
		return o, o.bad("the partition name %q", o.Name)
	}
	return o, nil
}

// head is how much the table takes at the start, tail at the end of the disk.
func (o *TableOptions) head() (head, tail int64) {
	sector := int64(o.SectorSize)
	if o.Scheme == SchemeMBR {
		return sector, 0
	}
	array := roundUp(gptEntries*gptEntrySize, sector)
	return 2*sector + array, sector + array
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// Layout tells how large the disk becomes, and where the content goes: write it
// to a NewWriterWindow there, and then the table with WriteTable. What cannot be
// is disk.ErrUnsupported, such as a partition for which an MBR is too small.
func (o TableOptions) Layout() (TableLayout, error) {
	o, err := o.defaults()
	if err != nil {
		return TableLayout{}, err
	}
	head, tail := o.head()
	l := TableLayout{Offset: roundUp(head, o.Align), Payload: roundUp(o.Payload, int64(o.SectorSize))}
	l.Size = roundUp(l.Offset+l.Payload+tail, o.Align)
	if sector := int64(o.SectorSize); o.Scheme == SchemeMBR && (l.Offset+l.Payload)/sector > math.MaxUint32 {
		return l, o.bad("a partition that ends at byte %d", l.Offset+l.Payload)
	}
	return l, nil
}

// WriteTable writes the table to a disk of at least the size that Layout tells.
// On a larger one the backup of a GPT goes to its end. The first sector, by
// which the table is known, is written last; the caller syncs. Errors are those
// of Layout and w, and a *RangeError for a disk that is too small.
func WriteTable(w Writer, o TableOptions) error {
	l, err := o.Layout()
	if err != nil {
		return err
	}
	if o, err = o.defaults(); err != nil {
		return err
	}
	if err := inside("write", 0, l.Size, w.Size()); err != nil {
		return fmt.Errorf("%v: %w", o.Scheme, err)
	}
	sector := int64(o.SectorSize)
	total := w.Size() / sector
	put := func(b []byte, at int64) {
		if err == nil {
			_, err = w.WriteAt(b, at*sector)
		}
	}
	mbr := make([]byte, sector)
	if o.Scheme == SchemeMBR {
		le.PutUint32(mbr[mbrSignature:], o.DiskID)
		status := byte(0)
		if o.Bootable {
			status = mbrActive
		}
		putMBREntry(mbr, status, o.Kind, l.Offset/sector, l.Payload/sector)
	} else {
		putMBREntry(mbr, 0, mbrProtective, 1, min(total-1, math.MaxUint32))
		array := o.gptArray(l)
		n := int64(len(array)) / sector
		sum := crc32.ChecksumIEEE(array[:gptEntries*gptEntrySize])
		put(array, total-1-n)
		put(o.gptHeader(total, total-1, 1, total-1-n, sum), total-1)
		put(array, 2)
		put(o.gptHeader(total, 1, total-1, 2, sum), 1)
	}
	put(mbr, 0)
	if err != nil {
		return fmt.Errorf("write the %v: %w", o.Scheme, err)
	}
	return nil
}

// putMBREntry makes the first entry of a record, and its signature.
func putMBREntry(b []byte, status, kind byte, first, sectors int64) {
	e := b[mbrTable:][:mbrEntrySize]
	e[0], e[4] = status, kind
	putCHS(e[1:], first)
	putCHS(e[5:], first+sectors-1)
	le.PutUint32(e[8:], uint32(first))
	le.PutUint32(e[12:], uint32(sectors))
	b[510], b[511] = 0x55, 0xaa
}

// putCHS writes a sector in the geometry that all agree on for images; what is
// beyond it is its last sector, as it is usual.
func putCHS(b []byte, lba int64) {
	const heads, sectors, cylinders = 255, 63, 1024
	c, h, s := lba/(heads*sectors), lba/sectors%heads, lba%sectors+1
	if c >= cylinders {
		c, h, s = cylinders-1, heads-1, sectors
	}
	b[0], b[1], b[2] = byte(h), byte(s)|byte(c>>8<<6), byte(c)
}

// gptArray is the array of entries, in whole sectors.
func (o *TableOptions) gptArray(l TableLayout) []byte {
	sector := int64(o.SectorSize)
	b := make([]byte, roundUp(gptEntries*gptEntrySize, sector))
	o.Type.put(b[0:])
	o.Partition.put(b[16:])
	le.PutUint64(b[32:], uint64(l.Offset/sector))
	le.PutUint64(b[40:], uint64((l.Offset+l.Payload)/sector-1))
	if o.Bootable {
		le.PutUint64(b[48:], gptBootable)
	}
	for i, c := range utf16.Encode([]rune(o.Name)) {
		le.PutUint16(b[56+2*i:], c)
	}
	return b
}

// gptHeader is the header for a sector of a disk of so many; the other one is at
// alternate, and its array at entries.
func (o *TableOptions) gptHeader(total, lba, alternate, entries int64, arraySum uint32) []byte {
	sector := int64(o.SectorSize)
	array := roundUp(gptEntries*gptEntrySize, sector) / sector
	b := make([]byte, sector)
	copy(b, gptMagic)
	le.PutUint32(b[8:], gptRevision)
	le.PutUint32(b[12:], gptHeaderSize)
	le.PutUint64(b[24:], uint64(lba))
	le.PutUint64(b[32:], uint64(alternate))
	le.PutUint64(b[40:], uint64(2+array))
	le.PutUint64(b[48:], uint64(total-2-array))
	o.Disk.put(b[56:])
	le.PutUint64(b[72:], uint64(entries))
	le.PutUint32(b[80:], gptEntries)
	le.PutUint32(b[84:], gptEntrySize)
	le.PutUint32(b[88:], arraySum)
	le.PutUint32(b[16:], crc32.ChecksumIEEE(b[:gptHeaderSize]))
	return b
}
