package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// collect takes what an iterator gives, errors apart.
func collect(seq func(func(Entry, error) bool)) (list []Entry, errs []error) {
	for e, err := range seq {
		if err != nil {
			errs = append(errs, err)
		} else {
			list = append(list, e)
		}
	}
	return list, errs
}

func TestEntries_badNames(t *testing.T) {
	long := strings.Repeat("e", 16)
	tests := []struct {
		label  string
		name   name
		change func(d *directory)
		detail string
	}{
		{"slash", name{inode: 12, text: "a/b"}, nil, `name "a/b"`},
		{"only a slash", name{inode: 12, text: "/"}, nil, `name "/"`},
		{"NUL", name{inode: 12, text: "a\x00b"}, nil, `name "a\x00b"`},
		{"empty", name{inode: 12, text: ""}, nil, "empty"},
		{"second dot", name{inode: 12, text: "."}, nil, `a second "."`},
		{"second dots", name{inode: 12, text: ".."}, nil, `a second ".."`},
		{"inode", name{inode: 4000, text: "fine name"}, nil, "inode 4000, the last one is 3999"},
		{"short ciphertext", name{inode: 12, text: "short"}, func(d *directory) { d.Encrypted = true }, "encrypted name of 5 bytes"},
		{"empty ciphertext", name{inode: 12, text: ""}, func(d *directory) { d.Encrypted = true }, "empty"},
		{"any ciphertext", name{inode: 12, text: long + "/\x00"}, func(d *directory) { d.Encrypted = true }, ""},
		{"dots in front", name{inode: 12, text: "..a"}, nil, ""},
		{"two bytes", name{inode: 12, text: "ab"}, nil, ""},
		{"last inode", name{inode: 3999, text: "x"}, nil, ""},
	}
	for _, tt := range tests {
		for _, order := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.label, order), func(t *testing.T) {
				d := newDirectory(1024)
				d.MaxInode = 3999
				d.DirIndex = order
				if tt.change != nil {
					tt.change(d)
				}
				d.linear([]name{{inode: 20, text: "before" + long}, tt.name, {inode: 21, text: "behind" + long}}, 10)
				c := d.open()
				seq := c.Entries()
				if order {
					seq = c.From(0)
				}
				var bad []string
				var err error
				n := 0
				for e, got := range seq {
					if n++; got != nil {
						bad, err = append(bad, string(e.Name)), got
					}
				}
				if n != 5 {
					t.Errorf("%d entries", n)
				}
				if tt.detail == "" {
					if bad != nil {
						t.Errorf("%q: %v", bad, err)
					}
					return
				}
				var ce *disk.CorruptError
				if len(bad) != 1 || bad[0] != tt.name.text || !errors.As(err, &ce) || !strings.Contains(ce.Detail, tt.detail) || ce.Inode != 77 || ce.Offset == 0 {
					t.Errorf("%q: %v, want %q", bad, err, tt.detail)
				}
			})
		}
	}
}

