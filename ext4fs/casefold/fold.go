// Package casefold compares names of casefolded directories as the kernel
// does: full case folding (C and F) of Unicode 12.1, then decomposition (NFD),
// without Default_Ignorable code points. It is pure computation; ext4 knows no
// other encoding.
//
// A folding is what the kernel calls nfdicf, bug for bug, because it is what
// the hashes of a directory's index were made of:
//
//   - Every code point counts but surrogates. Those that Unicode 12.1 does not
//     assign stand for themselves.
//   - An ignorable code point vanishes, but separates the combining marks on
//     both sides of it: they are not sorted across it.
//   - A name ends at a NUL.
//   - A continuation byte without a start makes a name invalid only in front.
//     Behind a character it is taken as it is, and among combining marks that
//     are being sorted it is written once more for every class of them.
//
// Names that are invalid have no folding: they are equal only to themselves,
// and their raw bytes are hashed.
package casefold

//go:generate go run gen/gen.go -ucd package

import (
	"bytes"
	"unicode/utf8"
)

// Append appends the folding of name to dst. ok is false when name is not
// valid: then what it returns is dst with nothing of use behind it.
func Append(dst, name []byte) (folded []byte, ok bool) {
	for i, c := range name {
		switch {
		case c == 0:
			return dst, true
		case c >= utf8.RuneSelf:
			if i == 0 && isContinuation(c) {
				return dst, false
			}
			return appendUnicode(dst, name[i:])
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst, true
}

// Equal reports whether two names are the same in a casefolded directory.
func Equal(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var bufA, bufB [bufferSize]byte
	fa, ok := Append(bufA[:0], a)
	if !ok {
		return false
	}
	return EqualFolded(fa, b, bufB[:0])
}

// EqualFolded reports whether name has the folding folded. It uses the
// capacity of scratch.
func EqualFolded(folded, name, scratch []byte) bool {
	f, ok := Append(scratch[:0], name)
	return ok && bytes.Equal(folded, f)
}

// bufferSize holds the folding of nearly every name.
const bufferSize = 512

// Valid reports whether a directory with strict encoding takes name: it is
// UTF-8, up to a NUL. The rule is stricter than that of Append.
func Valid(name []byte) bool {
	if i := bytes.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	return utf8.Valid(name)
}

func isContinuation(c byte) bool { return c&0xc0 == 0x80 }

// appendUnicode folds from the first byte that is not ASCII.
func appendUnicode(dst, name []byte) ([]byte, bool) {
	var m marks
	for len(name) > 0 && name[0] != 0 {
		c := name[0]
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(m.flush(dst), c)
			name = name[1:]
			continue
		}
		if isContinuation(c) {
			// It continues nothing. The kernel's scan for the lowest class
			// writes it, and so does each pass that writes a class.
			dst = append(dst, c)
			if m.n > 0 {
				m.add(0, name[:1])
			}
			name = name[1:]
			continue
		}
		r, n := utf8.DecodeRune(name)
		if r == utf8.RuneError && n < 2 {
			return dst, false
		}
		dst = m.appendRune(dst, r, name[:n])
		name = name[n:]
	}
	return m.flush(dst), true
}

// appendRune appends what a code point, encoded as text, stands for.
func (m *marks) appendRune(dst []byte, r rune, text []byte) []byte {
	v := value(r)
	switch {
	case v == 0:
		return append(m.flush(dst), text...)
	case v < ignorable:
		m.add(uint8(v), text)
		return dst
	case v == ignorable:
		return m.flush(dst)
	case v == hangul:
		return appendHangul(m.flush(dst), r)
	}
	s := mapText[mapAt[v-firstMapping]:mapAt[v-firstMapping+1]]
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if class := value(r); class == 0 {
			dst = append(m.flush(dst), s[:n]...)
		} else {
			var t [utf8.UTFMax]byte
			m.add(uint8(class), t[:copy(t[:], s[:n])])
		}
		s = s[n:]
	}
	return dst
}

// mark is a combining mark, or a stray byte (class 0), that waits for its
// place in the order.
type mark struct {
	text  [utf8.UTFMax]byte
	len   uint8
	class uint8
}

// marks are the combining marks since the last starter (code point of class
// 0): they are sorted by class. A slice of its own array would put it on the
// heap.
type marks struct {
	n    int
	room [32]mark
	more []mark // those that room does not hold
}

func (m *marks) at(i int) *mark {
	if i < len(m.room) {
		return &m.room[i]
	}
	return &m.more[i-len(m.room)]
}

func (m *marks) add(class uint8, text []byte) {
	w := mark{len: uint8(len(text)), class: class}
	copy(w.text[:], text)
	if m.n < len(m.room) {
		m.room[m.n] = w
	} else {
		m.more = append(m.more, w)
	}
	m.n++
}

// flush writes the marks that wait, in order of class.
func (m *marks) flush(dst []byte) []byte {
	if m.n == 0 {
		return dst
	}
	for class := m.next(0); class != ignorable; class = m.next(class) {
		for i := range m.n {
			if w := m.at(i); w.class == class || w.class == 0 {
				dst = append(dst, w.text[:w.len]...)
			}
		}
	}
	m.n, m.more = 0, m.more[:0]
	return dst
}

// next is the lowest class above class, or ignorable.
func (m *marks) next(class uint8) uint8 {
	low := uint8(ignorable)
	for i := range m.n {
		if c := m.at(i).class; c > class && c < low {
			low = c
		}
	}
	return low
}

// Values of code points that are not combining classes.
const (
	ignorable    = 255
	firstMapping = 256
	hangul       = 0xffff
)

// Hangul syllables decompose by arithmetic (Unicode, section 3.12).
const (
	hangulFirst = 0xac00
	hangulLast  = 0xd7a3
	leadFirst   = 0x1100
	vowelFirst  = 0x1161
	trailFirst  = 0x11a7
	vowels      = 21
	trails      = 28
)

func value(r rune) uint16 {
	switch {
	case r >= tableLimit:
		if 0xe0000 <= r && r <= 0xe0fff {
			return ignorable
		}
		return 0
	case hangulFirst <= r && r <= hangulLast:
		return hangul
	}
	return values[blockOf[r>>blockBits]][r&(1<<blockBits-1)]
}

func appendHangul(dst []byte, r rune) []byte {
	s := r - hangulFirst
	dst = utf8.AppendRune(dst, leadFirst+s/(vowels*trails))
	dst = utf8.AppendRune(dst, vowelFirst+s%(vowels*trails)/trails)
	if t := s % trails; t != 0 {
		dst = utf8.AppendRune(dst, trailFirst+t)
	}
	return dst
}
