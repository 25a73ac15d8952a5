package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

func folded(indexed bool, list []name) *directory {
	d := newDirectory(1024)
	d.Casefold = true
	if indexed {
		return d.tree(list, 1, 6, 6)
	}
	return d.linear(list, 6)
}

func TestCasefold(t *testing.T) {
	list := names("README", "Straße", "Été", "bad\xffName", "\x80opaque", "stray\x80Byte", "Ångström", "x\u200by", strings.Repeat("É", 127))
	for i := range 80 {
		list = append(list, name{inode: 500, text: fmt.Sprintf("Filler-%d", i)})
	}
	tests := []struct {
		lookup, want string
	}{
		{"readme", "README"},
		{"ReadMe", "README"},
		{"STRASSE", "Straße"},
		{"e\u0301te\u0301", "Été"},
		{"bad\xffName", "bad\xffName"}, // opaque: only itself
		{"bad\xffname", ""},
		{"\x80opaque", "\x80opaque"},
		{"\x80Opaque", ""},
		{"STRAY\x80BYTE", "stray\x80Byte"}, // valid enough to be folded
		{"A\u030aNGSTRO\u0308M", "Ångström"},
		{"\u212bngström", "Ångström"},
		{"XY", "x\u200by"},
		{strings.Repeat("é", 127), strings.Repeat("É", 127)},
		{strings.Repeat("e\u0301", 85), ""}, // 85 of 127
		{"filler-7", "Filler-7"},
		{"filler", ""},
	}
	for _, indexed := range []bool{false, true} {
		for _, noFallback := range []bool{false, true} {
			d := folded(indexed, list)
			d.NoFallback = noFallback
			c := d.open()
			for _, tt := range tests {
				e, err := c.Lookup([]byte(tt.lookup))
				if tt.want == "" {
					if !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("indexed %v: Lookup(%q) = %q, %v", indexed, tt.lookup, e.Name, err)
					}
				} else if err != nil || string(e.Name) != tt.want {
					t.Errorf("indexed %v: Lookup(%q) = %q, %v; want %q", indexed, tt.lookup, e.Name, err, tt.want)
				}
			}
			checkResume(t, c, len(list)+2)
		}
	}
}

func TestCasefold_strict(t *testing.T) {
	for _, indexed := range []bool{false, true} {
		d := folded(indexed, names("Hello", "bad\xffname"))
		d.Strict = true
		c := d.open()
		if e, err := c.Lookup([]byte("HELLO")); err != nil || string(e.Name) != "Hello" {
			t.Errorf("%q, %v", e.Name, err)
		}
		for _, s := range []string{"bad\xffname", "\xff"} {
			if _, err := c.Lookup([]byte(s)); !errors.Is(err, fs.ErrInvalid) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Lookup(%q): %v", s, err)
			}
		}
		for _, s := range []string{".", ".."} {
			if _, err := c.Lookup([]byte(s)); err != nil {
				t.Errorf("Lookup(%q): %v", s, err)
			}
		}
	}
}

// A name that was indexed by another folding is found by the search of all
// blocks, unless the file system says that there is none.
func TestCasefold_fallback(t *testing.T) {
	var list []name
	for i := range 80 {
		list = append(list, name{inode: 500, text: fmt.Sprintf("Filler-%d", i)})
	}
	d := folded(true, list)
	probe := newDirectory(1024)
	probe.Casefold = true
	h, _ := probe.hashName(d.HashVersion, []byte("Lost"))
	list = append(list, name{inode: 12, text: "Lost", hash: h ^ 1<<31}) // in the wrong half
	slices.Reverse(list)
	d = folded(true, list)
	c := d.open()
	if e, err := c.Lookup([]byte("lost")); err != nil || e.Inode != 12 {
		t.Errorf("%+v, %v", e, err)
	}
	c.NoFallback = true
	if _, err := c.Lookup([]byte("lost")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without fallback: %v", err)
	}
}