func TestEntries_goesOnBehindABadBlock(t *testing.T) {
	d := newDirectory(1024)
	d.linear(numbered(60), 15)
	le.PutUint16(d.blocks[1][4:], 7) // and its checksum is wrong now
	c := d.open()
	list, errs := collect(c.Entries())
	var sum *disk.ChecksumError
	if len(list) != 62-15 || len(errs) != 1 || !errors.As(errs[0], &sum) || sum.Block != 1 || sum.Inode != 77 || sum.Stored == sum.Computed {
		t.Errorf("%d entries, %v", len(list), errs)
	}
	c.Verify = false
	list, errs = collect(c.Entries())
	var ce *disk.CorruptError
	if len(list) != 62-15 || len(errs) != 1 || !errors.As(errs[0], &ce) || ce.Block != 1 || ce.Inode != 77 {
		t.Errorf("not verified: %d entries, %v", len(list), errs)
	}
	from, errs := collect(c.From(0))
	if !slices.Equal(texts(from), texts(list)) || len(errs) != 1 {
		t.Errorf("From: %d entries, %v", len(from), errs)
	}
	// A name that is there is found, an absent one gives the reason for doubt.
	if e, err := c.Lookup([]byte("name-55" + strings.Repeat("x", 15))); err != nil || e.Inode != 1055 {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := c.Lookup([]byte("absent")); !errors.As(err, &ce) {
		t.Errorf("absent: %v", err)
	}
}

func TestEntries_missingChecksum(t *testing.T) {
	d := newDirectory(1024)
	d.MetadataCsum = false
	d.linear(numbered(10), 20)
	d.MetadataCsum = true
	c := d.open()
	list, errs := collect(c.Entries())
	if len(list) != 0 || len(errs) != 1 || !errors.Is(errs[0], disk.ErrCorrupt) || errors.Is(errs[0], disk.ErrChecksum) {
		t.Errorf("%d entries, %v", len(list), errs)
	}
	c.Verify = false
	if list := all(t, c.Entries()); len(list) != 12 {
		t.Errorf("%d entries", len(list))
	}
}

func TestHoles(t *testing.T) {
	d := newDirectory(1024)
	d.linear(numbered(60), 15)
	d.holes[2] = true
	c := d.open()
	for _, large := range []bool{false, true} {
		c.LargeDir = large
		want := 1
		if large {
			want = 0
		}
		list, errs := collect(c.Entries())
		from, fromErrs := collect(c.From(0))
		if len(list) != 62-15 || len(errs) != want || len(from) != len(list) || len(fromErrs) != want {
			t.Errorf("large_dir %v: %d entries, %v, %v", large, len(list), errs, fromErrs)
		}
		_, err := c.Lookup([]byte("absent"))
		if large != errors.Is(err, fs.ErrNotExist) {
			t.Errorf("large_dir %v: %v", large, err)
		}
	}
	d.holes[0] = true
	if _, errs := collect(c.Entries()); len(errs) != 1 {
		t.Errorf("block 0 is a hole: %v", errs)
	}
	for _, s := range []string{".", ".."} {
		if _, err := c.Lookup([]byte(s)); !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("block 0 is a hole: Lookup(%q): %v", s, err)
		}
	}
}

// A directory of nothing but holes ends.
func TestHoles_manyEnd(t *testing.T) {
	d := newDirectory(1024)
	d.LargeDir = true
	c := d.open()
	c.Blocks = 1<<32 - 1
	c.Read = func(disk.LogicalNum) (*cache.Buffer, error) { return nil, nil }
	if _, errs := collect(c.Entries()); len(errs) != 2 {
		t.Errorf("Entries: %v", errs)
	}
	if _, errs := collect(c.From(0)); len(errs) != 2 {
		t.Errorf("From: %v", errs)
	}
	if _, err := c.Lookup([]byte("a")); !errors.Is(err, disk.ErrCorrupt) {
		t.Errorf("Lookup: %v", err)
	}
}

func TestReadErrors(t *testing.T) {
	broken := errors.New("the disk is gone")
	d := newDirectory(1024)
	d.tree(numbered(100), 1, 10, 5)
	c := d.open()
	read := c.Read
	for l := range c.Blocks {
		c.Read = func(n disk.LogicalNum) (*cache.Buffer, error) {
			if n == l {
				return nil, broken
			}
			return read(n)
		}
		for what, seq := range map[string]func(func(Entry, error) bool){"Entries": c.Entries(), "From": c.From(0)} {
			_, errs := collect(seq)
			if len(errs) == 0 || !slices.ContainsFunc(errs, func(err error) bool { return errors.Is(err, broken) }) {
				t.Errorf("%s, block %d: %v", what, l, errs)
			}
		}
		failed := 0
		for i := range 100 {
			if _, err := c.Lookup([]byte(fmt.Sprintf("name-%d%s", i, strings.Repeat("x", i%40)))); errors.Is(err, broken) {
				failed++
			} else if err != nil {
				t.Errorf("Lookup, block %d: %v", l, err)
			}
		}
		if failed == 0 || l == 0 && failed != 100 {
			t.Errorf("block %d: %d of 100 fail", l, failed)
		}
	}
}

