package format

import (
	"math"
	"strconv"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// ParseAmount reads a number of blocks, or with one of the suffixes K, M, G, T
// (powers of 1024) and s (512) one of bytes. Numbers may be hexadecimal (0x)
// and octal (0).
func ParseAmount(s string) (Amount, error) {
	digits, shift := s, 0
	if n := len(s); n > 0 {
		if i := strings.IndexByte("sKkMmGgTt", s[n-1]); i >= 0 {
			digits, shift = s[:n-1], [...]int{9, 10, 10, 20, 20, 30, 30, 40, 40}[i]
		}
	}
	n, err := number(digits, 64)
	if err != nil {
		return Amount{}, err
	}
	if shift > 0 && n > math.MaxInt64>>shift {
		return Amount{}, strconv.ErrRange
	}
	return Amount{N: n << shift, Bytes: shift > 0}, nil
}

// number reads an unsigned number of so many bits, as strtoul with base 0 does.
func number(s string, bits int) (uint64, error) {
	if strings.Contains(s, "_") {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseUint(s, 0, bits)
	if e, ok := err.(*strconv.NumError); ok {
		err = e.Err
	}
	return n, err
}

// settings walks over "name=value,name,...", which -E and -J take. set gets a
// nil value where there is no "=".
func settings(list string, set func(name string, value *string) error) error {
	for word := range strings.SplitSeq(list, ",") {
		if word == "" {
			continue
		}
		name, value, given := strings.Cut(word, "=")
		var v *string
		if given {
			v = &value
		}
		if err := set(name, v); err != nil {
			return err
		}
	}
	return nil
}

// setter reads the value of one setting.
type setter struct {
	option string
	value  *string
}

func (s setter) fail(err error) error {
	switch {
	case s.value == nil:
		return bad(s.option, nil, "needs a value")
	case err == strconv.ErrRange:
		return bad(s.option, *s.value, "too large")
	}
	return bad(s.option, *s.value, "not a number")
}

// uint reads a number up to limit.
func (s setter) uint(limit uint64) (uint64, error) {
	if s.value == nil {
		return 0, s.fail(nil)
	}
	n, err := number(*s.value, 64)
	if err != nil {
		return 0, s.fail(err)
	}
	if n > limit {
		return 0, bad(s.option, *s.value, "at most %d", limit)
	}
	return n, nil
}

// flag reads a number of which only zero matters; without a value it is true.
func (s setter) flag() (bool, error) {
	if s.value == nil {
		return true, nil
	}
	n, err := s.uint(math.MaxUint64)
	return n != 0, err
}

func (s setter) amount() (Amount, error) {
	if s.value == nil {
		return Amount{}, s.fail(nil)
	}
	a, err := ParseAmount(*s.value)
	if err != nil {
		return a, s.fail(err)
	}
	if a.N == 0 {
		return a, bad(s.option, *s.value, "must not be zero")
	}
	return a, nil
}

// text reads any value.
func (s setter) text() (string, error) {
	if s.value == nil {
		return "", s.fail(nil)
	}
	return *s.value, nil
}

// ParseExtended reads a list of extended options, as -E takes it, and changes o
// by it; what earlier lists set and this one does not stays. On an error o may
// be half changed.
func (o *Options) ParseExtended(list string) error {
	return settings(list, func(name string, value *string) error {
		s := setter{"-E " + name, value}
		if done, err := o.extendedGeometry(name, s); done {
			return err
		}
		if done, err := o.extendedWriting(name, s); done {
			return err
		}
		return o.extendedRest(name, s)
	})
}

// extendedGeometry sets what changes where things lie.
func (o *Options) extendedGeometry(name string, s setter) (bool, error) {
	var n uint64
	var err error
	switch name {
	case "stride":
		n, err = s.uint(math.MaxUint16)
		o.Stride = uint16(n)
	case "stripe-width", "stripe_width":
		n, err = s.uint(math.MaxUint32)
		o.StripeWidth = uint32(n)
	case "resize":
		o.Resize, err = s.amount()
	case "desc-size", "desc_size":
		n, err = s.uint(1024)
		if err == nil && (n < 64 || n&(n-1) != 0) {
			err = bad(s.option, n, "must be a power of two from 64 to 1024")
		}
		o.DescSize = int(n)
	case "num_backup_sb":
		n, err = s.uint(2)
		o.BackupSupers = ptr(int(n))
	case "packed_meta_blocks":
		o.PackedMeta, err = s.flag()
	case "offset":
		n, err = s.uint(math.MaxInt64)
		o.Offset = int64(n)
	case "orphan_file_size":
		o.OrphanFileSize, err = s.amount()
	default:
		return false, nil
	}
	return true, err
}

// extendedWriting sets what is written and what is left.
func (o *Options) extendedWriting(name string, s setter) (bool, error) {
	var on bool
	var err error
	switch name {
	case "lazy_itable_init":
		on, err = s.flag()
		o.LazyItable = &on
	case "lazy_journal_init":
		o.LazyJournal, err = s.flag()
	case "assume_storage_prezeroed":
		o.Zeroed, err = s.flag()
	case "discard":
		o.NoDiscard = false
	case "nodiscard":
		o.NoDiscard = true
	default:
		return false, nil
	}
	return true, err
}

// extendedRest sets everything else.
func (o *Options) extendedRest(name string, s setter) error {
	var n uint64
	var err error
	switch name {
	case "hash_seed":
		var text string
		if text, err = s.text(); err == nil {
			o.HashSeed, err = parseUUID(s.option, text)
		}
	case "mmp_update_interval":
		n, err = s.uint(mmpMaxInterval)
		o.MMPInterval = uint16(n)
	case "root_owner":
		err = o.parseRootOwner(s)
	case "root_perms":
		err = o.parseRootMode(s)
	case "quotatype":
		err = o.parseQuotaTypes(s)
	case "encoding":
		o.Encoding, err = s.text()
		if err == nil {
			_, err = encodingNumber(o.Encoding)
		}
	case "encoding_flags":
		o.EncodingFlags, err = s.text()
		if err == nil {
			_, err = encodingFlags(o.EncodingFlags)
		}
	case "revision":
		n, err = s.uint(1)
		o.Revision0 = n == 0
	case "test_fs":
		o.TestFS = true
	default:
		return bad(s.option, nil, "unknown extended option")
	}
	return err
}

func ptr[T any](v T) *T { return &v }

// parseRootOwner reads "uid:gid".
func (o *Options) parseRootOwner(s setter) error {
	text, err := s.text()
	if err != nil {
		return bad(s.option, nil, "needs UID:GID")
	}
	uid, gid, ok := strings.Cut(text, ":")
	u, uerr := number(uid, 32)
	g, gerr := number(gid, 32)
	if !ok || uerr != nil || gerr != nil {
		return bad(s.option, text, "want UID:GID")
	}
	o.RootUID, o.RootGID, o.RootOwner = uint32(u), uint32(g), true
	return nil
}

// parseRootMode reads octal permission bits.
func (o *Options) parseRootMode(s setter) error {
	text, err := s.text()
	if err != nil {
		return err
	}
	n, perr := strconv.ParseUint(text, 8, 16)
	if perr != nil || n > 07777 {
		return bad(s.option, text, "want octal permission bits")
	}
	o.RootMode = ptr(uint16(n))
	return nil
}

// parseQuotaTypes reads words like "usrquota:^grpquota", which change nothing
// but themselves: it begins with none.
func (o *Options) parseQuotaTypes(s setter) error {
	text, err := s.text()
	if err != nil {
		return err
	}
	var on [disk.QuotaKinds]bool
	for word := range strings.SplitSeq(text, ":") {
		name, clear := strings.CutPrefix(word, "^")
		var k disk.QuotaKind
		switch name {
		case "usr", "usrquota":
			k = disk.QuotaUser
		case "grp", "grpquota":
			k = disk.QuotaGroup
		case "prj", "prjquota":
			k = disk.QuotaProject
		default:
			return bad(s.option, word, "want usrquota, grpquota or prjquota")
		}
		on[k] = !clear
	}
	o.Quota = []disk.QuotaKind{}
	for k, set := range on {
		if set {
			o.Quota = append(o.Quota, disk.QuotaKind(k))
		}
	}
	return nil
}

// ParseJournal reads a list of journal options, as -J takes it, and changes o
// by it. size is in MiB and fast_commit_size in KiB without a suffix.
func (o *Options) ParseJournal(list string) error {
	return settings(list, func(name string, value *string) error {
		s := setter{"-J " + name, value}
		j := &o.Journal
		var err error
		switch name {
		case "size":
			j.Size, err = s.bytes(1 << 20)
			j.Want = err == nil && j.Size > 0
		case "fast_commit_size":
			j.FastSize, err = s.bytes(1 << 10)
		case "location":
			var text string
			if text, err = s.text(); err == nil {
				var a Amount
				if a, err = ParseAmount(text); err != nil {
					return s.fail(err)
				}
				j.Location = &a
			}
		case "device":
			if j.DeviceName, err = s.text(); err == nil && j.DeviceName == "" {
				err = bad(s.option, nil, "needs a value")
			}
		case "v1_superblock":
			j.V1 = true
		default:
			return bad(s.option, nil, "unknown journal option; there are size, fast_commit_size, location and device")
		}
		return err
	})
}

// bytes reads a size: a number of units, or of bytes with a suffix.
func (s setter) bytes(unit uint64) (int64, error) {
	if s.value == nil {
		return 0, s.fail(nil)
	}
	a, err := ParseAmount(*s.value)
	if err != nil {
		return 0, s.fail(err)
	}
	if a.Bytes {
		return int64(a.N), nil
	}
	if a.N > math.MaxInt64/unit {
		return 0, s.fail(strconv.ErrRange)
	}
	return int64(a.N * unit), nil
}

// parseUUID reads a UUID in the usual form.
func parseUUID(option, text string) (*[16]byte, error) {
	u, err := ParseUUID(text)
	if err != nil {
		return nil, bad(option, text, "not a UUID")
	}
	return &u, nil
}

// ParseUUID reads a UUID of 32 hexadecimal digits in groups of 8-4-4-4-12.
// The error matches ErrOption.
func ParseUUID(text string) ([16]byte, error) {
	var u [16]byte
	if len(text) != 36 {
		return u, bad("UUID", text, "want 8-4-4-4-12 hexadecimal digits")
	}
	n := 0
	for i := 0; i < len(text); {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if text[i] != '-' {
				return [16]byte{}, bad("UUID", text, "want 8-4-4-4-12 hexadecimal digits")
			}
			i++
			continue
		}
		b, err := strconv.ParseUint(text[i:i+2], 16, 8)
		if err != nil || text[i] == '+' {
			return [16]byte{}, bad("UUID", text, "want 8-4-4-4-12 hexadecimal digits")
		}
		u[n] = byte(b)
		n++
		i += 2
	}
	return u, nil
}

// encodingNumber is s_encoding for a name.
func encodingNumber(name string) (uint16, error) {
	switch name {
	case "utf8", "utf8-12.1":
		return 1, nil
	}
	return 0, bad("encoding", name, "unknown; there are utf8 and utf8-12.1")
}

// encodingStrict in s_encoding_flags: names that are not valid are refused.
const encodingStrict = 1

// encodingFlags reads words joined by "-".
func encodingFlags(list string) (uint16, error) {
	flags := uint16(0)
	for word := range strings.SplitSeq(list, "-") {
		switch word {
		case "":
		case "strict":
			flags |= encodingStrict
		case "nostrict":
			flags &^= encodingStrict
		default:
			return 0, bad("encoding flags", list, "unknown; there are strict and nostrict")
		}
	}
	return flags, nil
}
