package device

import (
	"fmt"
	"strings"
)

// Scheme is the kind of a partition table.
type Scheme uint8

// The schemes that are understood.
const (
	SchemeNone Scheme = iota
	SchemeGPT
	SchemeMBR
)

func (s Scheme) String() string {
	switch s {
	case SchemeGPT:
		return "GPT"
	case SchemeMBR:
		return "MBR"
	}
	return "none"
}

// Partition is one entry of a partition table.
type Partition struct {
	Number int    // as the kernel counts: slot in the table, from 1; logical ones of MBR from 5
	Name   string // GPT's label
	Type   string // GPT's type UUID, or the MBR type as "0x83"
	UUID   string // in lower case; of an MBR partition "signature-number" as the kernel has it
	// Offset and Size are bytes as the table gives them: the partition of a
	// disk image that was cut off may end beyond the device.
	Offset, Size int64
	// Ext reports that there is an ext superblock, of a file system or of an
	// external journal.
	Ext bool

	rank extRank
}

// String is the partition in one line for people.
func (p Partition) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", p.Number)
	if p.Name != "" {
		fmt.Fprintf(&b, " %q", p.Name)
	}
	fmt.Fprintf(&b, " at %d, %d bytes", p.Offset, p.Size)
	if p.Ext {
		b.WriteString(", ext")
	}
	return b.String()
}

// sectorSizer is a device that knows the sector size of its partition table.
type sectorSizer interface{ sectorSize() int }

// Partitions reads the partition table of d, GPT or MBR, with sectors of 512
// or 4096 bytes. A device without one has SchemeNone and no partitions, which
// is no error. It does not matter whether d also looks like a file system.
//
// GPT is taken with a good header and entry checksum, from the backup at the
// end if the first one is bad, and only where the MBR is the protective one,
// a hybrid of it, empty, or absent: tools that write an MBR over a GPT disk
// leave the headers behind. A GPT that is bad at both places is a
// *FormatError, unless a hybrid MBR lists partitions too. A chain of logical
// partitions that is broken ends at that point, as in the kernel.
func Partitions(d Device) ([]Partition, Scheme, error) {
	parts, scheme, err := readTables(d)
	for i := range parts {
		parts[i].rank = rankExt(d, parts[i].Offset)
		parts[i].Ext = parts[i].rank != extNone
	}
	return parts, scheme, err
}

func readTables(d Device) ([]Partition, Scheme, error) {
	m, haveMBR := readMBR(d)
	var gptErr error
	if !haveMBR || m.protective() || m.empty() {
		// The header at the end counts only if there ought to be one.
		parts, found, err := readGPT(d, !haveMBR || m.protective())
		if found && err == nil {
			return parts, SchemeGPT, nil
		}
		gptErr = err
	}
	if haveMBR {
		if parts := m.partitions(d); len(parts) > 0 {
			return parts, SchemeMBR, nil
		}
		if gptErr == nil && m.protective() {
			gptErr = &FormatError{Format: "GPT", Detail: "there is a protective MBR and no header"}
		}
	}
	if gptErr != nil {
		return nil, SchemeGPT, gptErr
	}
	return nil, SchemeNone, nil
}

// readSector fills p from off; false if the device is shorter or fails.
func readSector(d Device, p []byte, off int64) bool {
	if off < 0 || off > d.Size()-int64(len(p)) {
		return false
	}
	n, _ := d.ReadAt(p, off)
	return n == len(p)
}
