package device

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// choice is the part of the disk that was chosen.
type choice struct {
	off, size int64
	part      *Partition // nil: the whole disk, or a place that is no partition
}

// choose finds the file system in a disk, by what the options ask for.
func choose(d Device, o *Options) (choice, error) {
	if o.Partition != "" && o.Offset != 0 {
		return choice{}, fmt.Errorf("give a partition (%s) or an offset (%d), not both", o.Partition, o.Offset)
	}
	if o.Offset != 0 {
		return chooseOffset(d, o.Offset)
	}
	if o.Partition != "" {
		return chooseNamed(d, o.Partition)
	}
	return chooseOnly(d)
}

// chooseOnly takes the whole disk if it is a file system itself or has no
// partition table, else the one partition that holds an ext file system.
func chooseOnly(d Device) (choice, error) {
	whole := choice{size: d.Size()}
	if rankExt(d, 0) != extNone {
		return whole, nil
	}
	parts, scheme, err := Partitions(d)
	if err != nil {
		return choice{}, err
	}
	if scheme == SchemeNone {
		return whole, nil
	}
	// A file system that looks whole goes before an external journal, that
	// before one with nothing right but the magic number.
	var best extRank
	for _, p := range parts {
		best = max(best, p.rank)
	}
	if best == extNone {
		return choice{}, &PartitionError{Scheme: scheme, Candidates: parts, Err: ErrNoPartition}
	}
	var fit []Partition
	for _, p := range parts {
		if p.rank == best {
			fit = append(fit, p)
		}
	}
	if len(fit) > 1 {
		return choice{}, &PartitionError{Scheme: scheme, Candidates: fit, Err: ErrManyPartitions}
	}
	return choosePartition(d, fit[0])
}

// chooseNamed resolves Options.Partition.
func chooseNamed(d Device, want string) (choice, error) {
	spec, err := parseSpec(want)
	if err != nil {
		return choice{}, err
	}
	if spec.isOffset {
		return chooseOffset(d, spec.offset)
	}
	parts, scheme, err := Partitions(d)
	if err != nil {
		return choice{}, err
	}
	var fit []Partition
	for _, p := range parts {
		if spec.matches(p) {
			fit = append(fit, p)
		}
	}
	switch len(fit) {
	case 0:
		return choice{}, &PartitionError{Want: want, Scheme: scheme, Candidates: parts, Err: ErrNoPartition}
	case 1:
		return choosePartition(d, fit[0])
	}
	return choice{}, &PartitionError{Want: want, Scheme: scheme, Candidates: fit, Err: ErrManyPartitions}
}

// chooseOffset takes the partition that starts at off, or what follows there
// if none does. A table that cannot be read is no obstacle: giving the offset
// is the way around it.
func chooseOffset(d Device, off int64) (choice, error) {
	if off < 0 || off >= d.Size() {
		return choice{}, fmt.Errorf("offset %d is not inside the image of %d bytes", off, d.Size())
	}
	if off == 0 {
		return choice{size: d.Size()}, nil
	}
	parts, _, _ := Partitions(d)
	for _, p := range parts {
		if p.Offset == off {
			return choosePartition(d, p)
		}
	}
	return choice{off: off, size: d.Size() - off}, nil
}

// choosePartition clips a partition to a device that was cut off: what is left
// of the file system may still be worth reading.
func choosePartition(d Device, p Partition) (choice, error) {
	if p.Offset >= d.Size() {
		return choice{}, &FormatError{
			Format: "partition " + p.String(),
			Detail: fmt.Sprintf("starts beyond the end of the image (%d bytes)", d.Size()),
		}
	}
	return choice{off: p.Offset, size: min(p.Size, d.Size()-p.Offset), part: &p}, nil
}

// spec is a parsed Options.Partition.
type spec struct {
	isOffset bool
	offset   int64
	number   int // 0: by name or UUID
	name     string
	uuid     string
}

// maxNumber is the largest bare integer that is a partition's number.
const maxNumber = 128

// parseSpec reads the forms that Options.Partition documents.
func parseSpec(s string) (spec, error) {
	if rest, ok := strings.CutPrefix(s, "@"); ok {
		off, err := parseBytes(rest)
		if err != nil {
			return spec{}, fmt.Errorf("partition %q: %w", s, err)
		}
		return spec{isOffset: true, offset: off}, nil
	}
	if name, ok := cutPrefixFold(s, "PARTLABEL="); ok {
		return spec{name: name}, nil
	}
	if uuid, ok := cutPrefixFold(s, "PARTUUID="); ok {
		return spec{uuid: uuid}, nil
	}
	if n, err := parseInt(s); err == nil {
		if n <= maxNumber {
			return spec{number: int(n), name: s}, nil
		}
		return spec{isOffset: true, offset: int64(n)}, nil
	}
	if off, err := parseBytes(s); err == nil {
		return spec{isOffset: true, offset: off}, nil
	}
	return spec{name: s, uuid: s}, nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

func (s spec) matches(p Partition) bool {
	if s.number != 0 {
		return p.Number == s.number
	}
	return s.name != "" && p.Name == s.name || s.uuid != "" && strings.EqualFold(p.UUID, s.uuid)
}

// parseInt reads a decimal or 0x integer. A leading 0 is no octal.
func parseInt(s string) (uint64, error) {
	if hex, ok := cutPrefixFold(s, "0x"); ok {
		return strconv.ParseUint(hex, 16, 63)
	}
	return strconv.ParseUint(s, 10, 63)
}

// parseBytes reads a byte count: an integer, decimal or 0x, with a unit.
// Units are powers of 1024 with or without "iB" or "B"; "s" is a sector of
// 512 bytes.
func parseBytes(s string) (int64, error) {
	digits := strings.TrimRight(s, "sSkKmMgGtTiIbB")
	unit := strings.ToLower(s[len(digits):])
	if hex, ok := cutPrefixFold(s, "0x"); ok {
		// b is a digit here; a hexadecimal number takes no unit.
		digits, unit = "0x"+hex, ""
	}
	n, err := parseInt(digits)
	if err != nil {
		return 0, fmt.Errorf("%q is not a byte offset", s)
	}
	var shift uint
	switch strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i") {
	case "":
		if strings.HasPrefix(unit, "i") {
			return 0, fmt.Errorf("%q is not a byte offset", s)
		}
	case "s":
		shift = 9
	case "k":
		shift = 10
	case "m":
		shift = 20
	case "g":
		shift = 30
	case "t":
		shift = 40
	default:
		return 0, fmt.Errorf("%q has an unknown unit", s)
	}
	if n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%q is too large", s)
	}
	return int64(n << shift), nil
}
