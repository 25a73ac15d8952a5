package ext4fs

import (
	"errors"
	"fmt"
	"sync"

	"github.com/e4kit/e4kit/ext4fs/alloc"
	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/quota"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// sharedXattrs is what inodes share of their attributes: blocks and value
// inodes, both with reference counts.
type sharedXattrs struct {
	// mu is held to change a reference count, who has a reference, or the
	// content of a block that others could find. It comes after an open handle.
	mu     sync.Mutex
	blocks xattr.Shares
	values xattr.Shares
	dead   []*Inode // value inodes without references, see reapValues
}

// attrStore brings an edit to disk: it looks for blocks and value inodes with
// the same content, makes new ones, counts references and charges the owner.
// It runs with the inode's mu and with shared. Up to write, it has changed
// nothing but what undo takes back.
//
// The entries of a block have one reference each to their value inodes,
// however many inodes share the block. The owners are charged, and count in
// i_blocks, as if they shared nothing.
type attrStore struct {
	i *Inode
	h *txn
	e *xattr.Edit

	payer    quota.Owners
	record   disk.Inode // with the new attributes
	old      disk.BlockNum
	oldRefs  uint32
	content  []byte // of the new block; nil is none
	set      xattr.Set
	place    blockPlace
	bn       disk.BlockNum // the block from now on
	refs     map[disk.InodeNum]int
	values   map[disk.InodeNum]*Inode
	made     []*Inode // new value inodes, without references as yet
	blocks   int64    // of the file system that the owner has more
	inodes   int64    // likewise
	tolerate bool     // value inodes that are bad are left alone
}

// blockPlace is where the attributes of the block go.
type blockPlace uint8

const (
	placeNone    blockPlace = iota // there are none
	placeKeep                      // the block stays as it is
	placeInPlace                   // the block, which nobody shares, changes
	placeShare                     // a block that others have already
	placeNew                       // another block
)

func (s *attrStore) run(also func(r disk.Inode)) error {
	if err := need(s.h, s.i.attrsCredits(s.e, s.oldRefs)); err != nil {
		return err
	}
	if err := s.resolve(); err != nil {
		return s.undo(err)
	}
	if err := s.plan(); err != nil {
		return s.undo(err)
	}
	if err := s.take(); err != nil {
		return s.undo(err)
	}
	if err := s.write(also); err != nil {
		return s.i.fs.abort(err)
	}
	return nil
}

// undo disposes of new value inodes that nobody needs.
func (s *attrStore) undo(err error) error {
	for _, v := range s.made {
		err = errors.Join(err, s.kill(v))
	}
	return err
}

// kill makes an orphan of a value inode without references.
func (s *attrStore) kill(v *Inode) error {
	shared := &s.i.fs.live.shared
	shared.values.Drop(uint64(v.num))
	shared.dead = append(shared.dead, v)
	return s.i.fs.dispose(s.h, v)
}

// resolve finds value inodes for the values that want one.
func (s *attrStore) resolve() error {
	s.values = map[disk.InodeNum]*Inode{}
	list := append([]xattr.Pending(nil), s.e.Pending()...)
	for _, p := range list {
		v, err := s.findValue(p)
		if err != nil {
			return err
		}
		if v == nil {
			if v, err = s.newValue(p); err != nil {
				return err
			}
		}
		s.values[v.num] = v
		s.e.Resolve(p, v.num)
	}
	return nil
}

// plan works out what is to be done, without doing anything.
func (s *attrStore) plan() (err error) {
	i := s.i
	s.record = append(disk.Inode(nil), i.whole()...)
	if err := s.e.WriteInode(s.record); err != nil {
		return err
	}
	if s.content, err = s.e.Block(); err != nil {
		return err
	}
	return s.planPlaces()
}

// planPlaces is plan for attributes that are in record and content.
func (s *attrStore) planPlaces() error {
	i := s.i
	o := i.xattrOwner()
	oldIn, err := i.inodeXattrs()
	if err != nil {
		return err
	}
	newIn, err := xattr.ParseInode(s.record, o)
	if err != nil {
		return err
	}
	var oldSet xattr.Set
	if s.old = i.FileACL(); s.old != 0 {
		var buf *cache.Buffer
		if buf, oldSet, err = i.attrBlock(s.old); err != nil {
			return err
		}
		s.oldRefs = max(disk.XattrHeader(buf.Data()).Refs(), 1)
	}
	if s.content != nil {
		o.Verify = false
		if s.set, err = xattr.ParseBlock(s.old, s.content, o); err != nil {
			return err
		}
	}
	s.choosePlace(oldSet)
	s.refs = map[disk.InodeNum]int{}
	s.count(newIn, 1)
	s.count(oldIn, -1)
	if s.place == placeNew || s.place == placeInPlace {
		s.count(s.set, 1)
	}
	if s.place != placeKeep && s.old != 0 && s.oldRefs == 1 {
		s.count(oldSet, -1)
	}
	s.account(oldIn, oldSet, -1)
	s.account(newIn, s.set, 1)
	ratio := int64(i.fs.super.ClusterRatio())
	switch had, has := s.old != 0, s.content != nil; {
	case has && !had:
		s.blocks += ratio
	case had && !has:
		s.blocks -= ratio
	}
	return s.openValues()
}

// choosePlace decides where the block's attributes go.
func (s *attrStore) choosePlace(oldSet xattr.Set) {
	switch {
	case s.content == nil:
		s.place = placeNone
		return
	case s.old != 0 && xattr.Same(s.set, oldSet):
		s.place, s.bn = placeKeep, s.old
		return
	}
	alone := s.old != 0 && s.oldRefs == 1
	if !alone || countValues(oldSet) <= manyValues {
		if s.bn = s.findBlock(); s.bn != 0 {
			s.place = placeShare
			return
		}
	}
	if alone {
		s.place, s.bn = placeInPlace, s.old
		return
	}
	s.place = placeNew
}

// findBlock returns a block with the same attributes that takes one more
// reference, 0 if none is known.
func (s *attrStore) findBlock() disk.BlockNum {
	shared := &s.i.fs.live.shared
	hash := disk.XattrHeader(s.content).Hash()
	if hash == 0 {
		return 0
	}
	for _, n := range shared.blocks.Find(hash) {
		bn := disk.BlockNum(n)
		if bn == s.old {
			continue
		}
		buf, set, err := s.i.attrBlock(bn)
		if err != nil {
			shared.blocks.Drop(n)
			continue
		}
		head := disk.XattrHeader(buf.Data())
		if head.Hash() == hash && head.Refs() > 0 && head.Refs() < disk.XattrMaxRefs && xattr.Same(s.set, set) {
			return bn
		}
	}
	return 0
}

// count adds to the references that value inodes gain.
func (s *attrStore) count(set xattr.Set, n int) {
	for a := range set.All() {
		if a.ValueInode != 0 {
			s.refs[a.ValueInode] += n
		}
	}
}

// account adds to what the owner is charged for values in inodes.
func (s *attrStore) account(in, block xattr.Set, sign int64) {
	for _, set := range []xattr.Set{in, block} {
		for a := range set.All() {
			if a.ValueInode != 0 {
				s.inodes += sign
				s.blocks += sign * s.i.fs.valueBlocks(int64(a.ValueSize))
			}
		}
	}
}

// openValues gets the value inodes whose references change.
func (s *attrStore) openValues() error {
	if s.values == nil {
		s.values = map[disk.InodeNum]*Inode{}
	}
	for n, delta := range s.refs {
		if delta == 0 {
			delete(s.refs, n)
			continue
		}
		v := s.values[n]
		var err error
		if v == nil {
			v, err = s.i.valueInode(n)
		}
		if err == nil && delta < 0 && s.i.valueRefs(v) < uint64(-delta) {
			err = &CorruptError{What: "value inode", Inode: n, Detail: fmt.Sprintf("%d references, inode %d has %d", v.record().EARefs(), s.i.num, -delta)}
		}
		if err != nil && s.tolerate {
			s.i.fs.live.super.noteLater(err)
			delete(s.refs, n)
			continue
		}
		if err != nil {
			return err
		}
		s.values[n] = v
	}
	return nil
}

// take charges the owner and allocates.
func (s *attrStore) take() error {
	i, f := s.i, s.i.fs
	if err := s.charge(1); err != nil {
		return err
	}
	if s.place != placeNew {
		return nil
	}
	bn, _, err := f.live.alloc.Alloc(s.h, alloc.Request{
		Inode: i.num, Len: 1, NoPrealloc: true, Root: i.asRoot(),
		Low: !f.super.Features.Incompat.Has(disk.Incompat64bit),
	})
	if err != nil {
		return errors.Join(noSpace(err), s.charge(-1))
	}
	s.bn = bn
	return nil
}

// charge charges the owner, or with -1 takes that back.
func (s *attrStore) charge(sign int64) error {
	i := s.i
	if _, ok := i.owners(); !ok || i.fs.live.quota == nil || s.blocks == 0 && s.inodes == 0 {
		return nil
	}
	return i.fs.live.quota.chargeTo(s.h, s.payer, sign*s.blocks*int64(i.fs.BlockSize()), sign*s.inodes)
}

// write makes the change. An error leaves half of it.
func (s *attrStore) write(also func(r disk.Inode)) error {
	i, f := s.i, s.i.fs
	if err := s.writeBlock(); err != nil {
		return err
	}
	if s.old != 0 && s.old != s.bn {
		if err := s.releaseOld(); err != nil {
			return err
		}
	}
	for n, delta := range s.refs {
		if err := s.addRefs(s.values[n], delta); err != nil {
			return err
		}
	}
	for _, v := range s.made {
		if s.refs[v.num] == 0 { // a block with another reference to it served
			if err := s.kill(v); err != nil {
				return err
			}
		}
	}
	if err := f.live.super.setCompat(s.h, disk.CompatExtAttr); err != nil {
		return err
	}
	at := len(s.record)
	if extra := s.record.ExtraSize(); extra > 0 {
		at = min(disk.InodeBaseSize+extra, at)
	}
	return i.update(s.h, func(r disk.Inode) {
		copy(r[at:], s.record[at:])
		r.SetFileACL(s.bn, f.super.Features.Incompat.Has(disk.Incompat64bit))
		i.addBlocks(r, s.blocks)
		also(r)
	})
}

func (f *FS) attrSealer() cache.Sealer { return xattr.BlockSealer(f.seed, f.super.HasMetadataCsum()) }

// writeBlock writes the block that the inode has from now on.
func (s *attrStore) writeBlock() error {
	var buf *cache.Buffer
	var err error
	shared, seal := &s.i.fs.live.shared, s.i.fs.attrSealer()
	switch s.place {
	case placeNone, placeKeep:
		return nil
	case placeShare:
		return s.addBlockRef(s.bn, 1)
	case placeInPlace:
		buf, err = s.h.Write(s.bn, seal)
	case placeNew:
		buf, err = s.h.Fresh(s.bn, seal)
	}
	if err != nil {
		return err
	}
	copy(buf.Data(), s.content)
	buf.SetVerified(attrBlockTag)
	shared.blocks.Add(disk.XattrHeader(s.content).Hash(), uint64(s.bn))
	return nil
}

// addBlockRef changes the reference count of a block.
func (s *attrStore) addBlockRef(bn disk.BlockNum, delta int32) error {
	buf, err := s.h.Write(bn, s.i.fs.attrSealer())
	if err != nil {
		return err
	}
	buf.SetVerified(attrBlockTag) // who asks has read it
	head := disk.XattrHeader(buf.Data())
	refs := uint32(int32(head.Refs()) + delta)
	head.SetRefs(refs)
	shared := &s.i.fs.live.shared
	if refs >= disk.XattrMaxRefs {
		shared.blocks.Drop(uint64(bn))
	} else {
		shared.blocks.Add(head.Hash(), uint64(bn))
	}
	return nil
}

// releaseOld gives back the inode's reference to its old block, and the block
// with the last one.
func (s *attrStore) releaseOld() error {
	if s.oldRefs > 1 {
		return s.addBlockRef(s.old, -1)
	}
	s.i.fs.live.shared.blocks.Drop(uint64(s.old))
	s.h.Forget(s.old)
	return s.i.fs.live.alloc.Free(s.h, s.old, 1)
}
