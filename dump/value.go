package dump

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/bits"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Value is a structure of the image. json.Marshal gives it as JSON.
type Value interface {
	// WriteText writes it for people, in lines.
	WriteText(w io.Writer) error
}

// States of a Checksum.
const (
	ChecksumGood = "good"
	ChecksumBad  = "bad"
	ChecksumNone = "none" // the structure keeps no checksum
	// ChecksumUnknown: it depends on the inode that owns the structure, which
	// is not known.
	ChecksumUnknown = "unknown"
)

// Checksum is a checksum as it is stored and as it should be.
type Checksum struct {
	State    string  `json:"state"`
	Stored   *uint32 `json:"stored,omitempty"`
	Computed *uint32 `json:"computed,omitempty"`
}

// newChecksum compares two sums; without kept there is none.
func newChecksum(kept bool, stored, computed uint32) Checksum {
	if !kept {
		return Checksum{State: ChecksumNone}
	}
	c := Checksum{State: ChecksumGood, Stored: &stored, Computed: &computed}
	if stored != computed {
		c.State = ChecksumBad
	}
	return c
}

// unknownChecksum is a checksum that cannot be judged.
func unknownChecksum(kept bool, stored uint32) Checksum {
	if !kept {
		return Checksum{State: ChecksumNone}
	}
	return Checksum{State: ChecksumUnknown, Stored: &stored}
}

// missingChecksum is a checksum that should be there and has no place.
func missingChecksum() Checksum { return Checksum{State: ChecksumBad} }

// String is "none", "good 0x1234" or "BAD", with both sums.
func (c Checksum) String() string { return string(c.appendText(nil)) }

func (c *Checksum) appendText(b []byte) []byte {
	switch {
	case c.State == ChecksumNone || c.State == "":
		return append(b, ChecksumNone...)
	case c.State == ChecksumUnknown && c.Stored != nil:
		return append(appendHex32(append(b, "0x"...), *c.Stored), " (whose is not known)"...)
	case c.Stored == nil || c.Computed == nil:
		return append(append(b, c.State...), " (there is no place for it)"...)
	case c.State == ChecksumGood:
		return appendHex32(append(b, "good 0x"...), *c.Stored)
	}
	b = appendHex32(append(b, "BAD: stored 0x"...), *c.Stored)
	return appendHex32(append(b, ", computed 0x"...), *c.Computed)
}

// appendHex32 appends eight hexadecimal digits.
func appendHex32(b []byte, n uint32) []byte {
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[n>>shift&15])
	}
	return b
}

// Time is a time of the superblock or the journal: seconds since 1970, as
// stored and in RFC 3339. Zero seconds are no time.
type Time struct {
	Raw  uint64 `json:"raw"`
	Time string `json:"time,omitempty"`
}

// lastTime is the end of the year 9999: RFC 3339 has no later one.
const lastTime = 253402300799

func newTime(seconds uint64) Time {
	t := Time{Raw: seconds}
	if seconds != 0 && seconds <= lastTime {
		t.Time = time.Unix(int64(seconds), 0).UTC().Format(time.RFC3339)
	}
	return t
}

// String is the time, "never" for none.
func (t Time) String() string {
	switch {
	case t.Raw == 0:
		return "never"
	case t.Time == "":
		return fmt.Sprintf("%d seconds", t.Raw)
	}
	return t.Time
}

// Flags is a word of bits with names.
type Flags struct {
	Raw   uint32   `json:"raw"`
	Names []string `json:"names"`
}

// newFlags names the bits of raw; a bit without a name is bitN.
func newFlags(raw uint32, names ...string) Flags {
	f := Flags{Raw: raw, Names: make([]string, 0, bits.OnesCount32(raw))}
	for w := raw; w != 0; w &= w - 1 {
		n := bits.TrailingZeros32(w)
		if n < len(names) && names[n] != "" {
			f.Names = append(f.Names, names[n])
		} else {
			f.Names = append(f.Names, "bit"+strconv.Itoa(n))
		}
	}
	return f
}

func namedFlags(raw uint32, names []string) Flags {
	if names == nil {
		names = []string{}
	}
	return Flags{Raw: raw, Names: names}
}

// String is the word in hexadecimal and the names.
func (f Flags) String() string { return string(f.appendText(nil)) }

func (f *Flags) appendText(b []byte) []byte {
	b = strconv.AppendUint(append(b, "0x"...), uint64(f.Raw), 16)
	for i, name := range f.Names {
		if i == 0 {
			b = append(b, " ("...)
		} else {
			b = append(b, ' ')
		}
		b = append(b, name...)
	}
	if len(f.Names) > 0 {
		b = append(b, ')')
	}
	return b
}

// Code is a number that stands for a word.
type Code struct {
	Raw  uint32 `json:"raw"`
	Name string `json:"name"`
}

// newCode names raw; without a name it is "unknown".
func newCode(raw uint32, names ...string) Code {
	if uint64(raw) < uint64(len(names)) && names[raw] != "" {
		return Code{raw, names[raw]}
	}
	return Code{raw, "unknown"}
}

// String is the name and the number.
func (c Code) String() string { return fmt.Sprintf("%s (%d)", c.Name, c.Raw) }

// Range is a run of numbers, both ends in it.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// newRange is the run of n numbers from first on; n is at least 1.
func newRange(first, n uint64) Range { return Range{first, first + n - 1} }

// String is "first-last", or the number where there is one.
func (r Range) String() string { return string(r.appendText(nil)) }

func (r *Range) appendText(b []byte) []byte {
	b = strconv.AppendUint(b, r.First, 10)
	if r.First != r.Last {
		b = strconv.AppendUint(append(b, '-'), r.Last, 10)
	}
	return b
}

// Bytes is raw content. In JSON it is a string of hexadecimal digits.
type Bytes []byte

// MarshalText gives the hexadecimal digits.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(b)), nil }

// String gives the hexadecimal digits, in groups of four bytes.
func (b Bytes) String() string {
	s := hex.EncodeToString(b)
	var out strings.Builder
	for i := 0; i < len(s); i += 8 {
		if i > 0 {
			out.WriteByte(' ')
		}
		out.WriteString(s[i:min(i+8, len(s))])
	}
	return out.String()
}

// Name is a name or another text of the image. Text has a \xNN for each byte
// that is no UTF-8; Base64 is set only then, and is exact.
type Name struct {
	Text   string `json:"name"`
	Base64 string `json:"name_base64,omitempty"`
}

func newName(b []byte) Name {
	if utf8.Valid(b) {
		return Name{Text: string(b)}
	}
	return Name{Text: validText(b), Base64: base64.StdEncoding.EncodeToString(b)}
}

// String is the name with everything escaped that a terminal could take for
// more than text.
func (n Name) String() string { return escape(n.Text) }

// validText replaces every byte that is no UTF-8 by \xNN.
func validText(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&out, `\x%02x`, b[0])
		} else {
			out.Write(b[:n])
		}
		b = b[n:]
	}
	return out.String()
}

// cText is a field of bytes that ends at the first NUL, if there is one.
func cText(b []byte) string { return validText([]byte(disk.CString(b))) }

// problem is the text of an error for a list of problems.
func problem(err error) string { return err.Error() }
