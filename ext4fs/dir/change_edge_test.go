package dir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// storeOf puts the blocks of a test directory in a store.
func storeOf(t testing.TB, d *directory) *store {
	s := newStore(t, d.BlockSize)
	s.like(&d.Config)
	s.c.Blocks, s.blocks = disk.LogicalNum(len(d.blocks)), disk.LogicalNum(len(d.blocks))
	s.indexed = d.Indexed
	for l, b := range d.blocks {
		s.home[disk.BlockNum(l)+storeShift] = slices.Clone(b)
	}
	s.caches()
	return s
}

// TestFrom_whileChanging lists directories in small steps while names come and
// go: what was there all the time comes once.
func TestFrom_whileChanging(t *testing.T) {
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(3, 4))
			s := newStore(t, v.size)
			v.set(s)
			s.caches()
			s.init(2)
			stay := map[string]int{}
			n := 300
			if s.c.inline() {
				n = 3
			}
			for i := range n {
				name := fmt.Sprintf("stay-%d-%s", i, strings.Repeat("s", i%40))
				if s.c.inline() {
					name = fmt.Sprintf("stay%d", i)
				}
				if err := s.insert(name, 12, 1); err != nil {
					t.Fatal(err)
				}
				stay[name] = 0
			}
			var others []string
			cookie, blocks := uint64(0), s.blocks
			for step := 0; ; step++ {
				more := false
				for e, err := range s.c.From(cookie) {
					if err != nil {
						t.Fatal(err)
					}
					if _, ok := stay[string(e.Name)]; ok {
						stay[string(e.Name)]++
					}
					cookie, more = e.Cookie, true
					if r.IntN(3) == 0 {
						break
					}
				}
				if !more {
					break
				}
				for range 10 {
					if len(others) > 40 && r.IntN(2) == 0 {
						i := r.IntN(len(others))
						if _, err := s.remove(others[i]); err != nil {
							t.Fatal(err)
						}
						others = slices.Delete(others, i, i+1)
					} else if step < 200 {
						name := fmt.Sprintf("%s-%d", strings.Repeat("o", 1+r.IntN(60)), r.IntN(1<<30))
						if err := s.insert(name, 13, 1); err != nil {
							t.Fatal(err)
						}
						others = append(others, name)
					}
				}
			}
			for name, n := range stay {
				if n != 1 {
					t.Errorf("%q came %d times", name, n)
				}
			}
			t.Logf("%d blocks, then %d, inline %v", blocks, s.blocks, s.c.inline())
		})
	}
}

// TestInsert_collisions: names of one hash fall into several leaves, with
// marked keys, and are all found.
func TestInsert_collisions(t *testing.T) {
	for _, casefold := range []bool{false, true} {
		s := newStore(t, 1024)
		s.c.HashVersion, s.c.Casefold, s.c.NoFallback, s.c.LargeDir = disk.HashLegacy, casefold, true, true
		s.init(2)
		want := map[string]model{}
		same := sameHash(s.c, 6000)
		for _, name := range same {
			want[name] = model{12, 1}
			if err := s.insert(name, 12, 1); err != nil {
				t.Fatal(err)
			}
		}
		marked := 0
		for b := range s.c.Tree() {
			if b.Low&1 != 0 && b.Kind == TreeLeaf {
				marked++
			}
		}
		if t.Logf("%d names, %d marked keys", len(same), marked); marked < 10 {
			t.Error("no test of it")
		}
		for _, name := range same {
			if err := s.insert(name, 12, 1); !errors.Is(err, fs.ErrExist) {
				t.Fatalf("%q again: %v", name, err)
			}
			if _, err := s.c.Lookup([]byte(name)); err != nil {
				t.Fatal(err)
			}
		}
		verifyStored(t, s, want, 2)
		for _, name := range same[:len(same)/2] {
			if _, err := s.remove(name); err != nil {
				t.Fatal(err)
			}
			delete(want, name)
		}
		verifyStored(t, s, want, 2)
	}
}

// sameHash makes about n names of which each shares its hash with others.
func sameHash(c *Config, n int) (list []string) {
	first := map[uint32]string{}
	for i := 0; len(list) < n && i < 1_000_000; i++ {
		name := fmt.Sprintf("%d", i)
		h, _ := c.hashName(c.HashVersion, []byte(name))
		switch other, ok := first[h]; {
		case !ok:
			first[h] = name
		case other != "":
			list = append(list, other, name)
			first[h] = ""
		default:
			list = append(list, name)
		}
	}
	return list
}

