package ext4fs

import (
	"errors"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/alloc"
	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/ext4fs/quota"
)

// quotas are the quota files of a writable file system.
type quotas struct {
	fs      *FS
	set     *quota.Set
	enforce bool
	// Credits for the first charge of an id, in the file that takes most and
	// in all together.
	insertOne, insert int
}

// openQuotas opens the quota files that the quota feature has.
func (f *FS) openQuotas() error {
	s := &f.super
	if !s.Features.ROCompat.Has(disk.ROCompatQuota) {
		return nil
	}
	q := &quotas{fs: f, enforce: f.opts.EnforceQuotas}
	var files []*quota.File
	for _, x := range []struct {
		kind disk.QuotaKind
		n    disk.InodeNum
	}{
		{disk.QuotaUser, s.UserQuotaInode}, {disk.QuotaGroup, s.GroupQuotaInode}, {disk.QuotaProject, s.ProjectQuotaInode},
	} {
		if x.n == 0 {
			continue
		}
		storage, err := f.openQuotaFile(x.n)
		if err != nil {
			return fmt.Errorf("%s quota: %w", x.kind, err)
		}
		file, err := quota.Open(quota.Config{
			Kind: x.kind, Inode: x.n, Storage: storage, Enforce: q.enforce, Now: f.opts.Clock,
		})
		if err != nil {
			return err
		}
		files = append(files, file)
		credits, err := storage.insertCredits()
		if err != nil {
			return err
		}
		q.insertOne = max(q.insertOne, credits)
		q.insert += credits
	}
	if len(files) > 0 {
		q.set = quota.NewSet(files...)
		f.live.quota = q
	}
	return nil
}

// insertCredits is what a new record adds: its blocks, and what the growth of
// the file takes.
func (s *quotaStorage) insertCredits() (int, error) {
	i := s.i
	i.mapMu.Lock()
	defer i.mapMu.Unlock()
	m, err := i.theMap()
	if err != nil {
		return 0, err
	}
	grow := quota.GrowBlocks(i.fs.BlockSize())
	// A level more than now, and the map asks for what a step may take at most.
	return quota.InsertCredits + grow*(alloc.AllocCredits+1) + 2*i.runCredits(m, 1) + inodeCredits, nil
}

// openQuotaFile opens a quota file's content.
func (f *FS) openQuotaFile(n disk.InodeNum) (*quotaStorage, error) {
	i, err := f.Inode(n)
	if err != nil {
		return nil, err
	}
	if !i.IsRegular() || i.Flags()&(disk.FlagInlineData|disk.FlagEncrypt|disk.FlagEAInode) != 0 || i.record().Links() == 0 {
		return nil, &CorruptError{What: "quota file", Inode: n,
			Detail: fmt.Sprintf("mode %o, flags %s", i.record().Mode(), i.Flags())}
	}
	return &quotaStorage{i}, nil
}

// quotaStorage is the content of a quota file. Whoever calls it has the lock of
// that file, so nobody else changes the inode or its map. What it takes is
// charged to nobody.
type quotaStorage struct{ i *Inode }

var _ quota.Storage = (*quotaStorage)(nil)

// BlockSize implements quota.Storage.
func (s *quotaStorage) BlockSize() int { return s.i.fs.BlockSize() }

// Size implements quota.Storage.
func (s *quotaStorage) Size() int64 { return s.i.Size() }

// block returns where a block of the file is, 0 for a hole.
func (s *quotaStorage) block(l disk.LogicalNum) (disk.BlockNum, error) {
	i := s.i
	i.mapMu.Lock()
	defer i.mapMu.Unlock()
	m, err := i.theMap()
	if err != nil {
		return 0, err
	}
	e, err := m.Find(l)
	switch {
	case err != nil || e.Flags&extent.FlagHole != 0:
		return 0, err
	case e.Flags&extent.FlagUnwritten != 0:
		return 0, &CorruptError{What: "quota file", Inode: i.num, Block: e.Physical, Detail: fmt.Sprintf("logical block %d is not written", l)}
	}
	return e.Physical + disk.BlockNum(l-e.Logical), nil
}