// Damage to the index: with checksums it is an error, without (or when told
// not to care) names are found one by one.
func TestBrokenIndex(t *testing.T) {
	tests := []struct {
		label  string
		change func(d *directory)
		deep   bool // From begins and then fails
	}{
		{"hash version", func(d *directory) { d.blocks[0][28] = 9 }, false},
		{"flags", func(d *directory) { d.blocks[0][31] = 1 }, false},
		{"levels", func(d *directory) { d.blocks[0][30] = 2 }, false},
		{"limit", func(d *directory) { d.blocks[0][32]-- }, false},
		{"count", func(d *directory) { d.blocks[0][34] = 0 }, false},
		{"node out of range", func(d *directory) { le.PutUint32(d.blocks[0][36:], 5000) }, true},
		{"root points to itself", func(d *directory) { le.PutUint32(d.blocks[0][36:], 0) }, true},
		{"node is a leaf", func(d *directory) { le.PutUint32(d.blocks[0][36:], 1) }, true},
		{"node points to itself", func(d *directory) {
			n := le.Uint32(d.blocks[0][36:])
			le.PutUint32(d.blocks[n][12:], n)
		}, true},
		{"leaf out of range", func(d *directory) { le.PutUint32(d.blocks[le.Uint32(d.blocks[0][36:])][12:], 5000) }, true},
		{"limit of a node", func(d *directory) { d.blocks[le.Uint32(d.blocks[0][36:])][8]++ }, true},
	}
	list := append(numbered(100), name{inode: 90, text: "z"})
	for _, tt := range tests {
		for _, csum := range []bool{true, false} {
			t.Run(fmt.Sprint(tt.label, csum), func(t *testing.T) {
				d := newDirectory(1024)
				d.MetadataCsum = csum
				d.tree(list, 1, 10, 4)
				tt.change(d)
				if csum {
					for i, b := range d.blocks {
						off := 8
						if i == 0 {
							off = 32
						} else if !d.layout().IsDXNode(b) {
							continue
						}
						disk.SealDX(d.Seed, b, off) // the damage was written so
					}
				}
				c := d.open()
				for _, verify := range []bool{true, false} {
					c.Verify = verify
					failed := 0
					for _, n := range list {
						e, err := c.Lookup([]byte(n.text))
						if errors.Is(err, disk.ErrCorrupt) || errors.Is(err, disk.ErrChecksum) {
							failed++
						} else if err != nil || e.Inode != n.inode {
							t.Fatalf("Lookup(%q) = %d, %v", n.text, e.Inode, err)
						}
					}
					if (failed > 0) != (csum && verify) {
						t.Errorf("verify %v: %d of %d lookups fail", verify, failed, len(list))
					}
					from, errs := collect(c.From(0))
					if !tt.deep && !(csum && verify) {
						if len(from) != len(list)+2 || errs != nil {
							t.Errorf("From: %d entries, %v", len(from), errs)
						}
					} else if len(errs) == 0 {
						t.Errorf("From: %d entries and no error", len(from))
					}
				}
				bad := 0
				for _, err := range c.Tree() {
					if err != nil {
						bad++
					}
				}
				if bad == 0 {
					t.Error("Tree shows no error")
				}
			})
		}
	}
}

