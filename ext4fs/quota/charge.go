package quota

import (
	"fmt"
	"math"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

const (
	// ChargeCredits is how many blocks a charge changes in each quota file
	// that has the id.
	ChargeCredits = 1
	// InsertCredits is how many blocks the first charge of an id changes in
	// each quota file at most, besides what growing it by GrowBlocks takes.
	InsertCredits = 9
)

// GrowBlocks is how many blocks the first charge of an id adds to a quota file
// at most: three of the tree and one with data.
func GrowBlocks(blockSize int) int {
	return (disk.QuotaDepth*disk.QuotaBlockSize + blockSize - 1) / max(blockSize, disk.QuotaBlockSize)
}

// Owners are the ids that an inode is charged to.
type Owners struct {
	User, Group, Project uint32
}

func (o Owners) id(k disk.QuotaKind) uint32 {
	switch k {
	case disk.QuotaUser:
		return o.User
	case disk.QuotaGroup:
		return o.Group
	}
	return o.Project
}

// Set is the quota files of a file system. The zero Set has none: it allows
// everything. It is safe for concurrent use.
type Set struct {
	files []*File // in the order of their kinds
}

// NewSet makes a set of at most one file of each kind; nil files count as
// none.
func NewSet(files ...*File) *Set {
	s := &Set{}
	for k := disk.QuotaKind(0); k < disk.QuotaKinds; k++ {
		for _, f := range files {
			if f != nil && f.Kind() == k {
				s.files = append(s.files, f)
				break
			}
		}
	}
	return s
}

// File returns the file of one kind, nil if there is none.
func (s *Set) File(k disk.QuotaKind) *File {
	for _, f := range s.files {
		if f.Kind() == k {
			return f
		}
	}
	return nil
}

// Len is how many files there are.
func (s *Set) Len() int { return len(s.files) }

// change is what a charge makes of one record.
type change struct {
	f    *File
	d    *dquot
	next disk.QuotaEntry
	raw  []byte // the entry's bytes, to be written to
}

// Charge adds bytes of space and inodes, or gives them back when negative, to
// all that an inode belongs to. Limits are looked at first: ErrQuota comes
// before anything is changed. force ignores them, for those with
// CAP_SYS_RESOURCE and where the space is taken already.
func (s *Set) Charge(tx cache.Tx, o Owners, space, inodes int64, force bool) error {
	if len(s.files) == 0 || space == 0 && inodes == 0 {
		return nil
	}
	defer s.lock()()
	list := make([]change, 0, disk.QuotaKinds)
	for _, f := range s.files {
		c, err := f.change(o.id(f.Kind()), space, inodes, force)
		if err != nil {
			return err
		}
		list = append(list, c)
	}
	return apply(tx, list)
}

// Transfer moves an inode's usage, bytes of space and a number of inodes, from
// one set of owners to another; where both have the same id nothing happens.
// ErrQuota comes before anything is changed.
func (s *Set) Transfer(tx cache.Tx, from, to Owners, space, inodes int64, force bool) error {
	defer s.lock()()
	var list []change
	for _, f := range s.files {
		if from.id(f.Kind()) == to.id(f.Kind()) {
			continue
		}
		for _, step := range []struct {
			o    Owners
			sign int64
		}{{to, 1}, {from, -1}} {
			c, err := f.change(step.o.id(f.Kind()), step.sign*space, step.sign*inodes, force)
			if err != nil {
				return err
			}
			list = append(list, c)
		}
	}
	return apply(tx, list)
}

// Prepare gives the ids a record where they have none, so that charges to them
// change no more than ChargeCredits blocks. Its handle needs InsertCredits,
// and what growing the file takes, for every file.
func (s *Set) Prepare(tx cache.Tx, o Owners) error {
	defer s.lock()()
	for _, f := range s.files {
		d, err := f.load(o.id(f.Kind()))
		if err != nil {
			return err
		}
		if d.block == 0 {
			if err := f.insert(tx, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// Known reports whether all ids have a record: Prepare would change nothing.
func (s *Set) Known(o Owners) (bool, error) {
	defer s.lock()()
	for _, f := range s.files {
		d, err := f.load(o.id(f.Kind()))
		if err != nil || d.block == 0 {
			return false, err
		}
	}
	return true, nil
}

func (s *Set) lock() (unlock func()) {
	for _, f := range s.files {
		f.mu.Lock()
	}
	return func() {
		for _, f := range s.files {
			f.mu.Unlock()
		}
	}
}

// Charge is Set.Charge for one file and id.
func (f *File) Charge(tx cache.Tx, id uint32, space, inodes int64, force bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.change(id, space, inodes, force)
	if err != nil {
		return err
	}
	return apply(tx, []change{c})
}

// Limits are what an id may have; 0 is no limit.
type Limits struct {
	InodeHard, InodeSoft uint64
	SpaceHard, SpaceSoft uint64 // KiB
	// When the grace of a soft limit that is passed ends, in seconds since
	// 1970; 0 lets it begin now.
	InodeTime, SpaceTime uint64
}

// SetLimits gives an id limits. Passing them already is no error.
func (f *File) SetLimits(tx cache.Tx, id uint32, l Limits) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, err := f.load(id)
	if err != nil {
		return err
	}
	q, err := f.info()
	if err != nil {
		return err
	}
	next := d.QuotaEntry
	next.InodeHard, next.InodeSoft, next.SpaceHard, next.SpaceSoft = l.InodeHard, l.InodeSoft, l.SpaceHard, l.SpaceSoft
	next.InodeTime = f.graceOf(next.Inodes > l.InodeSoft && l.InodeSoft > 0, l.InodeTime, q.InodeGrace())
	next.SpaceTime = f.graceOf(overKiB(next.Space, l.SpaceSoft), l.SpaceTime, q.SpaceGrace())
	return apply(tx, []change{{f: f, d: d, next: next}})
}

func (f *File) graceOf(over bool, given uint64, grace uint32) uint64 {
	switch {
	case !over:
		return 0
	case given != 0:
		return given
	}
	return f.now() + uint64(grace)
}

// Put writes a whole record as it is, usage included, for repairs.
func (f *File) Put(tx cache.Tx, e disk.QuotaEntry) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, err := f.load(e.ID)
	if err != nil {
		return err
	}
	return apply(tx, []change{{f: f, d: d, next: e}})
}

// now is the time in seconds, never 0, which stands for no time.
func (f *File) now() uint64 { return uint64(max(f.config.Now().Unix(), 1)) }

// change works out what a charge makes of a record, or that it may not be.
func (f *File) change(id uint32, space, inodes int64, force bool) (change, error) {
	d, err := f.load(id)
	if err != nil {
		return change{}, err
	}
	c := change{f: f, d: d, next: d.QuotaEntry}
	var q disk.QuotaInfo
	if f.config.Enforce && (space > 0 || inodes > 0) {
		if q, err = f.info(); err != nil {
			return change{}, err
		}
	}
	e := &c.next
	e.Inodes = add(e.Inodes, inodes)
	e.Space = add(e.Space, space)
	switch {
	case inodes < 0 && e.Inodes <= e.InodeSoft:
		e.InodeTime = 0
	case inodes > 0 && f.config.Enforce:
		over, soft := e.InodeHard > 0 && e.Inodes > e.InodeHard, e.InodeSoft > 0 && e.Inodes > e.InodeSoft
		if err := f.limit(over, soft, &e.InodeTime, q.InodeGrace(), force); err != nil {
			return change{}, fmt.Errorf("inodes of %s %d: %w", f.Kind(), id, err)
		}
	}
	switch {
	case space < 0 && !overKiB(e.Space, e.SpaceSoft) && e.SpaceSoft > 0, space < 0 && e.Space == 0:
		e.SpaceTime = 0
	case space > 0 && f.config.Enforce:
		if err := f.limit(overKiB(e.Space, e.SpaceHard), overKiB(e.Space, e.SpaceSoft), &e.SpaceTime, q.SpaceGrace(), force); err != nil {
			return change{}, fmt.Errorf("space of %s %d: %w", f.Kind(), id, err)
		}
	}
	return c, nil
}

// limit applies the rules for one resource: over the hard limit never, over
// the soft one until its time has come.
func (f *File) limit(hard, soft bool, end *uint64, grace uint32, force bool) error {
	if hard && !force || soft && *end != 0 && f.now() >= *end && !force {
		return ErrQuota
	}
	if soft && *end == 0 {
		*end = f.now() + uint64(grace)
	}
	return nil
}

// add never leaves the range: damaged usage must not wrap around.
func add(n uint64, delta int64) uint64 {
	if delta < 0 {
		return n - min(n, uint64(-delta))
	}
	return n + min(uint64(delta), math.MaxUint64-n)
}

// overKiB reports whether n bytes are more than a limit in KiB, if it is one.
func overKiB(n, limit uint64) bool {
	return limit > 0 && (n>>10 > limit || n>>10 == limit && n&1023 > 0)
}

// apply makes the changes: first all that can fail.
func apply(tx cache.Tx, list []change) error {
	for i := range list {
		c := &list[i]
		if c.d.block == 0 {
			if err := c.f.insert(tx, c.d); err != nil {
				return err
			}
		}
		b, err := c.f.write(tx, c.d.block)
		if err != nil {
			return err
		}
		c.raw = disk.QuotaData(b).Entry(c.d.slot)
	}
	for _, c := range list {
		c.d.QuotaEntry = c.next
		c.next.Encode(c.raw)
	}
	return nil
}
