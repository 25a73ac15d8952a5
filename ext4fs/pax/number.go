package pax

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// fieldText is the text of a field, up to a NUL if there is one.
func fieldText(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// sumOK compares the sum of the block, with blanks in its own place. Some
// programs have added bytes with a sign.
func sumOK(b []byte) bool {
	n := numbers{b: b}
	want := n.at(148, 8)
	var plain, signed int64
	for _, c := range b {
		plain += int64(c)
		signed += int64(int8(c))
	}
	for _, c := range b[148:156] {
		plain += ' ' - int64(c)
		signed += ' ' - int64(int8(c))
	}
	return !n.bad && (want == plain || want == signed)
}

// numbers reads the numbers of a header.
type numbers struct {
	b   []byte
	bad bool
}

// at reads octal digits, or base 256 where the first bit is set.
func (n *numbers) at(off, size int) int64 {
	b := n.b[off : off+size]
	if b[0]&0x80 != 0 {
		return n.binary(b)
	}
	for len(b) > 0 && (b[0] == ' ' || b[0] == 0) {
		b = b[1:]
	}
	var v int64
	for i, c := range b {
		switch {
		case c >= '0' && c <= '7' && v>>60 == 0:
			v = v<<3 | int64(c-'0')
		case c == 0:
			return v
		case c == ' ':
			// Blanks may fill the field up, and nothing may follow them.
			rest, _, _ := bytes.Cut(b[i:], []byte{0})
			n.bad = n.bad || len(bytes.Trim(rest, " ")) > 0
			return v
		default:
			n.bad = true
			return 0
		}
	}
	return v
}

// timeAt reads a time of access or change, which is often left empty.
func (n *numbers) timeAt(off int) time.Time {
	b := n.b[off : off+12]
	if b[0]&0x80 == 0 && (b[0] < '0' || b[0] > '7') {
		return time.Time{}
	}
	field := numbers{b: b}
	sec := field.at(0, 12)
	if field.bad || sec == 0 {
		return time.Time{} // older programs have other things there
	}
	return time.Unix(sec, 0)
}

// binary reads a number of base 256, the first bit of which is set.
func (n *numbers) binary(b []byte) int64 {
	inv := byte(0) // of a negative number all bits are turned
	if b[0]&0x40 != 0 {
		inv = 0xff
	}
	var v uint64
	for i, c := range b {
		c ^= inv
		if i == 0 {
			c &= 0x7f
		}
		if v>>55 != 0 {
			n.bad = true
			return 0
		}
		v = v<<8 | uint64(c)
	}
	if inv != 0 {
		return ^int64(v)
	}
	return int64(v)
}

// parseTime reads decimal seconds; digits beyond nanoseconds do not count.
func parseTime(s string) (time.Time, bool) {
	whole, part, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.Trim(part, "0123456789") != "" {
		return time.Time{}, false
	}
	var ns int64
	for i := range 9 {
		ns *= 10
		if i < len(part) {
			ns += int64(part[i] - '0')
		}
	}
	if strings.HasPrefix(whole, "-") {
		ns = -ns
	}
	return time.Unix(sec, ns), true
}