func TestChecksumErrors(t *testing.T) {
	list := numbered(200)
	d := newDirectory(1024)
	d.tree(list, 1, 10, 5)
	for l := range d.blocks {
		b := slices.Clone(d.blocks[l])
		if disk.HasDirTail(b) {
			d.blocks[l][9] ^= 1 // a name
		} else {
			d.blocks[l][34-24*min(l, 1)] ^= 2 // the count
		}
		c := d.open()
		want := disk.BlockNum(l)
		var sum *disk.ChecksumError
		_, errs := collect(c.Entries())
		if len(errs) != 1 || !errors.As(errs[0], &sum) || sum.Block != want || sum.Inode != 77 {
			t.Errorf("block %d: Entries: %v", l, errs)
		}
		if _, errs = collect(c.From(0)); len(errs) == 0 || !errors.As(errs[0], &sum) || sum.Block != want {
			t.Errorf("block %d: From: %v", l, errs)
		}
		failed := 0
		for _, n := range list {
			if _, err := c.Lookup([]byte(n.text)); errors.As(err, &sum) && sum.Block == want {
				failed++
			} else if err != nil {
				t.Errorf("block %d: %v", l, err)
			}
		}
		if failed == 0 {
			t.Errorf("block %d: no lookup fails", l)
		}
		bad := 0
		for b := range c.Tree() {
			if b.Checksum == ChecksumBad {
				bad++
				if b.Physical != want || b.Stored == b.Computed {
					t.Errorf("block %d: Tree says %+v", l, b)
				}
			}
		}
		if bad != 1 {
			t.Errorf("block %d: Tree shows %d bad checksums", l, bad)
		}
		d.blocks[l] = b
	}
}

// A tree whose keys do not ascend has no order to list; lists must end.
func TestFrom_keysOutOfOrder(t *testing.T) {
	d := newDirectory(1024)
	d.MetadataCsum = false
	d.tree(numbered(100), 0, 10, 0)
	root := d.blocks[0]
	a, b := le.Uint32(root[32+8*3:]), le.Uint32(root[32+8*5:])
	le.PutUint32(root[32+8*3:], b)
	le.PutUint32(root[32+8*5:], a)
	c := d.open()
	_, errs := collect(c.From(0))
	if len(errs) != 1 || !errors.Is(errs[0], disk.ErrCorrupt) {
		t.Errorf("%v", errs)
	}
	if list := all(t, c.Entries()); len(list) != 102 {
		t.Errorf("%d entries", len(list))
	}
}

// Names in the wrong leaf are listed once, with cookies in order.
func TestFrom_misplacedNames(t *testing.T) {
	d := newDirectory(1024)
	d.tree(numbered(100), 0, 10, 0)
	d.blocks[2], d.blocks[7] = d.blocks[7], d.blocks[2]
	c := d.open()
	order := all(t, c.From(0))
	if len(order) != 102 {
		t.Errorf("%d entries", len(order))
	}
	if got := resumed(t, c, 1); !slices.Equal(texts(got), texts(order)) {
		t.Errorf("%d entries one by one", len(got))
	}
}

// A leaf that is used over and over must not be read for ever.
func TestLoops(t *testing.T) {
	d := newDirectory(1024)
	d.Casefold, d.Encrypted, d.LargeDir, d.MetadataCsum = true, true, true, false
	same := func(n int, block disk.LogicalNum) (keys []key) {
		for range n {
			keys = append(keys, key{0x8001, block})
		}
		keys[0].hash = 0x8000
		return keys
	}
	d.Indexed = true
	d.blocks = [][]byte{d.root(2, same(124, 1)), d.node(same(127, 2)), d.node(same(127, 3)),
		d.leaf(name{inode: 12, text: "ciphertext-000000", hash: 0x8000})}
	c := d.open()
	if _, err := c.Lookup([]byte(NoKeyName([]byte("ciphertext-absent"), 0x8000, 0))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Lookup: %v", err) // there is no checksum: it was searched
	}
	if d.reads > 30 {
		t.Errorf("%d blocks read", d.reads)
	}
	d.reads = 0
	if _, errs := collect(c.From(0)); len(errs) == 0 || d.reads > 30 {
		t.Errorf("From: %v, %d blocks read", errs, d.reads)
	}
	n := 0
	for range c.Tree() {
		n++
	}
	if n > 3*127 {
		t.Errorf("Tree shows %d blocks", n)
	}
}
