package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// modeChange is what chmod makes of a mode.
type modeChange struct {
	octal    bool
	set      uint16
	explicit uint16 // setuid and setgid that an octal mode says something about
	clauses  []modeClause
}

// modeClause is one "u+rw" of a symbolic mode.
type modeClause struct {
	who  uint16 // bits that it may change; 0 with a umask
	op   byte
	perm uint16 // rwx for all, as 0777 has it, and set-id and sticky bits
	cond bool   // X: x where it is a directory or anybody has it
	from uint16 // permissions are copied from those of 0700, 0070 or 0007
	all  bool   // no "ugoa" was given: the umask counts
}

// umask of chmod's symbolic modes without "ugoa".
const modeUmask = 0o022

// parseModeChange reads an octal or symbolic mode as chmod(1) takes it.
func parseModeChange(text string) (*modeChange, error) {
	if text == "" {
		return nil, errors.New("empty mode")
	}
	if text[0] >= '0' && text[0] <= '7' {
		n, err := strconv.ParseUint(text, 8, 16)
		if err != nil || n > 0o7777 {
			return nil, fmt.Errorf("invalid mode %q", text)
		}
		m := &modeChange{octal: true, set: uint16(n), explicit: uint16(n) & 0o6000}
		if len(text) > 4 {
			m.explicit = 0o6000 // "00755" clears what "755" leaves to directories
		}
		return m, nil
	}
	m := &modeChange{}
	for _, part := range strings.Split(text, ",") {
		if err := m.parse(part); err != nil {
			return nil, fmt.Errorf("invalid mode %q", text)
		}
	}
	return m, nil
}

var errMode = errors.New("invalid mode")

// parse reads "ugo+rwx", with several operators.
func (m *modeChange) parse(s string) error {
	who, n := uint16(0), 0
who:
	for ; n < len(s); n++ {
		switch s[n] {
		case 'u':
			who |= 0o4700
		case 'g':
			who |= 0o2070
		case 'o':
			who |= 0o1007
		case 'a':
			who |= 0o7777
		default:
			break who
		}
	}
	all := who == 0
	if all {
		who = 0o7777
	}
	if n == len(s) {
		return errMode
	}
	for n < len(s) {
		c := modeClause{who: who, op: s[n], all: all}
		if strings.IndexByte("+-=", c.op) < 0 {
			return errMode
		}
		n++
		start := n
		for n < len(s) && strings.IndexByte("+-=", s[n]) < 0 {
			n++
		}
		if err := c.parse(s[start:n]); err != nil {
			return err
		}
		m.clauses = append(m.clauses, c)
	}
	return nil
}

// parse reads what follows the operator.
func (c *modeClause) parse(s string) error {
	if len(s) > 0 && s[0] >= '0' && s[0] <= '7' {
		n, err := strconv.ParseUint(s, 8, 16)
		if err != nil || n > 0o7777 || !c.all {
			return errMode
		}
		c.perm, c.all = uint16(n), false
		return nil
	}
	if from, ok := map[string]uint16{"u": 0o700, "g": 0o070, "o": 0o007}[s]; ok {
		c.from = from
		return nil
	}
	for _, r := range s {
		switch r {
		case 'r':
			c.perm |= 0o444
		case 'w':
			c.perm |= 0o222
		case 'x':
			c.perm |= 0o111
		case 'X':
			c.cond = true
		case 's':
			c.perm |= 0o6000
		case 't':
			c.perm |= 0o1000
		default:
			return errMode
		}
	}
	return nil
}

// apply gives the i_mode that follows; the type stays.
func (m *modeChange) apply(mode uint16) uint16 {
	kind, perm := mode&disk.ModeType, mode&^disk.ModeType
	isDir := kind == disk.ModeDir
	if m.octal {
		keep := uint16(0)
		if isDir {
			// As in GNU chmod a directory keeps its set-id bits.
			keep = perm & 0o6000 &^ m.explicit
			if m.explicit == 0o6000 && m.set&0o6000 == 0 {
				keep = 0
			}
		}
		return kind | m.set | keep
	}
	for _, c := range m.clauses {
		perm = c.apply(perm, isDir)
	}
	return kind | perm
}

func (c *modeClause) apply(perm uint16, isDir bool) uint16 {
	value := c.perm
	if c.from != 0 {
		for _, shift := range []int{6, 3, 0} {
			if c.from>>shift&7 == 7 {
				p := perm >> shift & 7
				value = p<<6 | p<<3 | p
			}
		}
	}
	if c.cond && (isDir || perm&0o111 != 0) {
		value |= 0o111
	}
	value &= c.who
	if c.all {
		value &^= modeUmask
	}
	switch c.op {
	case '+':
		return perm | value
	case '-':
		return perm &^ value
	}
	clear := c.who
	if isDir && value&0o6000 == 0 {
		clear &^= 0o6000 // "=" leaves the set-id bits of directories
	}
	if !c.all && c.who != 0o7777 && c.who&0o1000 != 0 {
		clear &^= 0o1000 // only "a=" or "=" takes the sticky bit
	}
	return perm&^clear | value
}
