package dir

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

func planForm(size int) Form {
	return Form{BlockSize: size, DirIndex: true, MetadataCsum: true, Filetype: true,
		HashSeed: [4]uint32{5, 6, 7, 8}, HashVersion: disk.HashHalfMD4, SignedHash: true}
}

var planSelf = Self{Inode: 77, Parent: 2, Seed: 0x1234567}

func planChild(list []string) func(i int) Child {
	return func(i int) Child {
		return Child{Name: list[i], Inode: disk.InodeNum(100 + i), Type: uint8(i%7 + 1)}
	}
}

// planned plans and makes a directory, and opens it for readers.
func planned(t testing.TB, f Form, list []string, o PlanOptions) (*Plan, *Config) {
	t.Helper()
	b, err := NewBuilder(f)
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Plan(len(list), func(i int) string { return list[i] }, o)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, p.Size())
	for i := range data {
		data[i] = 0x5a
	}
	if err := p.Put(data, 0, planSelf, planChild(list)); err != nil {
		t.Fatal(err)
	}
	part := make([]byte, f.BlockSize)
	for l := range p.Blocks() {
		if err := p.Put(part, l, planSelf, planChild(list)); err != nil || string(part) != string(data[int(l)*f.BlockSize:][:f.BlockSize]) {
			t.Fatalf("block %d alone is another one, %v", l, err)
		}
	}
	return p, plannedConfig(f, o, p, data)
}

func plannedConfig(f Form, o PlanOptions, p *Plan, data []byte) *Config {
	blocks := cache.New(device.NewMemory(data), f.BlockSize, uint64(p.Blocks()), cache.Options{})
	return &Config{Inode: planSelf.Inode, Seed: planSelf.Seed, BlockSize: f.BlockSize, Blocks: p.Blocks(), Indexed: p.Indexed(),
		Casefold: o.Casefold, DirIndex: f.DirIndex, MetadataCsum: f.MetadataCsum, Filetype: f.Filetype, LargeDir: f.LargeDir,
		HashSeed: f.HashSeed, HashVersion: f.HashVersion, SignedHash: f.SignedHash, Strict: f.Strict, Verify: true, NoFallback: true,
		Read: func(l disk.LogicalNum) (*cache.Buffer, error) { return blocks.Get(disk.BlockNum(l)) }}
}

// checkPlanned reads the directory with the package's readers.
func checkPlanned(t testing.TB, f Form, p *Plan, c *Config, list []string) {
	t.Helper()
	entries := all(t, c.Entries())
	if len(entries) != len(list)+2 || string(entries[0].Name) != "." || entries[0].Inode != 77 || string(entries[1].Name) != ".." || entries[1].Inode != 2 {
		t.Fatalf("%d entries of %d", len(entries), len(list))
	}
	child := planChild(list)
	index := make(map[string]int, len(list))
	for i, s := range list {
		index[s] = i
	}
	for _, e := range entries[2:] {
		i, ok := index[string(e.Name)]
		want := uint8(0)
		if f.Filetype {
			want = child(i).Type
		}
		if !ok || e.Inode != child(i).Inode || e.Type != want {
			t.Fatalf("%q: %+v", e.Name, e)
		}
	}
	step := max(1, len(list)/5000)
	for i := 0; i < len(list); i += step {
		if e, err := c.Lookup([]byte(list[i])); err != nil || string(e.Name) != list[i] {
			t.Fatalf("Lookup(%q): %+v, %v", list[i], e, err)
		}
	}
	order := all(t, c.From(0))[2:]
	for k, e := range order {
		if at := list[p.At(k)]; at != string(e.Name) && f.HashVersion != disk.HashLegacy {
			t.Fatalf("At(%d) is %q, listed is %q", k, at, e.Name)
		}
	}
	if !p.Indexed() {
		return
	}
	checkPlannedTree(t, f, p, c, len(list))
}

func checkPlannedTree(t testing.TB, f Form, p *Plan, c *Config, names int) {
	t.Helper()
	var last uint32
	blocks, least, most, leaves := disk.LogicalNum(0), 1<<30, 0, 0
	for b, err := range c.Tree() {
		if err != nil {
			t.Fatal(err)
		}
		if f.MetadataCsum && b.Checksum != ChecksumGood {
			t.Fatalf("block %d: checksum %v", b.Block, b.Checksum)
		}
		blocks++
		if b.Kind != TreeLeaf {
			continue
		}
		leaves++
		names -= b.Names
		if b.Low < last || b.MinHash < b.Low&^1 || !b.Last && (b.MaxHash > b.High&^1 || b.MaxHash == b.High) || b.Names == 0 {
			t.Fatalf("leaf %d: %d names with hashes %x to %x, keys %x to %x", b.Block, b.Names, b.MinHash, b.MaxHash, b.Low, b.High)
		}
		last = b.Low
		least, most = min(least, b.Used), max(most, b.Used)
	}
	if blocks != p.Blocks() || names != 0 {
		t.Errorf("%d blocks of %d, %d names left", blocks, p.Blocks(), names)
	}
	t.Logf("%d leaves, %d levels, %d to %d bytes used of %d", leaves, p.Levels(), least, most, f.BlockSize)
}

