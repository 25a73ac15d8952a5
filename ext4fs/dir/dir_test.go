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

func numbered(n int) (list []name) {
	for i := range n {
		list = append(list, name{inode: disk.InodeNum(1000 + i), text: fmt.Sprintf("name-%d%s", i, strings.Repeat("x", i%40))})
	}
	return list
}

// shapes are directories that hold the same names in different ways.
func shapes(t *testing.T, list []name) map[string]*directory {
	m := map[string]*directory{}
	add := func(name string, size int, change func(d *directory), fill func(d *directory)) {
		d := newDirectory(size)
		if change != nil {
			change(d)
		}
		fill(d)
		d.open()
		m[name] = d
	}
	linear := func(d *directory) { d.linear(list, 12) }
	tree := func(levels int) func(d *directory) {
		return func(d *directory) { d.tree(list, levels, 12, 20) }
	}
	noCsum := func(d *directory) { d.MetadataCsum = false }
	add("linear", 1024, nil, linear)
	add("linear, no checksums", 1024, noCsum, linear)
	add("linear, 64k", 65536, nil, linear)
	add("linear, no types", 1024, func(d *directory) { d.Filetype = false }, linear)
	add("tree", 1024, nil, tree(0))
	add("tree, no checksums", 1024, noCsum, tree(0))
	add("tree of 2 levels", 1024, nil, tree(1))
	add("tree of 3 levels", 1024, func(d *directory) { d.LargeDir = true }, tree(2))
	add("tree, 64k", 65536, nil, tree(1))
	for v := range disk.HashVersion(3) {
		for _, signed := range []bool{false, true} {
			add(fmt.Sprintf("tree, %v, signed %v", v, signed), 2048, func(d *directory) { d.HashVersion, d.SignedHash = v, signed }, tree(1))
		}
	}
	return m
}

func TestShapes(t *testing.T) {
	list := numbered(400)
	list = append(list, name{inode: 5000, text: "\xff\xc3\xa9"}, name{inode: 5001, text: "a"}, name{inode: 5002, text: strings.Repeat("l", 255)})
	want := map[string]disk.InodeNum{".": 77, "..": 2}
	for _, n := range list {
		want[n.text] = n.inode
	}
	for label, d := range shapes(t, list) {
		t.Run(label, func(t *testing.T) {
			c := &d.Config
			check := func(what string, got []Entry) {
				t.Helper()
				seen := map[string]bool{}
				for _, e := range got {
					s := string(e.Name)
					if want[s] != e.Inode || seen[s] {
						t.Errorf("%s: %q is inode %d, want %d, seen %v", what, s, e.Inode, want[s], seen[s])
					}
					seen[s] = true
					kind := disk.FileTypeRegular
					if isDots(e.Name) {
						kind = disk.FileTypeDir
					}
					if !c.Filetype {
						kind = 0
					}
					if e.Type != kind {
						t.Errorf("%s: %q has type %d", what, s, e.Type)
					}
				}
				if len(seen) != len(want) {
					t.Errorf("%s: %d names, want %d", what, len(seen), len(want))
				}
			}
			check("Entries", all(t, c.Entries()))
			order := all(t, c.From(0))
			check("From", order)
			if texts(order)[0] != "." || texts(order)[1] != ".." {
				t.Errorf("From begins with %q", texts(order)[:2])
			}
			for _, n := range []int{1, 3, 50} {
				if got := resumed(t, c, n); !slices.Equal(texts(got), texts(order)) {
					t.Errorf("a list in pieces of %d differs", n)
				}
			}
			for s, ino := range want {
				e, err := c.Lookup([]byte(s))
				if err != nil || e.Inode != ino || string(e.Name) != s {
					t.Fatalf("Lookup(%q): %+v, %v", s, e, err)
				}
			}
			for _, s := range []string{"", "name", "NAME-0", "...", "name-0 ", "\xff\xc3", strings.Repeat("l", 254), strings.Repeat("l", 256)} {
				if _, err := c.Lookup([]byte(s)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("Lookup(%q): %v", s, err)
				}
			}
		})
	}
}