// Read implements quota.Storage.
func (s *quotaStorage) Read(l disk.LogicalNum) ([]byte, error) {
	bn, err := s.block(l)
	if err != nil {
		return nil, err
	}
	if bn == 0 {
		return make([]byte, s.BlockSize()), nil
	}
	buf, err := s.i.fs.cache.Get(bn)
	if err != nil {
		return nil, err
	}
	return buf.Data(), nil
}

// Write implements quota.Storage.
func (s *quotaStorage) Write(tx cache.Tx, l disk.LogicalNum) ([]byte, error) {
	bn, err := s.block(l)
	if err != nil {
		return nil, err
	}
	if bn == 0 {
		return nil, &CorruptError{What: "quota file", Inode: s.i.num, Detail: fmt.Sprintf("logical block %d is a hole", l)}
	}
	buf, err := tx.Write(bn, nil)
	if err != nil {
		return nil, err
	}
	return buf.Data(), nil
}

// Grow implements quota.Storage.
func (s *quotaStorage) Grow(tx cache.Tx, size int64) error {
	h, ok := tx.(*txn)
	if !ok {
		return fmt.Errorf("quota file %d: a transaction of another kind: %w", s.i.num, ErrInvalid)
	}
	i := s.i
	shift := i.fs.blockShift()
	i.mapMu.Lock()
	defer i.mapMu.Unlock()
	m, err := i.theMap()
	if err != nil {
		return err
	}
	last := disk.LogicalNum((size - 1) >> shift)
	for l := disk.LogicalNum((i.Size() + int64(s.BlockSize()) - 1) >> shift); l <= last; l++ {
		if err := s.add(h, m, l); err != nil {
			return err
		}
	}
	return i.storeMap(h, func(r disk.Inode) { r.SetSize(size) })
}

// add gives the file a block of zeros at its end.
func (s *quotaStorage) add(h *txn, m *blockMap, l disk.LogicalNum) error {
	i := s.i
	tx := m.in(h, inodeCredits)
	r, err := i.allocRun(tx, m, l, 1, 0)
	if err != nil {
		return err
	}
	if _, err := h.Fresh(r.bn, nil); err != nil {
		m.space.taken -= r.taken
		return i.giveBack(tx, r, err)
	}
	if err := i.insertRun(tx, m, l, r, 0); err != nil {
		return noSpace(err)
	}
	// A size for every block: should the next one fail, nothing is left beyond
	// the end.
	err = i.storeMap(h, func(r disk.Inode) { r.SetSize((int64(l) + 1) << i.fs.blockShift()) })
	if err != nil {
		return i.fs.abort(err)
	}
	return nil
}

// owners are the ids that the inode is charged to; false says that it is
// charged to nobody: it is the file system's own, or a value, which those who
// have the attribute pay for.
func (i *Inode) owners() (quota.Owners, bool) {
	r := i.record()
	if i.num != disk.RootInode && i.fs.isSpecial(i.num) || r.Flags().Has(disk.FlagEAInode) {
		return quota.Owners{}, false
	}
	return ownersOf(r), true
}

func ownersOf(r disk.Inode) quota.Owners {
	project, _ := r.Project()
	return quota.Owners{User: r.UID(), Group: r.GID(), Project: project}
}

// charge adds bytes of space and inodes to what the inode's owners have. It
// gives ErrQuota before anything is changed.
func (q *quotas) charge(h *txn, i *Inode, bytes, inodes int64) error {
	o, ok := i.owners()
	if !ok {
		return nil
	}
	return q.chargeTo(h, o, bytes, inodes)
}

func (q *quotas) chargeTo(h *txn, o quota.Owners, bytes, inodes int64) error {
	if err := q.ready(h, o); err != nil {
		return err
	}
	return quotaError(q.set.Charge(h, o, bytes, inodes, false))
}