func TestInsert_refuses(t *testing.T) {
	s := newStore(t, 1024)
	s.c.MaxInode = 1000
	s.init(2)
	if err := s.insert("there", 12, 1); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		inode disk.InodeNum
		typ   uint8
		want  error
	}{
		{"", 12, 1, syscall.EINVAL},
		{"a/b", 12, 1, syscall.EINVAL},
		{"a\x00", 12, 1, fs.ErrInvalid},
		{strings.Repeat("a", 256), 12, 1, syscall.ENAMETOOLONG},
		{".", 12, 2, fs.ErrExist},
		{"..", 12, 2, syscall.EEXIST},
		{"there", 13, 1, fs.ErrExist},
		{"new", 0, 1, fs.ErrInvalid},
		{"new", 1001, 1, fs.ErrInvalid},
		{"new", 12, 8, fs.ErrInvalid},
	}
	before := s.content()
	for _, tt := range tests {
		if err := s.insert(tt.name, tt.inode, tt.typ); !errors.Is(err, tt.want) {
			t.Errorf("Insert(%.9q, %d, %d): %v, want %v", tt.name, tt.inode, tt.typ, err, tt.want)
		}
	}
	for _, name := range []string{".", ".."} {
		if _, err := s.remove(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Remove(%q): %v", name, err)
		}
	}
	for _, n := range []disk.InodeNum{0, 1001} {
		if _, err := s.c.Replace(s, []byte("there"), n, 1); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Replace by inode %d: %v", n, err)
		}
	}
	if _, err := s.c.Replace(s, []byte("."), 12, 2); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Replace of a dot: %v", err)
	}
	if err := s.c.Init(s, 2); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Init again: %v", err)
	}
	if empty, err := s.c.Empty(); empty || err != nil {
		t.Errorf("Empty: %v, %v", empty, err)
	}
	if !equal(before, s.content()) {
		t.Error("it changed")
	}
	if err := (&Config{}).Insert(s, []byte("a"), 1, 1); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("without functions: %v", err)
	}
}

// TestChange_encrypted: without the key names can be removed, not made.
func TestChange_encrypted(t *testing.T) {
	for _, indexed := range []bool{false, true} {
		for _, casefold := range []bool{false, true} {
			var list []name
			for i := range 60 {
				n := name{inode: disk.InodeNum(100 + i), text: fmt.Sprintf("ciphertext/%06d%s", i, strings.Repeat("\x00", i*3))}
				if casefold {
					n.hash, n.minor = uint32(i+1)<<8, uint32(i)
				}
				list = append(list, n)
			}
			d := newDirectory(1024)
			d.Encrypted, d.Casefold = true, casefold
			if indexed {
				d.tree(list, 1, 4, 6)
			} else {
				d.linear(list, 4)
			}
			s := storeOf(t, d)
			if err := s.insert("name", 12, 1); !errors.Is(err, ErrNoKey) || !errors.Is(err, fs.ErrPermission) {
				t.Errorf("Insert: %v", err)
			}
			entries := all(t, s.c.Entries())[2:]
			var shown []string
			for _, e := range entries {
				shown = append(shown, s.c.DisplayName(e))
			}
			if _, err := s.c.Replace(s, []byte(shown[0]), 12, 1); !errors.Is(err, ErrNoKey) {
				t.Errorf("Replace: %v", err)
			}
			if old, err := s.c.Replace(s, []byte(".."), 12, 2); err != nil || old.Inode != 2 {
				t.Errorf("Replace of ..: %v, %v", old, err)
			}
			for i, name := range shown {
				e, err := s.remove(name)
				if err != nil || e.Inode != entries[i].Inode || s.c.DisplayName(e) != name {
					t.Fatalf("Remove(%q): %+v, %v", name, e, err)
				}
				if i%7 == 0 {
					s.commit()
				}
				if got := len(all(t, s.c.Entries())); got != len(shown)+1-i {
					t.Fatalf("%d names", got)
				}
			}
			s.commit()
			if empty, err := s.reopen().Empty(); !empty || err != nil {
				t.Errorf("Empty: %v, %v", empty, err)
			}
		}
	}
}