func manyNames(n int, long bool) []string {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("name-%06d", i)
		if long {
			list[i] += strings.Repeat("x", r.IntN(240))
		}
	}
	return list
}

// TestPlan makes directories of all shapes and reads them.
func TestPlan(t *testing.T) {
	for _, size := range []int{1024, 4096, 65536} {
		for _, n := range []int{0, 1, 5, 30, 33, 34, 35, 36, 100, 1000, 20000} {
			for _, kind := range []string{"", "compact", "plain", "linear", "long", "shuffled", "tea", "legacy", "unsigned"} {
				f := planForm(size)
				list := manyNames(n, kind == "long")
				switch kind {
				case "compact":
					f.Compact = true
				case "plain":
					f.MetadataCsum, f.Filetype = false, false
				case "linear":
					f.DirIndex = false
				case "tea":
					f.HashVersion = disk.HashTEA
				case "legacy":
					f.HashVersion = disk.HashLegacy
				case "unsigned":
					f.SignedHash = false
					for i := range list {
						list[i] += "\xc3\xa4"
					}
				case "shuffled":
					rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { list[i], list[j] = list[j], list[i] })
				}
				if n == 20000 && kind != "" && kind != "compact" {
					continue
				}
				t.Run(fmt.Sprintf("%d/%d/%s", size, n, kind), func(t *testing.T) {
					p, c := planned(t, f, list, PlanOptions{})
					checkPlanned(t, f, p, c, list)
				})
			}
		}
	}
}

// TestPlan_sameWhateverTheOrder: the order in which names are given is nothing.
func TestPlan_sameWhateverTheOrder(t *testing.T) {
	for _, n := range []int{20, 3000} {
		list := manyNames(n, false)
		var want []byte
		for seed := range uint64(3) {
			perm := rand.New(rand.NewPCG(seed, 0)).Perm(n)
			if seed == 0 {
				for i := range perm {
					perm[i] = i
				}
			}
			b, _ := NewBuilder(planForm(1024))
			p, err := b.Plan(n, func(i int) string { return list[perm[i]] }, PlanOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, p.Size())
			if err := p.Put(got, 0, planSelf, func(i int) Child { return planChild(list)(perm[i]) }); err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = got
			}
			if string(got) != string(want) {
				t.Errorf("%d names, order %d: other bytes", n, seed)
			}
		}
	}
}

// TestPlan_collisions: names of one hash go over many leaves, and are found
// there.
func TestPlan_collisions(t *testing.T) {
	f := planForm(1024)
	b, err := NewBuilder(f)
	if err != nil {
		t.Fatal(err)
	}
	list := manyNames(400, false)
	// The hash is forced after the names were read.
	forced := func(lo, hi int) ([]buildKey, int) {
		used, _, err := b.collect(len(list), func(i int) string { return list[i] })
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.keys {
			b.keys[i].order = uint64(2*i) << 32
			if i >= lo && i < hi {
				b.keys[i].order = uint64(2*lo) << 32
			}
		}
		return b.keys, used
	}
	for _, part := range [][2]int{{0, 400}, {100, 300}, {30, 33}, {0, 40}, {33, 36}, {32, 36}, {360, 400}, {399, 400}} {
		for _, full := range []bool{false, true} {
			keys, used := forced(part[0], part[1])
			p := &Plan{layout: b.c.layout(), n: len(list), indexed: true}
			b.cutLeaves(p, used, full)
			for i, l := range p.leaves {
				if i == 0 {
					if l.first != 0 || l.key != 0 {
						t.Errorf("%v: first leaf %+v", part, l)
					}
					continue
				}
				own, before := keys[l.first].hash(), keys[l.first-1].hash()
				if l.first <= p.leaves[i-1].first || l.key&^1 != own || (l.key&1 != 0) != (own == before) {
					t.Errorf("%v: leaf %d: %+v, hash %x after %x", part, i, l, own, before)
				}
				if own == before && part[1]-part[0] < 10 {
					t.Errorf("%v: few names of one hash are parted", part)
				}
			}
		}
	}
}