func TestLookup_readsFewBlocks(t *testing.T) {
	d := newDirectory(1024)
	d.LargeDir = true
	d.tree(numbered(3000), 2, 12, 20)
	c := d.open()
	for _, s := range []string{"name-5xxxxx", "name-2999", "absent"} {
		d.reads = 0
		c.Lookup([]byte(s))
		if d.reads > 4 {
			t.Errorf("%d blocks read for %q", d.reads, s)
		}
	}
}

// Names of one hash must be found on both sides of a leaf border, also when
// it is a border of nodes.
func TestCollisions(t *testing.T) {
	for _, levels := range []int{0, 1, 2} {
		t.Run(fmt.Sprint(levels), func(t *testing.T) {
			d := newDirectory(1024)
			d.LargeDir = true
			d.HashVersion = disk.HashLegacy
			list := colliding(d, 100)
			d.tree(list, levels, 1, 4+levels)
			c := d.open()
			if marked := countMarked(t, c); marked < 20 {
				t.Fatalf("only %d marked keys", marked)
			}
			for _, n := range list {
				if e, err := c.Lookup([]byte(n.text)); err != nil || e.Inode != n.inode {
					t.Errorf("Lookup(%q): %v, %v", n.text, e.Inode, err)
				}
			}
			checkResume(t, c, len(list)+2)
		})
	}
}

func countMarked(t *testing.T, c *Config) (marked int) {
	t.Helper()
	for b, err := range c.Tree() {
		if err != nil {
			t.Fatal(err)
		}
		if b.Kind == TreeLeaf && b.Low&1 != 0 {
			marked++
		}
	}
	return marked
}

func checkResume(t *testing.T, c *Config, want int) {
	t.Helper()
	order := texts(all(t, c.From(0)))
	if len(order) != want {
		t.Errorf("%d names, want %d", len(order), want)
	}
	for _, n := range []int{1, 2, 7} {
		if got := texts(resumed(t, c, n)); !slices.Equal(got, order) {
			t.Errorf("a list in pieces of %d differs", n)
		}
	}
}

// colliding makes at most limit names, half of which share their legacy hash
// with another one.
func colliding(d *directory, limit int) (list []name) {
	byHash := map[uint32]string{}
	for i := 0; len(list) < limit/2 && i < 1<<20; i++ {
		s := fmt.Sprintf("c%x", i)
		h, _ := d.hashName(d.HashVersion, []byte(s))
		if other, ok := byHash[h]; ok {
			n := disk.InodeNum(9000 + 2*len(list))
			list = append(list, name{inode: n, text: other}, name{inode: n + 1, text: s})
			continue
		}
		byHash[h] = s
	}
	for i := 0; len(list) < limit; i++ {
		list = append(list, name{inode: disk.InodeNum(100 + i), text: fmt.Sprintf("single%d", i)})
	}
	return list
}

// Where the hash is in the entry, any number of names can have the same.
func TestCollisions_manyOfOneHash(t *testing.T) {
	for _, levels := range []int{0, 1, 2} {
		t.Run(fmt.Sprint(levels), func(t *testing.T) {
			d := newDirectory(1024)
			d.Casefold, d.Encrypted, d.LargeDir = true, true, true
			var list []name
			for i := range 330 {
				n := name{inode: disk.InodeNum(100 + i), text: fmt.Sprintf("ciphertext-%05d-%s", i, strings.Repeat("c", i%30*7)), hash: uint32(i) << 8}
				switch {
				case i%3 == 0: // 110 in one hash, of different minor hashes
					n.hash, n.minor = 0x8000, uint32(i)<<20
				case i%7 == 0: // these share both
					n.hash, n.minor = 0xfffffffc, 0xffffff00
				}
				list = append(list, n)
			}
			d.tree(list, levels, 3, 110-40*levels)
			c := d.open()
			if marked := countMarked(t, c); marked < 30 {
				t.Fatalf("only %d marked keys", marked)
			}
			for _, n := range list {
				e, err := c.Lookup([]byte(NoKeyName([]byte(n.text), n.hash, n.minor)))
				if err != nil || e.Inode != n.inode || e.Hash != n.hash || e.Minor != n.minor {
					t.Fatalf("%q: %+v, %v", n.text, e, err)
				}
			}
			checkResume(t, c, len(list)+2)
		})
	}
}

