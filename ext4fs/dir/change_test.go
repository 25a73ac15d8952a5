package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/casefold"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// model is what the directory should hold.
type model struct {
	inode disk.InodeNum
	typ   uint8
}

// verify holds a directory against the model in all ways there are to read it.
func verify(t testing.TB, c *Config, want map[string]model, parent disk.InodeNum) {
	t.Helper()
	for _, list := range [][]Entry{all(t, c.Entries()), all(t, c.From(0))} {
		if len(list) != len(want)+2 {
			t.Fatalf("%d names, want %d", len(list)-2, len(want))
		}
		for _, e := range list {
			w, ok := want[string(e.Name)]
			switch {
			case disk.IsDot(e.Name):
				w, ok = model{c.Inode, disk.FileTypeDir}, true
			case disk.IsDotDot(e.Name):
				w, ok = model{parent, disk.FileTypeDir}, true
			}
			if !c.Filetype {
				w.typ = 0
			}
			if !ok || e.Inode != w.inode || e.Type != w.typ {
				t.Fatalf("%q: inode %d type %d, want %v %v", e.Name, e.Inode, e.Type, w, ok)
			}
		}
	}
	n := 0
	for name, w := range want {
		if e, err := c.Lookup([]byte(name)); err != nil || e.Inode != w.inode {
			t.Fatalf("Lookup(%q): %v, %v", name, e, err)
		}
		if n++; n > 500 {
			break
		}
	}
	if c.Indexed {
		verifyTree(t, c, len(want))
	}
}

// verifyTree demands of a tree what e2fsck does.
func verifyTree(t testing.TB, c *Config, names int) {
	t.Helper()
	blocks, low := disk.LogicalNum(0), uint32(0)
	for b, err := range c.Tree() {
		if err != nil {
			t.Fatalf("block %d: %v", b.Block, err)
		}
		if blocks++; b.Kind == TreeRoot && (b.Info.Reserved != 0 || b.Info.InfoLength != 8 || b.Info.Flags != 0) {
			t.Fatalf("root %+v", b.Info)
		}
		if b.Kind != TreeLeaf {
			continue
		}
		names -= b.Names
		if b.Low < low {
			t.Fatalf("leaf %d: key %x after %x", b.Block, b.Low, low)
		}
		low = b.Low
		if b.Names > 0 && (b.MinHash < b.Low&^1 || !b.Last && b.MaxHash >= b.High) {
			t.Fatalf("leaf %d: hashes %x-%x in %x-%x", b.Block, b.MinHash, b.MaxHash, b.Low, b.High)
		}
	}
	if names != 0 || blocks != c.Blocks {
		t.Fatalf("the tree lacks %d names, and has %d of %d blocks", names, blocks, c.Blocks)
	}
}

// verifyStored commits, and verifies what is on disk with all checksums.
func verifyStored(t testing.TB, s *store, want map[string]model, parent disk.InodeNum) {
	t.Helper()
	verify(t, s.c, want, parent)
	s.commit()
	c := s.reopen()
	verify(t, c, want, parent)
	if c.Indexed {
		for b := range c.Tree() {
			if b.Checksum != ChecksumGood && c.MetadataCsum {
				t.Fatalf("block %d: checksum %v", b.Block, b.Checksum)
			}
		}
	}
	for l := range c.Blocks {
		b, _ := c.read(l)
		layout, end := c.layout(), c.layout().LeafEnd()
		if c.Indexed && (l == 0 || layout.IsDXNode(b.Data())) {
			layout.Checksum, end = false, c.BlockSize
		}
		it := layout.Iter(b.Data())
		for it.Next() {
		}
		if it.Err() != nil || it.End() != end {
			t.Fatalf("block %d ends at %d, %v", l, it.End(), it.Err())
		}
	}
}

type variant struct {
	name  string
	size  int
	steps int
	set   func(s *store)
}