// ready sees to the credits for a charge.
func (q *quotas) ready(h *txn, o quota.Owners) error {
	if h.Credits() >= q.insert {
		return nil
	}
	known, err := q.set.Known(o)
	if err != nil {
		return err
	}
	if known {
		return need(h, q.set.Len()*quota.ChargeCredits)
	}
	return need(h, q.insert)
}

// quotaError makes the room's errors this package's.
func quotaError(err error) error {
	if errors.Is(err, ErrQuota) {
		return err
	}
	return noSpace(err)
}

// prepareQuota gives owners that may be new their records, in handles of their
// own, so that the operation to come charges them with few credits. Called
// without a handle.
func (f *FS) prepareQuota(o quota.Owners) error {
	if f.live == nil || f.live.quota == nil {
		return nil
	}
	q := f.live.quota
	known, err := q.set.Known(o)
	if known || err != nil {
		return err
	}
	for k := disk.QuotaKind(0); k < disk.QuotaKinds; k++ {
		file := q.set.File(k)
		if file == nil {
			continue
		}
		if err := f.prepareFile(file, o); err != nil {
			return err
		}
	}
	return nil
}

func (f *FS) prepareFile(file *quota.File, o quota.Owners) (err error) {
	h, err := f.begin(f.live.quota.insertOne)
	if err != nil {
		return err
	}
	defer func() { err = f.end(h, err) }()
	return quotaError(quota.NewSet(file).Prepare(h, o))
}

// transferQuota moves what the inode takes from its owners to others. Called
// with mu.
func (i *Inode) transferQuota(h *txn, to quota.Owners) error {
	q := i.fs.live.quota
	from, ok := i.owners()
	if q == nil || !ok || from == to {
		return nil
	}
	for _, o := range []quota.Owners{from, to} {
		if err := q.ready(h, o); err != nil {
			return err
		}
	}
	inodes, err := i.chargedInodes()
	if err != nil {
		return err
	}
	return quotaError(q.set.Transfer(h, from, to, int64(i.Sectors())*512, inodes, false))
}

// chargedInodes is how many inodes the owners have of this one: with the
// values that have inodes of their own.
func (i *Inode) chargedInodes() (int64, error) {
	list, err := i.rawXattrs()
	if err != nil {
		return 0, err
	}
	n := int64(1)
	for _, a := range list {
		if a.ValueInode != 0 {
			n++
		}
	}
	return n, nil
}

// Quota is what an owner has, and may have; see disk.QuotaEntry.
type Quota = disk.QuotaEntry

// Quota returns what the owner of one kind has and may have. ErrNotSupported
// says that the file system does not keep quotas of that kind.
func (f *FS) Quota(kind disk.QuotaKind, id uint32) (Quota, error) {
	file, err := f.quotaFile(kind)
	if err != nil {
		return Quota{}, err
	}
	e, _, err := file.Get(id)
	return e, err
}

// SetQuota gives an owner limits. They count only with Options.EnforceQuotas,
// or where the kernel mounts the image with its options for quotas.
func (f *FS) SetQuota(kind disk.QuotaKind, id uint32, l quota.Limits) (err error) {
	if err := f.mayChange(); err != nil {
		return err
	}
	file, err := f.quotaFile(kind)
	if err != nil {
		return err
	}
	return f.withSpace(func() (err error) {
		h, err := f.begin(f.live.quota.insertOne)
		if err != nil {
			return err
		}
		defer func() { err = f.end(h, err) }()
		return quotaError(file.SetLimits(h, id, l))
	})
}

func (f *FS) quotaFile(kind disk.QuotaKind) (*quota.File, error) {
	if f.live != nil && f.live.quota != nil {
		if file := f.live.quota.set.File(kind); file != nil {
			return file, nil
		}
	}
	return nil, fmt.Errorf("%s quota: %w", kind, ErrNotSupported)
}

// prepareNew is prepareQuota for an inode that is to be made in dir.
func (f *FS) prepareNew(dir *Inode, n *NewNode) error {
	if f.live.quota == nil {
		return nil
	}
	r := f.emptyRecord(nil)
	f.fillRecord(r, dir, n)
	return f.prepareQuota(ownersOf(r))
}
