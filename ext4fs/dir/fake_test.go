package dir

import (
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// store is a directory that is changed in transactions: committed blocks as
// they are on disk, and those of the running transaction. Logical block l is
// block shift+l.
type store struct {
	t  testing.TB
	c  *Config
	id uint32

	home    map[disk.BlockNum][]byte // sealed
	clean   *cache.Cache             // of home
	private *cache.Cache             // copies of home to be changed
	running map[disk.BlockNum]*cache.Buffer
	sealers map[disk.BlockNum]cache.Sealer

	blocks   disk.LogicalNum // allocated
	max      int             // Append fails from so many blocks on, if not negative
	appends  int
	fail     int // the nth Write or Fresh fails; 0 is none
	indexed  bool
	inline   bool
	block    []byte
	value    []byte
	writes   map[disk.BlockNum]bool // since begin
	noInline bool                   // SetInline fails
}

const storeShift = 1000

// newStore is an empty Config with a store behind it; Init comes next.
func newStore(t testing.TB, size int) *store {
	s := &store{t: t, max: -1, home: map[disk.BlockNum][]byte{}, running: map[disk.BlockNum]*cache.Buffer{}, sealers: map[disk.BlockNum]cache.Sealer{}}
	s.c = &newDirectory(size).Config
	s.c.DirIndex, s.c.MaxInode = true, 1<<30
	s.open()
	return s
}

func (s *store) open() {
	s.id = 1
	s.caches()
	s.begin()
	s.c.Read = s.read
	s.c.Append = s.append
	s.c.SetIndexed = func(_ cache.Tx, on bool) error { s.indexed = on; return nil }
	s.c.SetInline = func(_ cache.Tx, block, value []byte) error {
		if s.noInline {
			return syscall.EIO
		}
		if len(block) != inlineSize || len(value) > s.c.MaxInlineValue || len(value)&3 != 0 {
			s.t.Errorf("inline content of %d and %d bytes", len(block), len(value))
		}
		s.inline, s.block, s.value = true, slices.Clone(block), slices.Clone(value)
		return nil
	}
	s.c.LeaveInline = func(cache.Tx) error {
		s.inline, s.block, s.value = false, nil, nil
		return nil
	}
}

// like makes the directory's description that of another.
func (s *store) like(c *Config) {
	f := *s.c
	*s.c = *c
	s.c.Read, s.c.Append, s.c.SetIndexed, s.c.SetInline, s.c.LeaveInline = f.Read, f.Append, f.SetIndexed, f.SetInline, f.LeaveInline
	s.c.Prefetch = nil
}

func (s *store) begin() { s.writes = map[disk.BlockNum]bool{} }

// ReadAt makes the store the device of its caches.
func (s *store) ReadAt(p []byte, off int64) (int, error) {
	b, ok := s.home[disk.BlockNum(off/int64(s.c.BlockSize))]
	if !ok || len(p) != s.c.BlockSize {
		return 0, syscall.EIO
	}
	return copy(p, b), nil
}

func (s *store) Size() int64 { return 1 << 50 }

func (s *store) caches() {
	s.clean = cache.New(s, s.c.BlockSize, 1<<30, cache.Options{})
	s.private = cache.New(s, s.c.BlockSize, 1<<30, cache.Options{})
}

func (s *store) read(l disk.LogicalNum) (*cache.Buffer, error) {
	if l >= s.blocks {
		return nil, syscall.EIO
	}
	bn := disk.BlockNum(l) + storeShift
	if b := s.running[bn]; b != nil {
		return b, nil
	}
	return s.clean.Get(bn)
}

func (s *store) append(cache.Tx) (disk.LogicalNum, disk.BlockNum, error) {
	s.appends++
	if s.max >= 0 && int(s.blocks) >= s.max {
		return 0, 0, syscall.ENOSPC
	}
	l := s.blocks
	s.blocks++
	return l, disk.BlockNum(l) + storeShift, nil
}

func (s *store) ID() uint32           { return s.id }
func (s *store) Forget(disk.BlockNum) {}
func (s *store) Credits() int         { return 1000 }
func (s *store) Extend(int) error     { return nil }

var errInjected = errors.New("injected")

func (s *store) version(bn disk.BlockNum, sealer cache.Sealer, fresh bool) (*cache.Buffer, error) {
	if s.fail > 0 {
		if s.fail--; s.fail == 0 {
			return nil, errInjected
		}
	}
	if (sealer != nil) != s.c.MetadataCsum {
		s.t.Errorf("block %d: sealer %v", bn, sealer)
	}
	s.writes[bn] = true
	b := s.running[bn]
	if b == nil {
		if fresh {
			s.home[bn] = make([]byte, s.c.BlockSize)
			for i := range s.home[bn] {
				s.home[bn][i] = 0x5a
			}
		}
		var err error
		if b, err = s.private.Get(bn); err != nil {
			return nil, err
		}
		if old, err := s.clean.Get(bn); err == nil && !fresh && bn%3 > 0 { // the third was evicted meanwhile
			for _, tag := range []uint64{s.c.tag(false), s.c.tag(true)} {
				if old.Verified(tag) {
					b.SetVerified(tag)
				}
			}
		}
		s.running[bn] = b
	}
	if fresh {
		clear(b.Data())
	}
	s.sealers[bn] = sealer
	return b, nil
}

func (s *store) Write(bn disk.BlockNum, sealer cache.Sealer) (*cache.Buffer, error) {
	return s.version(bn, sealer, false)
}

func (s *store) Fresh(bn disk.BlockNum, sealer cache.Sealer) (*cache.Buffer, error) {
	return s.version(bn, sealer, true)
}

// commit seals and writes home what the transaction changed.
func (s *store) commit() {
	for bn, b := range s.running {
		data := slices.Clone(b.Data())
		if sealer := s.sealers[bn]; sealer != nil {
			sealer.Seal(bn, data, func(disk.BlockNum) []byte { return nil })
		}
		s.home[bn] = data
	}
	clear(s.running)
	clear(s.sealers)
	s.id++
	s.caches()
}

// content is all bytes of the directory as they are now.
func (s *store) content() [][]byte {
	list := [][]byte{slices.Clone(s.c.InlineBlock), slices.Clone(s.c.InlineValue), slices.Clone(s.block), slices.Clone(s.value)}
	for l := range s.blocks {
		b, err := s.read(l)
		if err != nil {
			s.t.Fatal(err)
		}
		list = append(list, slices.Clone(b.Data()))
	}
	return list
}

// reopen is the directory as one sees it who comes later.
func (s *store) reopen() *Config {
	c := *s.c
	c.placed, c.seals, c.work = false, nil, nil
	c.Blocks, c.Indexed = s.blocks, s.indexed && s.c.DirIndex
	c.InlineBlock, c.InlineValue = nil, nil
	if s.inline {
		c.InlineBlock, c.InlineValue = s.block, s.value
	}
	return &c
}

// do runs one change and holds its promises against what it used.
func (s *store) do(change func() error) error {
	s.t.Helper()
	s.begin()
	credits, appends, before := s.c.InsertCredits(), s.c.InsertAppends(), s.appends
	err := change()
	if len(s.writes) > credits {
		s.t.Errorf("%d blocks changed, %d promised", len(s.writes), credits)
	}
	if s.appends-before > appends {
		s.t.Errorf("%d appends, %d promised", s.appends-before, appends)
	}
	return err
}

func (s *store) insert(name string, n disk.InodeNum, typ uint8) error {
	s.t.Helper()
	return s.do(func() error { return s.c.Insert(s, []byte(name), n, typ) })
}

func (s *store) remove(name string) (e Entry, err error) {
	s.t.Helper()
	err = s.do(func() error { e, err = s.c.Remove(s, []byte(name)); return err })
	return e, err
}

func (s *store) init(parent disk.InodeNum) {
	s.t.Helper()
	if err := s.do(func() error { return s.c.Init(s, parent) }); err != nil {
		s.t.Fatal(err)
	}
}
