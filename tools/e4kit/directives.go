package main

import (
	"strings"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
)

// statValue makes a directive of a function of the inode; it prints nothing
// where the inode could not be read.
func statValue(f func(st *ext4fs.Stat) string) directive {
	return func(_ *env, s *subject) string {
		if st := s.stat(); st != nil {
			return f(st)
		}
		return ""
	}
}

// sharedDirectives mean the same to find and stat.
var sharedDirectives = map[byte]directive{
	'i': statValue(func(st *ext4fs.Stat) string { return utoa(uint64(st.Inode)) }),
	's': statValue(func(st *ext4fs.Stat) string { return itoa(st.Size) }),
	'b': statValue(func(st *ext4fs.Stat) string { return utoa(st.Sectors) }),
	'u': func(e *env, s *subject) string {
		if st := s.stat(); st != nil {
			return e.ownersOf(s.img).user(st.UID)
		}
		return ""
	},
	'g': func(e *env, s *subject) string {
		if st := s.stat(); st != nil {
			return e.ownersOf(s.img).group(st.GID)
		}
		return ""
	},
}

var userNumber = statValue(func(st *ext4fs.Stat) string { return utoa(uint64(st.UID)) })
var groupNumber = statValue(func(st *ext4fs.Stat) string { return utoa(uint64(st.GID)) })
var octalMode = statValue(func(st *ext4fs.Stat) string { return shortOctal(st.RawMode & 0o7777) })
var letterMode = statValue(func(st *ext4fs.Stat) string { return modeString(st.RawMode) })
var linkCount = statValue(func(st *ext4fs.Stat) string { return utoa(uint64(st.Links)) })

// shortOctal is octal without leading zeros.
func shortOctal(mode uint16) string {
	s := strings.TrimLeft(octal(uint32(mode)), "0")
	if s == "" {
		return "0"
	}
	return s
}

// findOnly are the directives of find -printf.
var findOnly = map[byte]directive{
	'p': func(e *env, s *subject) string { return e.shown(s.path) },
	'P': func(e *env, s *subject) string {
		return e.shown(strings.TrimPrefix(strings.TrimPrefix(s.path, s.start), "/"))
	},
	'f': func(e *env, s *subject) string { return e.shown(s.name) },
	'h': func(e *env, s *subject) string {
		p := strings.TrimRight(s.path, "/")
		return e.shown(p[:max(strings.LastIndexByte(p, '/'), 0)])
	},
	'H': func(e *env, s *subject) string { return e.shown(s.start) },
	'd': func(_ *env, s *subject) string { return itoa(int64(s.depth)) },
	'y': func(_ *env, s *subject) string {
		if c := typeLetter(s.mode()); c != '-' {
			return string(c)
		}
		return "f"
	},
	'm': octalMode, 'M': letterMode, 'n': linkCount, 'U': userNumber, 'G': groupNumber,
	'k': statValue(func(st *ext4fs.Stat) string { return utoa((st.Sectors + 1) / 2) }),
	'l': func(e *env, s *subject) string { return e.shown(s.target()) },
	't': wholeTime('T'), 'a': wholeTime('A'), 'c': wholeTime('C'),
}

func wholeTime(which byte) directive {
	return func(e *env, s *subject) string {
		return formatTenDigits(s.time(which).In(e.local), "Mon Jan _2 15:04:05"+tenDigits+" 2006")
	}
}

// findDirectives finds the directives of -printf.
func findDirectives(text string) (directive, int) {
	if text == "" {
		return nil, 0
	}
	if strings.IndexByte("TACB", text[0]) >= 0 && len(text) > 1 {
		which, k := text[0], text[1]
		if _, ok := formatTime(time.Time{}, k); !ok {
			return nil, 0
		}
		return func(e *env, s *subject) string {
			text, _ := formatTime(s.time(which).In(e.local), k)
			return text
		}, 2
	}
	if d := findOnly[text[0]]; d != nil {
		return d, 1
	}
	if d := sharedDirectives[text[0]]; d != nil {
		return d, 1
	}
	return nil, 0
}

// statOnly are the directives of stat --format.
var statOnly = map[byte]directive{
	'n': func(e *env, s *subject) string { return e.shown(s.path) },
	'N': func(e *env, s *subject) string {
		if target := s.target(); target != "" {
			return "'" + e.shown(s.path) + "' -> '" + e.shown(target) + "'"
		}
		return "'" + e.shown(s.path) + "'"
	},
	'F': func(_ *env, s *subject) string { return typeWord(s.mode()) },
	'a': octalMode, 'A': letterMode, 'h': linkCount,
	// As in stat(1), the lower case letters are the numbers.
	'u': userNumber, 'g': groupNumber, 'U': sharedDirectives['u'], 'G': sharedDirectives['g'],
	'f': statValue(func(st *ext4fs.Stat) string { return hex(uint64(st.RawMode)) }),
	'B': func(*env, *subject) string { return "512" },
	'o': statValue(func(st *ext4fs.Stat) string { return itoa(int64(st.BlockSize)) }),
	't': statValue(func(st *ext4fs.Stat) string { return hex(uint64(st.Major)) }),
	'T': statValue(func(st *ext4fs.Stat) string { return hex(uint64(st.Minor)) }),
	'x': longTime('A'), 'y': longTime('T'), 'z': longTime('C'), 'w': longTime('B'),
	'X': seconds('A'), 'Y': seconds('T'), 'Z': seconds('C'), 'W': seconds('B'),
	'm': func(_ *env, s *subject) string { return s.img.name },
}

func hex(n uint64) string {
	const digits = "0123456789abcdef"
	b := []byte{}
	for {
		b = append([]byte{digits[n&15]}, b...)
		if n >>= 4; n == 0 {
			return string(b)
		}
	}
}

func longTime(which byte) directive {
	return func(e *env, s *subject) string {
		t := s.time(which)
		if t.IsZero() {
			return "-"
		}
		return t.In(e.local).Format("2006-01-02 15:04:05.000000000 -0700")
	}
}

func seconds(which byte) directive {
	return func(_ *env, s *subject) string {
		t := s.time(which)
		if t.IsZero() {
			return "0"
		}
		return itoa(t.Unix())
	}
}

// statDirectives finds the directives of stat --format.
func statDirectives(text string) (directive, int) {
	if text == "" {
		return nil, 0
	}
	if d := statOnly[text[0]]; d != nil {
		return d, 1
	}
	if d := sharedDirectives[text[0]]; d != nil {
		return d, 1
	}
	return nil, 0
}