func variants() (list []variant) {
	plain := func(*store) {}
	for _, size := range []int{1024, 2048, 4096, 65536} {
		steps := 3000 * min(size, 4096) / 1024
		if size > 4096 {
			steps = 12000
		}
		list = append(list, variant{fmt.Sprintf("%d", size), size, steps, plain},
			variant{fmt.Sprintf("%d-nocsum", size), size, steps, func(s *store) { s.c.MetadataCsum = false }})
	}
	for _, v := range []disk.HashVersion{disk.HashLegacy, disk.HashHalfMD4, disk.HashTEA} {
		for _, signed := range []bool{false, true} {
			list = append(list, variant{fmt.Sprintf("%v-%v", v, signed), 1024, 1500, func(s *store) { s.c.HashVersion, s.c.SignedHash = v, signed }})
		}
	}
	return append(list,
		variant{"linear", 1024, 600, func(s *store) { s.c.DirIndex = false }},
		variant{"linear-nocsum-notype", 1024, 600, func(s *store) { s.c.DirIndex, s.c.MetadataCsum, s.c.Filetype = false, false, false }},
		variant{"notype", 1024, 1500, func(s *store) { s.c.Filetype = false }},
		variant{"large-dir", 1024, 3000, func(s *store) { s.c.LargeDir = true }},
		variant{"casefold", 1024, 1500, func(s *store) { s.c.Casefold = true }},
		variant{"casefold-strict", 1024, 800, func(s *store) { s.c.Casefold, s.c.Strict, s.c.NoFallback = true, true, true }},
		variant{"casefold-linear", 1024, 300, func(s *store) { s.c.Casefold, s.c.DirIndex = true, false }},
		variant{"inline", 1024, 1500, func(s *store) { s.c.InlineBlock, s.c.MaxInlineValue = make([]byte, 60), 68 }},
		variant{"inline-large", 4096, 1500, func(s *store) { s.c.InlineBlock, s.c.MaxInlineValue = make([]byte, 60), 2001 }},
		variant{"inline-none", 1024, 500, func(s *store) { s.c.InlineBlock, s.c.MaxInlineValue = make([]byte, 60), 0 }},
		variant{"inline-linear", 1024, 500, func(s *store) { s.c.InlineBlock, s.c.MaxInlineValue, s.c.DirIndex = make([]byte, 60), 130, false }},
		variant{"inline-casefold", 1024, 500, func(s *store) { s.c.InlineBlock, s.c.MaxInlineValue, s.c.Casefold = make([]byte, 60), 100, true }},
	)
}

// nameMaker makes names, some of which come twice or fold alike.
type nameMaker struct{ r *rand.Rand }

func (m nameMaker) next() string {
	switch m.r.IntN(12) {
	case 0:
		return strings.Repeat("long", 1+m.r.IntN(62)) + fmt.Sprint(m.r.IntN(1000))
	case 1:
		return fmt.Sprintf("É-%d-ß", m.r.IntN(2000))
	case 2:
		return fmt.Sprintf("é-%d-SS", m.r.IntN(2000))
	case 3:
		return fmt.Sprintf("%c", 'a'+m.r.IntN(26))
	case 4:
		return fmt.Sprintf("\xff\x80-%d", m.r.IntN(2000))
	}
	return fmt.Sprintf("file-%06d", m.r.IntN(20000))
}

// fold is the name by which a model keeps names apart.
func fold(c *Config, name string) string {
	if c.Casefold {
		if f, ok := casefold.Append(nil, []byte(name)); ok {
			return string(f)
		}
	}
	return name
}

func TestModel(t *testing.T) {
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(2) {
				s := newStore(t, v.size)
				v.set(s)
				s.caches()
				s.init(2)
				steps := v.steps
				if testing.Short() {
					steps /= 5
				}
				runModel(t, s, steps, seed)
			}
		})
	}
}

type modelRun struct {
	t      *testing.T
	s      *store
	m      nameMaker
	want   map[string]model
	byFold map[string]string
	list   []string // names that may be there
	parent disk.InodeNum
}

func runModel(t *testing.T, s *store, steps int, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	run := &modelRun{t: t, s: s, m: nameMaker{r}, want: map[string]model{}, byFold: map[string]string{}, parent: 2}
	every := max(1, steps/12)
	for i := range steps {
		grow := 7
		if i > steps*2/3 {
			grow = 2
		}
		switch x := r.IntN(12); {
		case x < grow:
			run.insert(run.m.next())
		case x < 10:
			run.remove(run.pick())
		case x < 11:
			run.replace(run.pick())
		default:
			run.lookup(run.m.next())
		}
		if i%every == every-1 {
			verifyStored(t, s, run.want, run.parent)
		}
	}
	t.Logf("%d names, %d blocks, indexed %v, inline %v", len(run.want), s.c.Blocks, s.c.Indexed, s.c.inline())
	for name := range run.want {
		run.remove(name)
	}
	verifyStored(t, s, run.want, run.parent)
	if empty, err := s.c.Empty(); !empty || err != nil {
		t.Errorf("Empty: %v, %v", empty, err)
	}
}

