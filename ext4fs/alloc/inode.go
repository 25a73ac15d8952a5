package alloc

import (
	"fmt"
	"math/bits"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// NewInode asks for an inode.
type NewInode struct {
	Parent disk.InodeNum // its directory
	Dir    bool          // it will be a directory
	// TopDir: the parent is the root directory or has the TOPDIR flag; what
	// is in it has little to do with each other.
	TopDir bool
	Name   []byte        // spreads the directories of a TopDir
	Goal   disk.InodeNum // 0, or the inode is wanted at or after this one
}

// NewInode gives out an inode: bitmap, counters and descriptor change in tx,
// all in one group (see NewInodeCredits). virgin says that no inode of its
// block of the inode table was ever used: what is on disk there is garbage, see
// Config.Virgin. On error nothing is changed: ErrNoInodes, or what tx says.
func (a *Allocator) NewInode(tx cache.Tx, r NewInode) (n disk.InodeNum, virgin bool, err error) {
	limit := disk.GroupNum(len(a.groups))
	num, from := disk.GroupNum(0), uint32(0)
	switch {
	case r.Goal != 0 && r.Goal <= a.super.Inodes():
		num, from = a.super.InodeGroup(r.Goal)
	case r.Dir:
		num = a.dirGroup(&r)
	default:
		num = a.fileGroup(&r)
	}
	for range maxTries + len(a.groups) {
		g := &a.groups[num]
		g.mu.Lock()
		n, virgin, err = a.newIn(tx, g, from, r.Dir)
		g.mu.Unlock()
		if n != 0 || err != nil {
			if n != 0 {
				a.parents.put(r.Parent, num)
			}
			return n, virgin, err
		}
		from = 0
		next, ok := a.inodes.around(min(num+1, limit), limit)
		if !ok {
			break
		}
		num = next
	}
	return 0, false, ErrNoInodes
}

// newIn gives out the first inode of the group whose index is from or more. 0
// says there is none. g.mu is held.
func (a *Allocator) newIn(tx cache.Tx, g *group, from uint32, dir bool) (disk.InodeNum, bool, error) {
	if !a.usableInodes(g) {
		return 0, false, nil
	}
	s := &a.super
	i, ok := a.freeInode(g, from)
	if !ok {
		return 0, false, nil
	}
	mark := s.InodesPerGroup - g.unused
	per := s.InodesPerBlock()
	virgin := s.HasGroupCsum() && i/per*per >= mark
	bm, desc, err := a.openInodes(tx, g)
	if err != nil {
		return 0, false, err
	}
	if !noneSet(bm, i, 1) || g.freeInodes == 0 {
		a.spoilInodes(g, a.badInodeBitmap(g, fmt.Sprintf("inode %d was free and is in use", a.inodeNum(g, i))))
		return 0, false, nil
	}
	if virgin && a.cfg.Virgin != nil {
		if err := a.cfg.Virgin(tx, g.inodeTable+disk.BlockNum(i/per)); err != nil {
			return 0, false, err
		}
	}
	if err := a.ownBitmap(tx, g); err != nil {
		return 0, false, err
	}
	a.useInode(g, i, dir, bm, desc)
	return a.inodeNum(g, i), virgin, nil
}

// ownBitmap makes the block bitmap of a group that has none: as with Linux, a
// group with inodes has both.
func (a *Allocator) ownBitmap(tx cache.Tx, g *group) error {
	if g.flags&disk.GroupBlockUninit == 0 || !a.usable(g) {
		return nil
	}
	_, _, err := a.open(tx, g)
	return err
}

// useInode makes all changes that an inode's allocation takes.
func (a *Allocator) useInode(g *group, i uint32, dir bool, bm []byte, desc disk.GroupDesc) {
	s := &a.super
	setBits(bm, i, 1)
	g.ibusy[i/64] |= 1 << (i % 64)
	g.freeInodes--
	desc.SetFreeInodes(g.freeInodes)
	f := a.flexOf(g.num)
	a.freeInodes.Add(-1)
	f.inodes.Add(-1)
	if dir {
		g.dirs++
		desc.SetUsedDirs(g.dirs)
		a.dirs.Add(1)
		f.dirs.Add(1)
	}
	if s.HasGroupCsum() {
		g.flags &^= disk.GroupInodeUninit
		desc.SetFlags(g.flags)
		if i >= s.InodesPerGroup-g.unused {
			g.unused = s.InodesPerGroup - i - 1
		}
		desc.SetItableUnused(g.unused)
	}
	if _, ok := a.freeInode(g, 0); !ok {
		a.inodes.put(g.num, false)
	}
}

// unuseInode makes all changes that freeing an inode takes, but for giving it
// out again.
func (a *Allocator) unuseInode(g *group, i uint32, dir bool, bm []byte, desc disk.GroupDesc) {
	clearBits(bm, i, 1)
	g.freeInodes++
	desc.SetFreeInodes(g.freeInodes)
	f := a.flexOf(g.num)
	a.freeInodes.Add(1)
	f.inodes.Add(1)
	if dir {
		g.dirs--
		desc.SetUsedDirs(g.dirs)
		a.dirs.Add(-1)
		f.dirs.Add(-1)
	}
}

func (a *Allocator) inodeNum(g *group, i uint32) disk.InodeNum {
	return disk.InodeNum(uint32(g.num)*a.super.InodesPerGroup + i + 1)
}

func (a *Allocator) badInodeBitmap(g *group, detail string) error {
	return &disk.CorruptError{What: fmt.Sprintf("inode bitmap of group %d", g.num), Block: g.inodeBitmap, Detail: detail}
}

// usableInodes is usable for the inode bitmap. g.mu is held.
func (a *Allocator) usableInodes(g *group) bool {
	g.used = true
	if g.badInodes || g.ibusy != nil {
		return !g.badInodes
	}
	s := &a.super
	raw, _, err := a.raw(g, false)
	if err != nil {
		a.spoilInodes(g, err)
		return false
	}
	per := s.InodesPerGroup
	words := loadWords(raw, per)
	if n := countFree(words); n != g.freeInodes {
		a.spoilInodes(g, a.badInodeBitmap(g, fmt.Sprintf("%d inodes are free, the descriptor says %d", n, g.freeInodes)))
		return false
	}
	if g.flags&disk.GroupInodeUninit != 0 {
		g.unused = per // whatever is there: the bitmap is empty
	}
	if !noneSet(raw, per-g.unused, g.unused) {
		a.spoilInodes(g, a.badInodeBitmap(g, fmt.Sprintf("in use are some of the last %d inodes, which were never used", g.unused)))
		return false
	}
	// Reserved inodes and those beyond the count are never given out.
	for i := range per {
		if n := a.inodeNum(g, i); n < s.FirstInode || n > s.Inodes() {
			words[i/64] |= 1 << (i % 64)
		}
	}
	g.ibusy, g.ifirst = words, 0
	if _, ok := a.freeInode(g, 0); !ok {
		a.inodes.put(g.num, false)
	}
	a.keep(g)
	return true
}

// freeInode finds the first inode from index from on that can be given out. It
// does not go beyond the block after those in use where the table is not zeroed:
// blocks that are skipped would count as used with garbage in them.
func (a *Allocator) freeInode(g *group, from uint32) (uint32, bool) {
	start := max(from, g.ifirst)
	i, ok := nextZero(g.ibusy, start, a.super.InodesPerGroup)
	if from <= g.ifirst {
		g.ifirst = i // all below are busy
	}
	if ok && g.unused > 0 && g.flags&disk.GroupInodeZeroed == 0 {
		mark, per := a.super.InodesPerGroup-g.unused, a.super.InodesPerBlock()
		if i > mark && i/per > mark/per {
			return nextZero(g.ibusy, mark, a.super.InodesPerGroup)
		}
	}
	return i, ok
}

// nextZero finds the first clear bit of [from, n); n if there is none.
func nextZero(words []uint64, from, n uint32) (uint32, bool) {
	for i := from; i < n; i = i&^63 + 64 {
		if w := ^words[i/64] >> (i % 64); w != 0 {
			i += uint32(bits.TrailingZeros64(w))
			return i, i < n
		}
	}
	return n, false
}

// openInodes gives write access to the group's inode bitmap and descriptor,
// and makes a bitmap that is not on disk. g.mu is held.
func (a *Allocator) openInodes(tx cache.Tx, g *group) (bm []byte, desc disk.GroupDesc, err error) {
	if desc, err = a.openDesc(tx, g); err != nil {
		return nil, nil, err
	}
	if g.flags&disk.GroupInodeUninit == 0 {
		bm, err = a.write(tx, g, false)
		return bm, desc, err
	}
	buf, err := tx.Fresh(g.inodeBitmap, plain{})
	if err != nil {
		return nil, nil, fmt.Errorf("inode bitmap of group %d: %w", g.num, err)
	}
	copy(buf.Data(), a.buildInodes())
	buf.SetVerified(bitmapVerified)
	buf.SetPriority(cache.PriorityHigh)
	return buf.Data(), desc, nil
}

// FreeInode takes back an inode; dir says that it was a directory. It can be
// given out again after Committed of the transaction. An inode that is free
// already is a *disk.CorruptError and nothing is changed. As with Free, a group
// that is out of use is left as it is.
func (a *Allocator) FreeInode(tx cache.Tx, n disk.InodeNum, dir bool) error {
	if n < max(a.super.FirstInode, 1) || n > a.super.Inodes() {
		return &disk.CorruptError{What: "inode number", Inode: n, Detail: "reserved or beyond the last one"}
	}
	num, i := a.super.InodeGroup(n)
	g := &a.groups[num]
	g.mu.Lock()
	defer g.mu.Unlock()
	if !a.usableInodes(g) {
		return nil
	}
	if g.flags&disk.GroupInodeUninit != 0 {
		return a.notUsed(g, n, "to be freed, and none of the group is in use")
	}
	bm, desc, err := a.openInodes(tx, g)
	if err != nil {
		return err
	}
	switch {
	case !allSet(bm, i, 1):
		return a.notUsed(g, n, "to be freed, and not in use")
	case dir && g.dirs == 0:
		return a.notUsed(g, n, "a directory, of which the group has none")
	}
	a.unuseInode(g, i, dir, bm, desc)
	g.holdInode(i, a.super.InodesPerGroup)
	a.pending.add(tx.ID(), freed{g: num, c: i, n: 1, inode: true})
	return nil
}

// notUsed takes a group's inodes out of use.
func (a *Allocator) notUsed(g *group, n disk.InodeNum, detail string) error {
	err := a.badInodeBitmap(g, fmt.Sprintf("inode %d is %s", n, detail))
	err.(*disk.CorruptError).Inode = n
	a.spoilInodes(g, err)
	return err
}

// giveOutInode makes a freed inode available. g.mu is held.
func (a *Allocator) giveOutInode(g *group, i uint32) {
	g.letInode(i)
	if g.badInodes {
		return
	}
	g.ibusy[i/64] &^= 1 << (i % 64)
	g.ifirst = min(g.ifirst, i)
	a.inodes.put(g.num, true)
}

// InodeInUse reports whether the bitmap says that inode n is in use. A number
// that cannot be is not in use; a bitmap that cannot be trusted is an error.
func (a *Allocator) InodeInUse(n disk.InodeNum) (bool, error) {
	if n == 0 || n > a.super.Inodes() {
		return false, nil
	}
	num, i := a.super.InodeGroup(n)
	g := &a.groups[num]
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flags&disk.GroupInodeUninit != 0 && g.damage == nil {
		return false, nil
	}
	raw, _, err := a.raw(g, false)
	if err != nil {
		return false, err
	}
	return allSet(raw, i, 1), nil
}
