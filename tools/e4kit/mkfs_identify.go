package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// identifyRange is how much at the start and at the end of a file or device
// must be zeros for it to be empty: signatures lie there.
const identifyRange = 68 << 10

// identify names what a device holds, as the end of a sentence: "an ext4 file
// system". It is "" if the first and the last 68 KiB are zeros.
func identify(d device.Device) (string, error) {
	size := d.Size()
	head := make([]byte, min(size, identifyRange))
	if _, err := d.ReadAt(head, 0); err != nil && err != io.EOF {
		return "", err
	}
	from := max(size-identifyRange, int64(len(head)))
	tail := make([]byte, size-from)
	if _, err := d.ReadAt(tail, from); err != nil && err != io.EOF {
		return "", err
	}
	if allZero(head) && allZero(tail) {
		return "", nil
	}
	if what := identifyExt(head); what != "" {
		return what, nil
	}
	for _, s := range signatures {
		if s.off+int64(len(s.magic)) <= int64(len(head)) && bytes.HasPrefix(head[s.off:], []byte(s.magic)) {
			return s.name, nil
		}
	}
	if what := identifyTable(d); what != "" {
		return what, nil
	}
	if what := identifyRAID(head, tail, size, from); what != "" {
		return what, nil
	}
	return "unknown data", nil
}

// signatures are those of what disks and files hold, the more certain ones
// first.
var signatures = []struct {
	off   int64
	magic string
	name  string
}{
	{0, "XFSB", "an XFS file system"},
	{0x10040, "_BHRfS_M", "a Btrfs file system"},
	{1024, "\x10\x20\xf5\xf2", "an F2FS file system"},
	{1024, "\xe2\xe1\xf5\xe0", "an EROFS file system"},
	{0, "hsqs", "a SquashFS file system"},
	{3, "NTFS    ", "an NTFS file system"},
	{3, "EXFAT   ", "an exFAT file system"},
	{82, "FAT32   ", "a FAT file system"},
	{54, "FAT16   ", "a FAT file system"},
	{54, "FAT12   ", "a FAT file system"},
	{32769, "CD001", "an ISO 9660 file system"},
	{32768, "JFS1", "a JFS file system"},
	{65588, "ReIsEr", "a ReiserFS file system"},
	{1024, "H+\x00\x04", "an HFS+ file system"},
	{32, "NXSB", "an APFS container"},
	{4096 - 10, "SWAPSPACE2", "swap space"},
	{65536 - 10, "SWAPSPACE2", "swap space"},
	{0, "LUKS\xba\xbe", "a LUKS volume"},
	{512, "LABELONE", "an LVM physical volume"},
	{0, "\x3a\xff\x26\xed", "an Android sparse image"},
	{0, "\x1f\x8b", "gzip data"},
	{0, "\x28\xb5\x2f\xfd", "zstd data"},
	{0, "\xfd7zXZ\x00", "xz data"},
	{0, "BZh", "bzip2 data"},
	{0, "QFI\xfb", "a QCOW2 image"},
	{0, "KDMV", "a VMDK image"},
	{0, "vhdxfile", "a VHDX image"},
	{0, "conectix", "a VHD image"},
	{0, "\x7fELF", "an ELF program"},
	{0, "PK\x03\x04", "a zip archive"},
	{257, "ustar", "a tar archive"},
}

// identifyExt names an ext file system or journal.
func identifyExt(head []byte) string {
	const at = 1024
	if len(head) < at+disk.SuperblockSize || binary.LittleEndian.Uint16(head[at+0x38:]) != disk.SuperblockMagic {
		return ""
	}
	var s disk.Superblock
	if s.Decode(head[at:at+disk.SuperblockSize]) != nil {
		return "a damaged ext file system"
	}
	what := "an " + fsType(&s) + " file system"
	if s.Features.Incompat.Has(disk.IncompatJournalDev) {
		what = "an external journal"
	}
	if label := disk.CString(s.VolumeName[:]); label != "" {
		what += fmt.Sprintf(" %q", label)
	}
	return what + ", UUID " + disk.UUIDString(s.UUID)
}

// identifyTable names a partition table.
func identifyTable(d device.Device) string {
	parts, scheme, err := device.Partitions(d)
	switch {
	case err != nil:
		return "a damaged partition table"
	case scheme == device.SchemeNone:
		return ""
	}
	article := "a"
	if scheme == device.SchemeMBR {
		article = "an"
	}
	return fmt.Sprintf("%s %v partition table with %s", article, scheme, counted(len(parts), "partition"))
}

// identifyRAID names a member of a Linux RAID, whose superblock may lie at
// several places. tail is what lies at from on.
func identifyRAID(head, tail []byte, size, from int64) string {
	const magic = "\xfc\x4e\x2b\xa9"
	const name = "a member of a Linux RAID"
	for _, at := range []int64{0, 4096} {
		if int64(len(head)) >= at+4 && string(head[at:at+4]) == magic {
			return name
		}
	}
	for _, at := range []int64{size&^65535 - 65536, (size - 8192) &^ 4095} {
		if i := at - from; i >= 0 && i+4 <= int64(len(tail)) && string(tail[i:i+4]) == magic {
			return name
		}
	}
	return ""
}

// allZero reports whether there is nothing but zeros.
func allZero(p []byte) bool { return len(bytes.TrimLeft(p, "\x00")) == 0 }