func (m *modelRun) pick() string {
	if len(m.list) == 0 || m.m.r.IntN(10) == 0 {
		return m.m.next()
	}
	return m.list[m.m.r.IntN(len(m.list))]
}

func (m *modelRun) insert(name string) {
	m.t.Helper()
	n := model{disk.InodeNum(11 + m.m.r.IntN(1<<20)), uint8(1 + m.m.r.IntN(7))}
	err := m.s.insert(name, n.inode, n.typ)
	_, there := m.byFold[fold(m.s.c, name)]
	valid := true
	if m.s.c.Casefold && m.s.c.Strict {
		valid = casefold.Valid([]byte(name))
	}
	switch {
	case !valid:
		if !errors.Is(err, syscall.EINVAL) || !errors.Is(err, fs.ErrInvalid) {
			m.t.Fatalf("Insert(%q): %v", name, err)
		}
	case there:
		if !errors.Is(err, fs.ErrExist) || !errors.Is(err, syscall.EEXIST) {
			m.t.Fatalf("Insert(%q), which is there: %v", name, err)
		}
	case err != nil:
		m.t.Fatalf("Insert(%q): %v", name, err)
	default:
		m.want[name], m.byFold[fold(m.s.c, name)] = n, name
		m.list = append(m.list, name)
	}
}

// stored is the name as it is in the directory.
func (m *modelRun) stored(name string) (string, bool) {
	s, ok := m.byFold[fold(m.s.c, name)]
	return s, ok
}

func (m *modelRun) absent(what, name string, err error) {
	m.t.Helper()
	if !errors.Is(err, fs.ErrNotExist) && !(m.s.c.Strict && errors.Is(err, fs.ErrInvalid)) {
		m.t.Fatalf("%s(%q): %v", what, name, err)
	}
}

func (m *modelRun) remove(name string) {
	m.t.Helper()
	e, err := m.s.remove(name)
	stored, ok := m.stored(name)
	if !ok {
		m.absent("Remove", name, err)
		return
	}
	if err != nil || string(e.Name) != stored || e.Inode != m.want[stored].inode {
		m.t.Fatalf("Remove(%q) = %+v, %v", name, e, err)
	}
	delete(m.want, stored)
	delete(m.byFold, fold(m.s.c, name))
}

func (m *modelRun) replace(name string) {
	m.t.Helper()
	if m.m.r.IntN(10) == 0 {
		name = ".."
	}
	n := model{disk.InodeNum(11 + m.m.r.IntN(1<<20)), uint8(1 + m.m.r.IntN(7))}
	if name == ".." {
		n.typ = disk.FileTypeDir
	}
	var old Entry
	err := m.s.do(func() (err error) {
		old, err = m.s.c.Replace(m.s, []byte(name), n.inode, n.typ)
		return err
	})
	stored, ok := m.stored(name)
	switch {
	case name == "..":
		if err != nil || old.Inode != m.parent {
			m.t.Fatalf("Replace(..) = %+v, %v", old, err)
		}
		m.parent = n.inode
	case !ok:
		m.absent("Replace", name, err)
	case err != nil || string(old.Name) != stored || old.Inode != m.want[stored].inode:
		m.t.Fatalf("Replace(%q) = %+v, %v", name, old, err)
	default:
		m.want[stored] = n
	}
}

func (m *modelRun) lookup(name string) {
	m.t.Helper()
	e, err := m.s.c.Lookup([]byte(name))
	stored, ok := m.stored(name)
	if !ok {
		m.absent("Lookup", name, err)
	} else if err != nil || string(e.Name) != stored {
		m.t.Fatalf("Lookup(%q) = %+v, %v", name, e, err)
	}
}