// TestInsert_damaged: what is damaged is an error, and stays as it is.
func TestInsert_damaged(t *testing.T) {
	tests := []struct {
		name   string
		indexd bool
		csum   bool
		change func(s *store, block func(l int) []byte)
		want   string
	}{
		{"no tail", false, true, func(s *store, block func(int) []byte) { clear(block(1)[1012:]) }, "rebuild"},
		{"no tail, not verified", false, true, func(s *store, block func(int) []byte) {
			s.c.Verify = false
			clear(block(1)[1012:])
		}, "record length 0"},
		{"record over the tail", false, true, func(s *store, block func(int) []byte) {
			b := block(0)
			at := 0
			for it := s.c.layout().Iter(b); it.Next(); {
				at = it.Offset()
			}
			s.c.layout().SetRecLen(b, at, 1024-at)
			s.c.Verify = false
		}, "not at 1012"},
		{"record length", false, false, func(s *store, block func(int) []byte) { block(1)[4] = 2 }, "record length"},
		{"checksum", true, true, func(s *store, block func(int) []byte) { block(1)[9] ^= 1 }, "checksum"},
		{"index checksum", true, true, func(s *store, block func(int) []byte) { block(0)[40] ^= 1 }, "checksum"},
		{"limit", true, false, func(s *store, block func(int) []byte) { block(0)[32]++ }, "limit"},
		{"hash version", true, false, func(s *store, block func(int) []byte) { block(0)[28] = 9 }, "hash version"},
		{"child", true, false, func(s *store, block func(int) []byte) {
			for i := range 16 {
				binary.LittleEndian.PutUint32(block(0)[36+8*i:], 77777)
			}
		}, "points to block"},
		{"node for leaf", true, false, func(s *store, block func(int) []byte) {
			b := block(1)
			clear(b)
			s.c.layout().InitDXNode(b, make(disk.DXEntries, 8), 1)
			for i := range 16 {
				binary.LittleEndian.PutUint32(block(0)[36+8*i:], 1)
			}
		}, "as a leaf"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDirectory(1024)
			d.MetadataCsum = tt.csum
			if tt.indexd {
				d.tree(numbered(60), 0, 10, 0)
			} else {
				d.linear(numbered(60), 10)
			}
			s := storeOf(t, d)
			tt.change(s, func(l int) []byte { return s.home[disk.BlockNum(l)+storeShift] })
			s.caches()
			before := s.content()
			var err error
			for i := range 300 { // one of them gets there
				if err = s.insert(fmt.Sprintf("%s-%d", strings.Repeat("y", 150), i), 12, 1); err != nil {
					break
				}
				before = s.content()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) && !strings.Contains(err.Error(), "rebuild") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if !errors.Is(err, disk.ErrCorrupt) && !errors.Is(err, disk.ErrChecksum) {
				t.Errorf("%v is of another kind", err)
			}
			if !equal(before, s.content()) {
				t.Error("it changed")
			}
		})
	}
}

// TestInsert_staleIndex: without dir_index the flag goes away with the first
// name, and nothing looks at the index.
func TestInsert_staleIndex(t *testing.T) {
	d := newDirectory(1024)
	d.MetadataCsum = false
	d.tree(numbered(60), 0, 10, 0)
	s := storeOf(t, d)
	s.c.Indexed, s.c.DirIndex, s.c.StaleIndex = false, false, true
	set := s.c.SetIndexed
	s.c.SetIndexed = func(cache.Tx, bool) error { return errInjected }
	before := s.content()
	if err := s.insert("new", 12, 1); !errors.Is(err, errInjected) || !equal(before, s.content()) {
		t.Errorf("%v, or it changed", err)
	}
	s.c.SetIndexed = set
	if err := s.insert("new", 12, 1); err != nil {
		t.Fatal(err)
	}
	if s.indexed || s.c.StaleIndex {
		t.Error("the flag is still there")
	}
	if got := len(all(t, s.c.Entries())); got != 63 {
		t.Errorf("%d names", got)
	}
}

// TestInsert_setIndexedFails: the directory stays linear, with a block more.
func TestInsert_setIndexedFails(t *testing.T) {
	s := newStore(t, 1024)
	s.init(2)
	set := s.c.SetIndexed
	want := map[string]model{}
	failed := 0
	for i := range 60 {
		name := fmt.Sprintf("name-%d-%s", i, strings.Repeat("z", 60))
		s.c.SetIndexed = func(cache.Tx, bool) error { return errInjected }
		if err := s.insert(name, 12, 1); err != nil {
			if failed++; !errors.Is(err, errInjected) {
				t.Fatal(err)
			}
			verifyStored(t, s, want, 2)
			s.c.SetIndexed = set
			if err := s.insert(name, 12, 1); err != nil {
				t.Fatal(err)
			}
		}
		want[name] = model{12, 1}
	}
	if failed == 0 {
		t.Error("it had no index to make")
	}
	verifyStored(t, s, want, 2)
}

// TestInsert_misplaced: a name that another folding put in the wrong leaf is
// a duplicate still.
func TestInsert_misplaced(t *testing.T) {
	var list []name
	for i := range 80 {
		list = append(list, name{inode: 500, text: fmt.Sprintf("Filler-%d", i)})
	}
	probe := newDirectory(1024)
	probe.Casefold = true
	h, _ := probe.hashName(probe.HashVersion, []byte("Lost"))
	list = append(list, name{inode: 12, text: "Lost", hash: h ^ 1<<31})
	for _, tt := range []struct {
		list       []name
		noFallback bool
		exist      bool
	}{{list, false, true}, {list, true, false}, {list[:80], false, false}} {
		d := folded(true, tt.list)
		d.NoFallback = tt.noFallback
		s := storeOf(t, d)
		if err := s.insert("other", 12, 1); err != nil {
			t.Fatal(err)
		}
		err := s.insert("LOST", 13, 1)
		if errors.Is(err, fs.ErrExist) != tt.exist || !tt.exist && err != nil {
			t.Errorf("%+v: %v", tt.exist, err)
		}
		if e, err := s.c.Lookup([]byte("lost")); err != nil || e.Inode != 12 != !tt.exist {
			t.Errorf("%+v, %v", e, err)
		}
		if err := s.insert("OTHER", 13, 1); !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
	}
}

