package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"sort"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// table is what kind of partition table goes around a file system of so many
// bytes.
func (o *mkfsOptions) table(size int64, sector int) device.TableOptions {
	t := device.TableOptions{Scheme: device.SchemeGPT, Payload: size, SectorSize: sector, Bootable: true, Type: o.kind}
	if o.partition == "mbr" {
		t.Scheme = device.SchemeMBR
	}
	return t
}

// tableRoom is the largest file system, in whole pages, that has room on a disk
// of so many bytes; 0 if there is none.
func (o *mkfsOptions) tableRoom(size int64, sector int) int64 {
	const page = 4096
	pages := sort.Search(int(min(size/page, math.MaxInt)), func(n int) bool {
		l, err := o.table(int64(n+1)*page, sector).Layout()
		return err != nil || l.Size > size
	})
	return int64(pages) * page
}

// frame is where in the image the file system starts, and how large the image
// is with what lies around it.
func (o *mkfsOptions) frame(size int64, t *mkfsTarget) (offset, total int64, err error) {
	if o.partition == "" {
		total = o.offset + size
		if t.device && total > t.img.Size() {
			return 0, 0, fmt.Errorf("has %d bytes, and %d are needed", t.img.Size(), total)
		}
		return o.offset, total, nil
	}
	l, err := o.table(size, t.sector()).Layout()
	if err != nil {
		return 0, 0, err
	}
	if t.device && l.Size > t.img.Size() {
		return 0, 0, fmt.Errorf("has %d bytes, and %d are needed", t.img.Size(), l.Size)
	}
	return l.Offset, l.Size, nil
}

// writeTable writes the partition table. Its GUIDs follow from the UUID of the
// file system: they are as random as that is.
func (o *mkfsOptions) writeTable(p *place, t *mkfsTarget, job maker) error {
	s := job.Super()
	table := o.table(job.Size(), t.sector())
	table.Disk, table.Partition = derivedGUID("disk", s.UUID), derivedGUID("partition", s.UUID)
	table.DiskID = binary.LittleEndian.Uint32(table.Disk[:])
	table.Name = disk.CString(s.VolumeName[:])
	return device.WriteTable(p.disk, table)
}

// derivedGUID is a GUID of version 8 that follows from another.
func derivedGUID(what string, from [16]byte) (g device.GUID) {
	sum := sha256.Sum256(append([]byte("e4kit "+what+" of "), from[:]...))
	copy(g[:], sum[:])
	g[6], g[8] = g[6]&0x0f|0x80, g[8]&0x3f|0x80
	return g
}
