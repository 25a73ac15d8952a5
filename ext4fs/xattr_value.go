package ext4fs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/e4kit/e4kit/ext4fs/alloc"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// Value inodes hold one attribute value each. Where others have their times
// and version they keep the hash of the value and how many entries name them.
// Nobody changes them but under shared, and who deletes them.

// valueMode is i_mode of value inodes.
const valueMode = disk.ModeRegular | 0o600

// valueBlocks is what the owner of a value in an inode is charged for it, in
// blocks of the file system.
func (f *FS) valueBlocks(size int64) int64 {
	ratio := int64(f.super.ClusterRatio())
	cluster := ratio * int64(f.BlockSize())
	return (size + cluster - 1) / cluster * ratio
}

// newValueCredits is what making a value inode adds: the inode, what a failure
// notes of it, and its content, for which one block may have to be allocated
// beside the data and nothing is charged.
func (f *FS) newValueCredits(size int) int {
	return alloc.NewInodeCredits + 1 + orphanCredits + 2*alloc.AllocCredits + 2 + (size+f.BlockSize()-1)>>f.blockShift()
}

// valueInode returns a value inode that one of the inode's attributes names.
func (i *Inode) valueInode(n disk.InodeNum) (*Inode, error) {
	bad := func(why string) error {
		return &CorruptError{What: "value inode", Inode: n, Detail: why + fmt.Sprintf(" (of inode %d)", i.num)}
	}
	if n == i.num || i.fs.isSpecial(n) || n == disk.RootInode || n > i.fs.inodes {
		return nil, bad("no inode for values")
	}
	v, err := i.fs.Inode(n)
	if err != nil {
		return nil, err
	}
	switch r := v.record(); {
	case !v.IsRegular() || !r.Flags().Has(disk.FlagEAInode) || r.Flags().Has(disk.FlagInlineData):
		return nil, bad("no value inode")
	case r.Links() == 0:
		return nil, bad("deleted")
	case r.FileACL(i.fs.super.Features.Incompat.Has(disk.Incompat64bit)) != 0:
		return nil, bad("it has attributes of its own")
	}
	return v, nil
}

// valueRefs is how many entries name the value inode. Those that old versions
// of Lustre made name their owner instead, their only one.
func (i *Inode) valueRefs(v *Inode) uint64 {
	r := v.record()
	_, _, parent := r.RawTimes()
	if disk.InodeNum(parent) == i.num && r.Generation() == i.record().Generation() {
		return 1
	}
	return r.EARefs()
}

// findValue returns a value inode that holds the value already, nil if none is
// known.
func (s *attrStore) findValue(p xattr.Pending) (*Inode, error) {
	shared := &s.i.fs.live.shared
	for _, n := range shared.values.Find(p.Hash) {
		v, err := s.i.valueInode(disk.InodeNum(n))
		if err != nil {
			shared.values.Drop(n)
			continue
		}
		r := v.record()
		if r.EAHash() != p.Hash || v.Size() != int64(len(p.Value)) || r.EARefs() == 0 {
			continue
		}
		value := make([]byte, len(p.Value))
		if n, err := v.ReadAt(value, 0); n < len(value) || err != nil && err != io.EOF {
			continue
		}
		if bytes.Equal(value, p.Value) {
			return v, nil
		}
	}
	return nil, nil
}

// newValue makes a value inode without references. Where it fails the inode is
// gone, or among those that undo disposes of.
func (s *attrStore) newValue(p xattr.Pending) (*Inode, error) {
	i, f, h := s.i, s.i.fs, s.h
	n, _, err := f.live.alloc.NewInode(h, alloc.NewInode{Parent: i.num, Goal: min(i.num+1, f.inodes)})
	if err != nil {
		return nil, noSpace(err)
	}
	now := f.now()
	r := disk.NewInode(f.super.InodeSize(), f.extraSize())
	r.SetMode(valueMode)
	r.SetUID(i.record().UID())
	r.SetGID(i.record().GID())
	r.SetLinks(1)
	r.SetGeneration(rand.Uint32())
	r.SetFlags(disk.FlagEAInode)
	r.SetMtime(now)
	r.SetCrtime(now)
	r.SetEARefs(0)
	r.SetEAHash(p.Hash)
	v := newLive(f, n)
	v.initBlockMap(r)
	f.live.nodes.create(v, r)
	defer v.mu.Unlock()
	if err := v.storeFirst(h); err != nil {
		return nil, f.abort(err)
	}
	s.made = append(s.made, v)
	if err := v.writeAll(h, p.Value); err != nil {
		return nil, err
	}
	f.live.shared.values.Add(p.Hash, uint64(n))
	return v, nil
}

// addRefs changes how many entries name the value inode. The last one makes it
// an orphan.
func (s *attrStore) addRefs(v *Inode, delta int) error {
	refs := s.i.valueRefs(v)
	if delta < 0 {
		refs -= min(refs, uint64(-delta))
	} else {
		refs += uint64(delta)
	}
	if err := v.update(s.h, func(r disk.Inode) { r.SetEARefs(refs) }); err != nil {
		return err
	}
	if refs > 0 {
		return nil
	}
	return s.kill(v)
}

// takeDead takes over the value inodes that are to be deleted.
func (s *sharedXattrs) takeDead() []*Inode {
	s.mu.Lock()
	defer s.mu.Unlock()
	dead := s.dead
	s.dead = nil
	return dead
}

// reapValues deletes value inodes that lost their last reference. One that
// cannot be deleted now stays an orphan, which Close or the next open deletes.
// Called without a handle.
func (f *FS) reapValues() {
	for _, v := range f.live.shared.takeDead() {
		if f.live.journal.Err() != nil {
			return
		}
		if err := v.delete(); errors.Is(err, ErrCorrupt) || errors.Is(err, ErrChecksum) {
			f.live.super.noteLater(err)
		}
	}
}