// TestInline_offsets: cookies of names stay what they were when the directory
// grows, and moves to a block.
func TestInline_offsets(t *testing.T) {
	s := newStore(t, 1024)
	s.c.InlineBlock, s.c.MaxInlineValue, s.c.DirIndex = make([]byte, 60), 68, false
	s.init(2)
	at := map[string]int{}
	steps := 0
	for i := 0; i < 20; i++ {
		name := fmt.Sprintf("n%d", i)
		if err := s.insert(name, 12, 1); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			if _, err := s.remove("n0"); err != nil {
				t.Fatal(err)
			}
			delete(at, "n0")
		}
		if len(s.c.InlineValue) == 68 {
			steps |= 1
		} else if !s.c.inline() {
			steps |= 2
		}
		for _, e := range all(t, s.c.Entries()) {
			if old, ok := at[string(e.Name)]; ok && old != e.Offset {
				t.Errorf("%q moved from %d to %d", e.Name, old, e.Offset)
			}
			at[string(e.Name)] = e.Offset
		}
	}
	if steps != 3 {
		t.Errorf("steps %d", steps)
	}
	s.c.InlineBlock, s.c.Blocks, s.blocks = make([]byte, 60), 0, 0
	s.noInline = true
	if err := s.c.Init(s, 2); !errors.Is(err, syscall.EIO) {
		t.Errorf("Init: %v", err)
	}
}

// TestInsert_badDefaultHash: a directory that cannot have an index stays
// linear.
func TestInsert_badDefaultHash(t *testing.T) {
	s := newStore(t, 1024)
	s.c.HashVersion = disk.HashSipHash
	s.init(2)
	want := map[string]model{}
	for i := range 100 {
		name := fmt.Sprintf("name-%d", i)
		if err := s.insert(name, 12, 1); err != nil {
			t.Fatal(err)
		}
		want[name] = model{12, 1}
	}
	if s.c.Indexed || s.c.Blocks < 2 {
		t.Error("indexed")
	}
	verifyStored(t, s, want, 2)
}

// TestInsert_repacks: room that is scattered over a leaf is used before the leaf
// is split.
func TestInsert_repacks(t *testing.T) {
	s := newStore(t, 1024)
	s.init(2)
	want := map[string]model{}
	for i := range 400 {
		name := fmt.Sprintf("name-%04d", i)
		if err := s.insert(name, 12, 1); err != nil {
			t.Fatal(err)
		}
		want[name] = model{12, 1}
	}
	for i := range 400 {
		if i%4 != 0 {
			continue
		}
		name := fmt.Sprintf("name-%04d", i)
		if _, err := s.remove(name); err != nil {
			t.Fatal(err)
		}
		delete(want, name)
	}
	blocks := s.blocks
	for i := range 20 {
		name := fmt.Sprintf("%d-%s", i, strings.Repeat("r", 60))
		if err := s.insert(name, 12, 1); err != nil {
			t.Fatal(err)
		}
		want[name] = model{12, 1}
	}
	if s.blocks > blocks+3 {
		t.Errorf("%d blocks, then %d", blocks, s.blocks)
	}
	verifyStored(t, s, want, 2)
}

// TestInsert_largest: directories end where their blocks cannot be told any
// more.
func TestInsert_largest(t *testing.T) {
	tests := []struct {
		size           int
		blocks         disk.LogicalNum
		large, indexed bool
		full           bool
	}{
		{65536, 65534, false, false, false},
		{65536, 65535, false, false, true},
		{65536, 65535, true, false, false},
		{1024, 1<<22 - 1, false, true, true},
		{1024, 1<<28 - 1, true, true, false},
		{1024, 1 << 28, true, true, true},
		{1024, 1 << 28, true, false, false},
	}
	for _, tt := range tests {
		s := newStore(t, tt.size)
		s.c.LargeDir, s.c.Indexed, s.c.Blocks, s.blocks = tt.large, tt.indexed, tt.blocks, tt.blocks
		_, _, err := s.c.grow(s, TreeLeaf)
		if full := errors.Is(err, syscall.ENOSPC); full != tt.full || !full && err != nil || full && s.appends > 0 {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
