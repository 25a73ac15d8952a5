package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// inlineDirectory is an inline directory with the names in the two parts.
func inlineDirectory(parent disk.InodeNum, first, second []name) *Config {
	d := newDirectory(1024)
	part := func(size int, list []name) []byte {
		b := make([]byte, size)
		off := 0
		for i, n := range list {
			size := d.need(n)
			if i == len(list)-1 {
				size = len(b) - off
			}
			off = d.put(b, off, size, n)
		}
		if len(list) == 0 && size > 0 {
			d.put(b, 0, size, name{})
		}
		return b
	}
	head := make([]byte, 4)
	le.PutUint32(head, uint32(parent))
	size := 0
	for _, n := range second {
		size += d.need(n)
	}
	d.InlineBlock = append(head, part(56, first)...)
	d.InlineValue = part(size, second)
	return &d.Config
}

func TestInline(t *testing.T) {
	first, second := names("one", "two", "three-is-longer"), names("four", "five", strings.Repeat("6", 20))
	for _, order := range []bool{false, true} {
		for _, tt := range []struct{ first, second []name }{{nil, nil}, {first, nil}, {first, second}, {nil, second}} {
			c := inlineDirectory(55, tt.first, tt.second)
			c.DirIndex = order
			want := append([]string{".", ".."}, texts(nil)...)
			for _, n := range append(slices.Clone(tt.first), tt.second...) {
				want = append(want, n.text)
				e, err := c.Lookup([]byte(n.text))
				if err != nil || e.Inode != n.inode || e.Type != disk.FileTypeRegular {
					t.Errorf("Lookup(%q): %+v, %v", n.text, e, err)
				}
			}
			if got := texts(all(t, c.Entries())); !slices.Equal(got, want) {
				t.Errorf("Entries: %q, want %q", got, want)
			}
			list := all(t, c.From(0))
			if got := texts(list); order {
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) || !slices.Equal(texts(list[:2]), []string{".", ".."}) {
					t.Errorf("From: %q, want %q", texts(list), want)
				}
			} else if !slices.Equal(got, want) {
				t.Errorf("From: %q, want %q", got, want)
			}
			for _, n := range []int{1, 2, 3} {
				if got := texts(resumed(t, c, n)); !slices.Equal(got, texts(list)) {
					t.Errorf("in pieces of %d: %q", n, got)
				}
			}
			for s, ino := range map[string]disk.InodeNum{".": 77, "..": 55} {
				if e, err := c.Lookup([]byte(s)); err != nil || e.Inode != ino || string(e.Name) != s || e.Type != disk.FileTypeDir {
					t.Errorf("Lookup(%q): %+v, %v", s, e, err)
				}
			}
			if _, err := c.Lookup([]byte("absent")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("absent: %v", err)
			}
			for b := range c.Tree() {
				t.Errorf("a tree of an inline directory: %+v", b)
			}
		}
	}
}

// The cookies of an inline directory are those that it has in a block later.
func TestInline_cookiesSurviveMoving(t *testing.T) {
	first, second := names("one", "two", "three"), names("four", "five")
	// The last record of the first part fills it, and does so in a block too
	// when the kernel moves it.
	for _, order := range []bool{false, true} {
		c := inlineDirectory(2, first, second)
		c.DirIndex = order
		d := newDirectory(1024)
		d.DirIndex = order
		b := make([]byte, 1024)
		d.put(b, 0, 12, name{inode: 77, text: "."})
		d.put(b, 12, 12, name{inode: 2, text: ".."})
		copy(b[24:], c.InlineBlock[4:])
		copy(b[24+56:], c.InlineValue)
		last := 24 + 56 + 12
		le.PutUint16(b[last+4:], uint16(1012-last))
		disk.InitDirTail(b)
		disk.SealDirBlock(d.Seed, b)
		d.blocks = [][]byte{b}
		moved := d.open()
		list := all(t, c.From(0))
		if len(list) != 7 {
			t.Fatalf("%q", texts(list))
		}
		for i, e := range list {
			if got := texts(all(t, moved.From(e.Cookie))); !slices.Equal(got, texts(list[i+1:])) {
				t.Errorf("order %v: behind %q comes %q, want %q", order, e.Name, got, texts(list[i+1:]))
			}
		}
	}
}

func TestInlineEntries(t *testing.T) {
	c := inlineDirectory(55, names("one"), names("two"))
	list := all(t, InlineEntries(c.Inode, c.InlineBlock, c.InlineValue))
	if got := fmt.Sprint(texts(list)); got != "[. .. one two]" || list[1].Inode != 55 {
		t.Errorf("%s, %+v", got, list[1])
	}
}

func TestInline_corrupt(t *testing.T) {
	tests := []struct {
		label  string
		change func(c *Config)
		names  int
	}{
		{"short i_block", func(c *Config) { c.InlineBlock = c.InlineBlock[:59] }, 0},
		{"no i_block", func(c *Config) { c.InlineBlock = []byte{} }, 0},
		{"no parent", func(c *Config) { le.PutUint32(c.InlineBlock, 0) }, 5},
		{"parent out of range", func(c *Config) { le.PutUint32(c.InlineBlock, 5000) }, 5},
		{"record of the first part", func(c *Config) { le.PutUint16(c.InlineBlock[4+4:], 400) }, 4},
		{"record of the second part", func(c *Config) { le.PutUint16(c.InlineValue[4:], 0) }, 4},
		{"value is too short", func(c *Config) { c.InlineValue = c.InlineValue[:8] }, 4},
		{"name with a slash", func(c *Config) { c.InlineBlock[12] = '/' }, 5},
		{"dot", func(c *Config) { c.InlineValue[6], c.InlineValue[8] = 1, '.' }, 5},
	}
	for _, tt := range tests {
		t.Run(tt.label, func(t *testing.T) {
			for _, order := range []bool{false, true} {
				c := inlineDirectory(55, names("one", "two"), names("three", "four"))
				c.MaxInode = 1000
				c.DirIndex = order
				tt.change(c)
				for _, seq := range []func(func(Entry, error) bool){c.Entries(), c.From(0)} {
					list, errs := collect(seq)
					if len(list) != tt.names || len(errs) != 1 || !errors.Is(errs[0], disk.ErrCorrupt) {
						t.Errorf("order %v: %q, %v", order, texts(list), errs)
					}
				}
				if _, err := c.Lookup([]byte("absent")); err == nil {
					t.Error("absent is found")
				}
				for _, s := range []string{".", ".."} {
					c.Lookup([]byte(s))
				}
			}
		})
	}
}
