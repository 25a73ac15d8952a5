package alloc

import (
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Claim marks blocks as in use that the journal's fast commits have given to
// a file without saying so in a bitmap, with the rest of their clusters. What is
// in use already stays so. A range that is no range of data blocks, or lies in
// a damaged group, is a *disk.CorruptError; blocks that Free took in a
// transaction that is not committed are ErrInvalid. Groups are changed one by
// one: after an error those before have been.
func (a *Allocator) Claim(tx cache.Tx, bn disk.BlockNum, n uint64) error {
	if n == 0 {
		return nil
	}
	begin, end, err := a.whole(bn, n)
	if err != nil {
		return err
	}
	a.gate.Lock()
	defer a.gate.Unlock()
	a.dropWindows() // what is not in use is free then, or waits for a commit
	for _, p := range a.split(begin, end) {
		if err := a.claimPart(tx, p); err != nil {
			return err
		}
	}
	return nil
}

func (a *Allocator) claimPart(tx cache.Tx, p freed) error {
	g := &a.groups[p.g]
	g.mu.Lock()
	defer g.mu.Unlock()
	if !a.usable(g) {
		return a.unusable("block bitmap", g, g.blockBitmap)
	}
	bm, _, err := a.open(tx, g)
	if err != nil {
		return err
	}
	for c, end := p.c, p.c+p.n; c < end; {
		n := uint32(0)
		for c+n < end && noneSet(bm, c+n, 1) {
			if g.heldClusters > 0 && !g.idx.isFree(c+n) {
				return fmt.Errorf("block %d waits for a commit: %w", a.first(g, c+n), ErrInvalid)
			}
			n++
		}
		if n == 0 {
			c++
			continue
		}
		ok, err := a.take(tx, g, c, n, false)
		if err != nil {
			return err
		}
		if !ok {
			return a.unusable("block bitmap", g, g.blockBitmap)
		}
		a.avail.Add(-int64(n))
		c += n
	}
	return nil
}

func (a *Allocator) unusable(what string, g *group, bn disk.BlockNum) error {
	return &disk.CorruptError{What: fmt.Sprintf("%s of group %d", what, g.num), Block: bn, Detail: "not used any more", Err: g.damage}
}

// ClaimInode marks inode n as in use for fast commits, if it is not; dir says
// that it is a directory. Its record has to be written in the same transaction.
// Config.Virgin is called for the block of the inode table, if it was never
// used, and for those before it that would count as used from now on with
// whatever is on disk; the credits for these it asks for itself.
func (a *Allocator) ClaimInode(tx cache.Tx, n disk.InodeNum, dir bool) error {
	if n < max(a.super.FirstInode, 1) || n > a.super.Inodes() {
		return &disk.CorruptError{What: "inode number", Inode: n, Detail: "reserved or beyond the last one"}
	}
	num, i := a.super.InodeGroup(n)
	g := &a.groups[num]
	g.mu.Lock()
	defer g.mu.Unlock()
	if !a.usableInodes(g) {
		return a.unusable("inode bitmap", g, g.inodeBitmap)
	}
	if g.holdsInode(i) {
		return fmt.Errorf("inode %d waits for a commit: %w", n, ErrInvalid)
	}
	bm, desc, err := a.openInodes(tx, g)
	if err != nil || allSet(bm, i, 1) {
		return err
	}
	if err := a.freshUpTo(tx, g, i); err != nil {
		return err
	}
	if err := a.ownBitmap(tx, g); err != nil {
		return err
	}
	a.useInode(g, i, dir, bm, desc)
	return nil
}

// freshUpTo prepares the blocks of the inode table that begin to count as used
// with inode index i. Of a zeroed table only its own block is worth it.
func (a *Allocator) freshUpTo(tx cache.Tx, g *group, i uint32) error {
	if !a.super.HasGroupCsum() || a.cfg.Virgin == nil {
		return nil
	}
	mark, per := a.super.InodesPerGroup-g.unused, a.super.InodesPerBlock()
	first, last := (mark+per-1)/per, i/per
	if g.flags&disk.GroupInodeZeroed != 0 {
		first = max(first, last)
	}
	if first < last {
		if err := tx.Extend(int(last - first)); err != nil {
			return err
		}
	}
	for b := first; b <= last; b++ {
		if err := a.cfg.Virgin(tx, g.inodeTable+disk.BlockNum(b)); err != nil {
			return err
		}
	}
	return nil
}

// Recount says that inode n, which is in use, has become a directory, or is
// none any more, as a fast commit can tell whose inode number was used twice.
func (a *Allocator) Recount(tx cache.Tx, n disk.InodeNum, dir bool) error {
	if n == 0 || n > a.super.Inodes() {
		return &disk.CorruptError{What: "inode number", Inode: n, Detail: "beyond the last one"}
	}
	num, _ := a.super.InodeGroup(n)
	g := &a.groups[num]
	g.mu.Lock()
	defer g.mu.Unlock()
	if !a.usableInodes(g) || !dir && g.dirs == 0 {
		return a.badInodeBitmap(g, "its count of directories cannot be right")
	}
	desc, err := a.openDesc(tx, g)
	if err != nil {
		return err
	}
	delta := 1
	if !dir {
		delta = -1
	}
	g.dirs = uint32(int(g.dirs) + delta)
	desc.SetUsedDirs(g.dirs)
	a.dirs.Add(int64(delta))
	a.flexOf(num).dirs.Add(int64(delta))
	return nil
}