// 300 names of the same hashes do not fit into the space of cookies that these
// hashes have: they take some of that of the next ones, but at the very end
// there is none.
func TestFrom_tooManyOfOneHash(t *testing.T) {
	for _, tt := range []struct {
		minor  uint32
		errors int
	}{{0, 0}, {0x12345600, 0}, {0xffffff00, 300 - (256 - cookieSlot)}} {
		d := newDirectory(1024)
		d.Casefold, d.Encrypted = true, true
		var list []name
		for i := range 300 {
			list = append(list, name{inode: disk.InodeNum(100 + i), text: fmt.Sprintf("ciphertext-%05d", i), hash: 0x8000, minor: tt.minor})
		}
		list = append(list, name{inode: 99, text: "ciphertext-after", hash: 0x8002})
		d.tree(list, 0, 20, 0)
		bad, cookie := 0, uint64(0)
		for e, err := range d.open().From(0) {
			if errors.Is(err, disk.ErrCorrupt) {
				bad++
			} else if err != nil {
				t.Fatal(err)
			}
			if e.Cookie <= cookie {
				t.Fatalf("cookie %#x after %#x", e.Cookie, cookie)
			}
			cookie = e.Cookie
		}
		if bad != tt.errors {
			t.Errorf("minor %#x: %d errors, want %d", tt.minor, bad, tt.errors)
		}
		if tt.errors == 0 {
			checkResume(t, &d.Config, len(list)+2)
		}
	}
}

// A list that is taken up again after the leaves were split goes on with the
// same names.
func TestFrom_survivesSplits(t *testing.T) {
	list := numbered(500)
	few, many := newDirectory(4096), newDirectory(1024)
	few.tree(list, 0, 50, 0)
	many.tree(list, 1, 7, 20)
	one := newDirectory(65536)
	one.DirIndex = true
	one.linear(list, 1000)
	order := all(t, few.open().From(0))
	for _, d := range []*directory{many, one} {
		c := d.open()
		for i := 0; i < len(order); i += 13 {
			if got := texts(all(t, c.From(order[i].Cookie))); !slices.Equal(got, texts(order[i+1:])) {
				t.Fatalf("after %q: %d names, want %d", order[i].Name, len(got), len(order)-i-1)
			}
		}
	}
}

// The cookie of a linear directory stays good when records are joined.
func TestFrom_survivesRemoval(t *testing.T) {
	d := newDirectory(1024)
	list := numbered(40)
	d.linear(list, 20)
	order := all(t, d.open().From(0))
	// Join records 5 and 6 of block 0: the cookie behind 4 is still a record,
	// the one behind 5 is inside of one.
	b := d.blocks[0]
	at, next := order[5].Offset, order[7].Offset
	le.PutUint16(b[at+4:], uint16(next-at))
	disk.SealDirBlock(d.Seed, b)
	c := d.open()
	for _, tt := range []struct{ behind, next int }{{4, 5}, {5, 7}, {6, 7}, {21, 22}, {len(order) - 1, len(order)}} {
		want := slices.DeleteFunc(texts(order[tt.next:]), func(s string) bool { return s == string(order[6].Name) })
		if got := texts(all(t, c.From(order[tt.behind].Cookie))); !slices.Equal(got, want) {
			t.Errorf("behind %q: %q", order[tt.behind].Name, got)
		}
	}
}

func TestFrom_pastTheEnd(t *testing.T) {
	for label, d := range shapes(t, numbered(30)) {
		for _, cookie := range []uint64{1<<63 - 1, 1 << 63, 1<<64 - 1} {
			if got := all(t, d.From(cookie)); len(got) != 0 {
				t.Errorf("%s: %d entries behind %#x", label, len(got), cookie)
			}
		}
	}
}

func TestStopsWhenAsked(t *testing.T) {
	for label, d := range shapes(t, numbered(50)) {
		for n := range 20 {
			i := 0
			for range d.Entries() {
				if i++; i > n {
					break
				}
			}
			i = 0
			for range d.From(0) {
				if i++; i > n {
					break
				}
			}
			i = 0
			for range d.Tree() {
				if i++; i > n {
					break
				}
			}
		}
		_ = label // the runtime panics when an iterator goes on
	}
}