// TestPlan_levels: each level of nodes comes where it must.
func TestPlan_levels(t *testing.T) {
	list := manyNames(70000, false)
	for i := range list {
		list[i] += strings.Repeat("y", 230)
	}
	for _, tt := range []struct {
		n      int
		large  bool
		levels int
	}{{100, false, 0}, {3 * 123, false, 0}, {3*123 + 1, false, 1}, {40000, false, 1}, {3 * 123 * 126, false, 1}, {70000, true, 2}} {
		f := planForm(1024)
		f.LargeDir = tt.large
		p, c := planned(t, f, list[:tt.n], PlanOptions{})
		if p.Levels() != tt.levels {
			t.Errorf("%d names: %d levels, want %d", tt.n, p.Levels(), tt.levels)
		}
		checkPlanned(t, f, p, c, list[:tt.n])
	}
	b, _ := NewBuilder(planForm(1024))
	if _, err := b.Plan(70000, func(i int) string { return list[i] }, PlanOptions{}); !errors.Is(err, ErrNoSpace) {
		t.Errorf("too many names: %v", err)
	}
}

// TestPlan_casefold: names are found by their folding, and those that fold to
// the same are refused.
func TestPlan_casefold(t *testing.T) {
	f := planForm(1024)
	for _, n := range []int{3, 3000} {
		list := manyNames(n, false)
		for i := range list {
			list[i] += "-ÄÖÜ-ẞ"
		}
		p, c := planned(t, f, list, PlanOptions{Casefold: true})
		checkPlanned(t, f, p, c, list)
		for i := range list {
			s := strings.Replace(strings.ToUpper(list[i]), "ẞ", "ss", 1)
			if e, err := c.Lookup([]byte(s)); err != nil || string(e.Name) != list[i] {
				t.Fatalf("%q: %q, %v", s, e.Name, err)
			}
		}
		for _, index := range []bool{true, false} {
			f := f
			f.DirIndex = index
			b, _ := NewBuilder(f)
			twice := append(slices.Clone(list), strings.ToLower(list[n/2]))
			_, err := b.Plan(len(twice), func(i int) string { return twice[i] }, PlanOptions{Casefold: true})
			if !errors.Is(err, ErrExist) {
				t.Errorf("%d names, index %v: %v", n, index, err)
			}
			if _, err = b.Plan(len(twice), func(i int) string { return twice[i] }, PlanOptions{}); err != nil {
				t.Error(err)
			}
		}
	}
	f.Strict = true
	b, _ := NewBuilder(f)
	bad := func(int) string { return "a\xff" }
	if _, err := b.Plan(1, bad, PlanOptions{Casefold: true}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if _, err := b.Plan(1, bad, PlanOptions{}); err != nil {
		t.Error(err)
	}
}

func TestPlan_refuses(t *testing.T) {
	b, _ := NewBuilder(planForm(4096))
	for name, want := range map[string]error{"": ErrInvalid, ".": ErrExist, "..": ErrExist, "a/b": ErrInvalid, "a\x00": ErrInvalid,
		strings.Repeat("n", 256): ErrNameLong} {
		if _, err := b.Plan(1, func(int) string { return name }, PlanOptions{}); !errors.Is(err, want) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, list := range [][]string{{"a", "a"}, {"b", "a", "b"}} {
		if _, err := b.Plan(len(list), func(i int) string { return list[i] }, PlanOptions{}); !errors.Is(err, ErrExist) {
			t.Errorf("%q: %v", list, err)
		}
	}
	for _, size := range []int{0, 512, 1000, 1 << 17} {
		if _, err := NewBuilder(planForm(size)); !errors.Is(err, ErrInvalid) {
			t.Errorf("blocks of %d bytes: %v", size, err)
		}
	}
	list := manyNames(1000, false)
	p, err := b.Plan(len(list), func(i int) string { return list[i] }, PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	good := planChild(list)
	for what, child := range map[string]func(i int) Child{
		"inode":  func(i int) Child { c := good(i); c.Inode = 0; return c },
		"type":   func(i int) Child { c := good(i); c.Type = 9; return c },
		"longer": func(i int) Child { c := good(i); c.Name = strings.Repeat("q", 255); return c },
		"empty":  func(i int) Child { c := good(i); c.Name = ""; return c },
	} {
		if err := p.Put(make([]byte, p.Size()), 0, planSelf, child); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for n, from := range map[int]disk.LogicalNum{100: 0, int(p.Size()): 1, 4096: p.Blocks()} {
		if err := p.Put(make([]byte, n), from, planSelf, good); !errors.Is(err, ErrInvalid) {
			t.Errorf("%d bytes from %d: %v", n, from, err)
		}
	}
	if err := p.Put(nil, 0, Self{Inode: 3}, good); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

// TestPlan_minBlocks is lost+found.
func TestPlan_minBlocks(t *testing.T) {
	for _, list := range [][]string{nil, {"b", "a", "c"}} {
		f := planForm(4096)
		p, c := planned(t, f, list, PlanOptions{MinBlocks: 4})
		if p.Blocks() != 4 || p.Indexed() {
			t.Fatal(p.Blocks())
		}
		checkPlanned(t, f, p, c, list)
	}
}

// TestPlan_inline makes inline directories until they are full.
func TestPlan_inline(t *testing.T) {
	for _, room := range []int{-1, 0, 12, 68, 700} {
		for n := range 70 {
			list := manyNames(n, false)
			for i := range list {
				list[i] = list[i][:1+i*5%11] + fmt.Sprint(i)
			}
			b, _ := NewBuilder(planForm(4096))
			p, err := b.Plan(n, func(i int) string { return list[i] }, PlanOptions{})
			if err != nil {
				t.Fatal(err)
			}
			size, ok := InlineSize(n, func(i int) string { return list[i] }, room)
			block, value, err := p.PutInline(planSelf, planChild(list), room)
			if ok != (err == nil) || len(value) != size || size > max(room, 0) || err != nil && !errors.Is(err, ErrNoSpace) {
				t.Fatalf("%d names, room %d: %d bytes, %v; %v", n, room, size, ok, err)
			}
			if !ok {
				if n < 3 && room > 0 {
					t.Errorf("%d names do not fit into %d bytes", n, room)
				}
				break
			}
			c := &Config{Inode: 77, Filetype: true, DirIndex: true, HashVersion: disk.HashHalfMD4, SignedHash: true, HashSeed: [4]uint32{5, 6, 7, 8},
				InlineBlock: block[:], InlineValue: value}
			checkPlanned(t, planForm(4096), p, c, list)
		}
	}
}

// TestPlan_insert: what was made takes new names, and few leaves are split by
// the first of them.
func TestPlan_insert(t *testing.T) {
	list := manyNames(3000, false)
	f := planForm(1024)
	p, from := planned(t, f, list, PlanOptions{})
	s := newStore(t, 1024)
	s.like(from)
	for l := range p.Blocks() {
		b, err := from.Read(l)
		if err != nil {
			t.Fatal(err)
		}
		s.home[disk.BlockNum(l)+storeShift] = slices.Clone(b.Data())
	}
	s.blocks, s.indexed = p.Blocks(), true
	s.caches()
	for i := range 150 {
		if err := s.insert(fmt.Sprintf("more-%d", i), 5, 1); err != nil {
			t.Fatal(err)
		}
	}
	if s.blocks > p.Blocks()+3 {
		t.Errorf("%d blocks became %d", p.Blocks(), s.blocks)
	}
	s.commit()
	c := s.reopen()
	if got := len(all(t, c.Entries())); got != 3152 {
		t.Errorf("%d names", got)
	}
}

// FuzzPlan plans names of any kind.
func FuzzPlan(f *testing.F) {
	f.Add([]byte("a\nb\nc"), uint16(0))
	f.Add([]byte(strings.Repeat("abc\nde\xff\n\xc3\xa4f", 30)), uint16(0x1ff))
	f.Fuzz(func(t *testing.T, text []byte, bits uint16) {
		list := strings.Split(string(text), "\n")
		for i := range list {
			list[i] += strings.Repeat("x", int(bits>>8)) + fmt.Sprint(i)
		}
		form := planForm(1024 << (bits & 1 * 2))
		form.DirIndex, form.MetadataCsum, form.Compact = bits&2 == 0, bits&4 == 0, bits&8 == 0
		form.HashVersion, form.SignedHash = disk.HashVersion(bits>>4%3), bits&64 == 0
		b, err := NewBuilder(form)
		if err != nil {
			t.Fatal(err)
		}
		o := PlanOptions{Casefold: bits&128 == 0}
		if _, err := b.Plan(len(list), func(i int) string { return list[i] }, o); err != nil {
			if !errors.Is(err, ErrExist) && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrNameLong) {
				t.Fatal(err)
			}
			return
		}
		p, c := planned(t, form, list, o)
		checkPlanned(t, form, p, c, list)
	})
}

// TestPlan_time: 200,000 names take well below a second.
func TestPlan_time(t *testing.T) {
	list := manyNames(200000, false)
	b, _ := NewBuilder(planForm(4096))
	start := time.Now()
	p, err := b.Plan(len(list), func(i int) string { return list[i] }, PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mid := time.Now()
	if err := p.Put(make([]byte, p.Size()), 0, planSelf, planChild(list)); err != nil {
		t.Fatal(err)
	}
	t.Logf("%v to plan, %v to make %d blocks", mid.Sub(start), time.Since(mid), p.Blocks())
}

func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{10, 1000, 200000} {
		list := manyNames(n, false)
		builder, _ := NewBuilder(planForm(4096))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			var data []byte
			for b.Loop() {
				p, err := builder.Plan(n, func(i int) string { return list[i] }, PlanOptions{})
				if err != nil {
					b.Fatal(err)
				}
				if data == nil {
					data = make([]byte, p.Size())
				}
				if err := p.Put(data, 0, planSelf, planChild(list)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