// TestInsert_levels fills directories until their index is full, or has all
// levels.
func TestInsert_levels(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 300000 names")
	}
	for _, large := range []bool{false, true} {
		s := newStore(t, 1024)
		s.c.LargeDir = large
		s.init(2)
		want := map[string]model{}
		limit := 100000
		if large {
			limit = 80000
		}
		i := 0
		for ; i < limit; i++ {
			name := fmt.Sprintf("%s%06d", strings.Repeat("n", 238), i)
			err := s.insert(name, 12, 1)
			if err != nil {
				if large || !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
				break
			}
			want[name] = model{12, 1}
			if i%5000 == 0 {
				s.commit()
			}
		}
		b, _ := s.c.read(0)
		info, e, err := s.c.layout().DXRoot(b.Data())
		t.Logf("large_dir %v: %d names, %d blocks, root %d/%d, levels %d, %v", large, i, s.c.Blocks, e.Count(), e.Limit(), info.Levels, err)
		wantLevels := uint8(1)
		if large {
			wantLevels = 2
		}
		if info.Levels != wantLevels || !large && i == limit {
			t.Errorf("levels %d, %d names", info.Levels, i)
		}
		verifyStored(t, s, want, 2)
		if !large { // full is full, but only where it is
			name := strings.Repeat("n", 238) + "000000"
			if _, err := s.remove(name); err != nil {
				t.Error(err)
			}
			if err := s.insert(name, 13, 1); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestInsert_noSpace fails every Append and every step once: what fails
// changes no name, and leaves a sound directory.
func TestInsert_noSpace(t *testing.T) {
	for _, v := range variants() {
		if v.size > 1024 {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			s := newStore(t, v.size)
			v.set(s)
			s.caches()
			s.init(2)
			want := map[string]model{}
			failed := 0
			for i := range 350 {
				name := fmt.Sprintf("%s-%d", strings.Repeat("x", i*7%190), i)
				for n := range 4 {
					s.max = int(s.blocks) + n
					before, blocks, inline := s.content(), s.blocks, s.inline
					err := s.insert(name, 20, 1)
					if err == nil {
						break
					}
					failed++
					if !errors.Is(err, syscall.ENOSPC) {
						t.Fatalf("%d: %v", i, err)
					}
					if n == 0 && !equal(before, s.content()) || s.blocks != blocks+disk.LogicalNum(n) || n == 0 && inline != s.inline {
						t.Fatalf("%d: %v, and it changed", i, err)
					}
					verify(t, s.reopen(), want, 2)
					verify(t, s.c, want, 2)
				}
				s.max = -1
				if s.inline != s.c.inline() {
					t.Fatal("inline and not")
				}
				want[name] = model{20, 1}
				if i%20 == 0 {
					verifyStored(t, s, want, 2)
				}
			}
			verifyStored(t, s, want, 2)
			if failed == 0 {
				t.Error("nothing failed")
			}
		})
	}
}

func equal(a, b [][]byte) bool { return slices.EqualFunc(a, b, slices.Equal[[]byte]) }

// TestInsert_failedWrites lets each Write and Fresh fail in turn.
func TestInsert_failedWrites(t *testing.T) {
	s := newStore(t, 1024)
	s.c.LargeDir = true
	s.init(2)
	want := map[string]model{}
	partial := 0
	for i := range 3000 {
		name := fmt.Sprintf("%s-%d", strings.Repeat("x", 150+i%90), i)
		failing := i%10 == 0
		for n := 1; failing; n++ {
			blocks, before := s.blocks, s.content()
			s.fail = n
			err := s.insert(name, 20, 1)
			done := s.fail > 0
			if s.fail = 0; done {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			var p *PartialError
			if errors.As(err, &p) {
				// The transaction is lost. Here only the block is.
				partial++
				s.blocks = blocks
				s.c.Blocks = blocks
			} else if !errors.Is(err, errInjected) {
				t.Fatal(err)
			} else if s.blocks == blocks && !equal(before, s.content()) {
				t.Fatalf("%d: write %d failed, and it changed", i, n)
			}
		}
		if !failing {
			if err := s.insert(name, 20, 1); err != nil {
				t.Fatal(err)
			}
		}
		want[name] = model{20, 1}
	}
	verifyStored(t, s, want, 2)
	if partial == 0 {
		t.Error("no Fresh failed")
	}
}
