package ext4fs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/e4kit/e4kit/ext4fs/alloc"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// NewNode says what a new inode is like.
type NewNode struct {
	// Mode is i_mode: type and permissions. No type means a regular file. A
	// symbolic link always gets 0777.
	Mode     uint16
	UID, GID uint32 // a setgid directory gives its own group
	Project  uint32 // a directory with the PROJINHERIT flag gives its own
	// KeepReserved: neither the directory nor the new inode take blocks
	// reserved for root for this, see [Inode.KeepReserved]; the new one keeps
	// to it.
	KeepReserved bool
	// Umask is taken off the permissions, but where the directory has a
	// default ACL, which does that.
	Umask        uint16
	Major, Minor uint32 // of a device: 12 and 20 bits
	Target       string // of a symbolic link
	// Content of a regular file, at most 1 MiB, is written together with the
	// creation: after a crash the file is there with it or not at all.
	Content []byte
	// Times; zero is now.
	Atime, Mtime, Crtime time.Time
	// Xattrs are set together with the creation.
	Xattrs []Xattr

	name    string          // spreads directories
	flags   disk.InodeFlags // beside those of the directory
	unnamed bool            // it has no links at first
	// ownMask: the directory has no default ACL, so the umask counts.
	ownMask bool
	now     time.Time // of the creation
}

// kind is the type part of the mode.
func (a *NewNode) kind() uint16 {
	if k := a.Mode & disk.ModeType; k != 0 {
		return k
	}
	return disk.ModeRegular
}

// maxPath is the longest path or target that Linux takes, without the NUL.
const maxPath = 4095

// maxFastTarget is the longest target that i_block holds, with its NUL.
const maxFastTarget = disk.InodeBlockSize - 1

func (a *NewNode) check(f *FS) error {
	switch a.kind() {
	case disk.ModeRegular, disk.ModeDir, disk.ModeFIFO, disk.ModeSocket:
	case disk.ModeChar, disk.ModeBlock:
		if a.Major >= 1<<12 || a.Minor >= 1<<20 {
			return fmt.Errorf("device %d:%d: %w", a.Major, a.Minor, ErrInvalid)
		}
	case disk.ModeSymlink:
		switch {
		case a.Target == "":
			return ErrNotExist
		case len(a.Target) > min(maxPath, f.BlockSize()-1):
			return ErrNameLong
		case strings.IndexByte(a.Target, 0) >= 0:
			return ErrInvalid
		}
	default:
		return fmt.Errorf("mode %o: %w", a.Mode, ErrInvalid)
	}
	return nil
}

// Create makes an inode of the kind that n.Mode says and gives it a name in
// the directory. ErrExist says that the name is taken.
func (d *Inode) Create(name string, n *NewNode) (*Inode, error) {
	f := d.fs
	if err := f.mayChange(); err != nil {
		return nil, err
	}
	if err := n.check(f); err != nil {
		return nil, err
	}
	a := *n
	a.name = name
	var i *Inode
	err := f.withSpace(func() (err error) {
		i, err = d.create(name, &a)
		return err
	})
	if err != nil {
		return nil, err
	}
	return i, f.syncDir(d)
}

// mayChange says why nothing can be changed.
func (f *FS) mayChange() error {
	if f.live == nil {
		return ErrReadOnly
	}
	if f.live.closed.Load() {
		return ErrClosed
	}
	return nil
}

func (d *Inode) create(name string, n *NewNode) (*Inode, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n.KeepReserved {
		d.ordinary.Store(true)
		defer d.ordinary.Store(false)
	}
	o, err := d.openDir()
	if err != nil {
		return nil, err
	}
	if err := o.mayAdd(name); err != nil {
		return nil, err
	}
	links := 0
	if n.kind() == disk.ModeDir {
		links = 1
		if err := o.mayLink(); err != nil {
			return nil, err
		}
	}
	n.now = d.fs.now()
	return o.make(n, func(i *Inode) error {
		if err := o.insert(name, i); err != nil {
			return err
		}
		if err := o.touch(n.now, links); err != nil {
			return d.fs.abort(err)
		}
		return nil
	})
}

// Tmpfile makes an inode without a name: it is held, and goes when it is
// released, unless Link gave it a name before.
func (d *Inode) Tmpfile(n *NewNode) (*Inode, error) {
	f := d.fs
	if err := f.mayChange(); err != nil {
		return nil, err
	}
	if err := n.check(f); err != nil {
		return nil, err
	}
	if n.kind() == disk.ModeDir {
		return nil, ErrIsDir
	}
	a := *n
	a.unnamed = true
	var i *Inode
	err := f.withSpace(func() (err error) {
		i, err = d.tmpfile(&a)
		return err
	})
	return i, err
}

func (d *Inode) tmpfile(n *NewNode) (*Inode, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o, err := d.openDir()
	if err != nil {
		return nil, err
	}
	if err := o.mayWrite(); err != nil {
		return nil, err
	}
	if d.Flags().Has(disk.FlagEncrypt) {
		return nil, ErrNoKey
	}
	return o.make(n, func(i *Inode) error {
		if err := d.fs.orphanAdd(o.h, i); err != nil {
			return err
		}
		i.orphan.linkable = true
		i.Hold()
		return nil
	})
}

// make makes an inode for the directory in one transaction, which place
// completes. What is left of it after a failure is deleted.
func (o *dirOp) make(n *NewNode, place func(i *Inode) error) (*Inode, error) {
	f := o.i.fs
	inherits, err := o.i.hasDefaultACL()
	if err != nil {
		return nil, err
	}
	n.ownMask = !inherits
	if err := f.prepareNew(o.i, n); err != nil {
		return nil, err
	}
	h, err := f.begin(f.createCredits(o, n))
	if err != nil {
		return nil, err
	}
	o.begun(h)
	i, err := f.allocInode(h, o.i, n)
	if err != nil {
		return nil, f.end(h, err)
	}
	if err = i.fillNew(h, o.i, n); err == nil {
		err = place(i)
	}
	if err != nil {
		err = errors.Join(err, f.dispose(h, i))
	}
	err = f.end(h, err)
	i.mu.Unlock()
	if err != nil {
		// It is an orphan, and is deleted at the next open at the latest.
		return nil, errors.Join(err, i.deleteAborted())
	}
	return i, nil
}

// deleteAborted deletes an inode whose creation failed.
func (i *Inode) deleteAborted() error {
	if i.fs.live.journal.Err() != nil {
		return nil // it never came to be
	}
	return i.delete()
}

// dispose makes an orphan of an inode whose creation failed: its blocks can be
// too many for the transaction.
func (f *FS) dispose(h *txn, i *Inode) error {
	if f.live.journal.Err() != nil {
		return nil
	}
	err := i.update(h, func(r disk.Inode) { r.SetLinks(0) })
	if err == nil {
		err = f.orphanAdd(h, i)
	}
	if err != nil {
		return f.abort(err)
	}
	return nil
}

// attrCredits is what an attribute of a new inode takes: an attribute block,
// its allocation and the record.
const attrCredits = 8

// newInodeCredits is what allocInode adds.
func (f *FS) newInodeCredits() int { return alloc.NewInodeCredits + 1 + f.quotaCredits() }

// createCredits bounds what making an inode takes.
func (f *FS) createCredits(o *dirOp, n *NewNode) int {
	c := f.newInodeCredits() + attrCredits + orphanCredits + o.insertCredits()
	switch n.kind() {
	case disk.ModeDir:
		c += o.i.growDirCredits() + 1
	case disk.ModeSymlink:
		if len(n.Target) > maxFastTarget {
			c += f.writeAllCredits(len(n.Target), true)
		}
	}
	if len(n.Content) > 0 {
		c += f.writeAllCredits(len(n.Content), o.i.journalsData())
	}
	for _, x := range n.Xattrs {
		c += f.attrCreditsFor(len(x.Value))
	}
	return c
}

// allocInode allocates an inode, charges its owner and writes its first
// record, which has no content yet but what fits into the record: a device
// number, a short target. It fails before it changes anything. A directory gets
// two links, others one. The caller has to unlock mu of the inode.
func (f *FS) allocInode(h *txn, dir *Inode, a *NewNode) (*Inode, error) {
	isDir := a.kind() == disk.ModeDir
	n, _, err := f.live.alloc.NewInode(h, alloc.NewInode{
		Parent: dir.num, Dir: isDir, TopDir: dir.num == disk.RootInode || dir.Flags().Has(disk.FlagTopDir),
		Name: []byte(a.name),
	})
	if err != nil {
		return nil, noSpace(err)
	}
	i := newLive(f, n)
	i.ordinary.Store(a.KeepReserved)
	i.dataTID.Store(h.ID())
	buf := records.Get().(*recordBuffer)
	r := f.emptyRecord(buf[:])
	f.fillRecord(r, dir, a)
	i.initRecord(r, a)
	f.live.nodes.create(i, r)
	records.Put(buf)
	if err = i.charge(h, 0, 1); err == nil {
		if err = i.storeFirst(h); err == nil {
			return i, nil
		}
		i.mu.Unlock()
		return nil, f.abort(err)
	}
	i.deleted = true
	i.mu.Unlock()
	f.live.nodes.remove(i)
	if e := f.live.alloc.FreeInode(h, n, isDir); e != nil {
		return nil, f.abort(errors.Join(err, e))
	}
	return nil, err
}

// extraSize is i_extra_isize of new inodes, as Linux chooses it.
func (f *FS) extraSize() int {
	const least = 32 // up to i_projid
	s := &f.super
	room := s.InodeSize() - disk.InodeBaseSize
	if room <= 0 {
		return 0
	}
	want := least
	if s.Features.ROCompat.Has(disk.ROCompatExtraIsize) {
		want = max(want, int(s.WantExtraIsize), int(s.MinExtraIsize))
	}
	if want > room {
		want = min(least, room)
	}
	return want &^ 3
}

// The flags that new inodes take over from their directory, as far as their
// kind has them.
const (
	inheritedFlags = disk.FlagSecureRM | disk.FlagUnRM | disk.FlagCompr | disk.FlagSync | disk.FlagNoDump |
		disk.FlagNoAtime | disk.FlagNoCompr | disk.FlagJournalData | disk.FlagNoTail | disk.FlagDirSync |
		disk.FlagProjInherit | disk.FlagCasefold | disk.FlagDAX
	notForFiles    = disk.FlagDirSync | disk.FlagTopDir | disk.FlagCasefold | disk.FlagProjInherit
	flagsForOthers = disk.FlagNoDump | disk.FlagNoAtime
)

// inheritFlags gives the flags of a new inode of that kind.
func inheritFlags(dir *Inode, kind uint16) disk.InodeFlags {
	if !dir.IsDir() {
		return 0
	}
	flags := dir.Flags() & inheritedFlags
	switch kind {
	case disk.ModeDir:
		return flags
	case disk.ModeRegular:
		return flags &^ notForFiles
	}
	return flags & flagsForOthers
}

// mountOptBSDGroups in s_default_mount_opts: new inodes get the group of their
// directory.
const mountOptBSDGroups = 2

// recordBuffer has room for most records.
type recordBuffer [256]byte

// records are for those that are copied right away.
var records = sync.Pool{New: func() any { return new(recordBuffer) }}

// emptyRecord is a record without anything, in buf if that is large enough.
func (f *FS) emptyRecord(buf []byte) disk.Inode {
	size := f.super.InodeSize()
	if len(buf) < size {
		buf = make([]byte, size)
	}
	r := disk.Inode(buf[:size:size])
	clear(r)
	r.SetExtraSize(f.extraSize())
	return r
}

// fillRecord makes an empty record the first one of a new inode.
func (f *FS) fillRecord(r disk.Inode, dir *Inode, a *NewNode) {
	kind, now := a.kind(), a.now
	if now.IsZero() {
		now = f.now()
	}
	mode, gid := kind|a.Mode&^disk.ModeType, a.GID
	d := dir.record()
	switch {
	case !dir.IsDir():
	case f.super.DefaultMountOpts&mountOptBSDGroups != 0:
		gid = d.GID()
	case d.Mode()&disk.ModeSetgid != 0:
		gid = d.GID()
		if kind == disk.ModeDir {
			mode |= disk.ModeSetgid
		}
	}
	if kind == disk.ModeSymlink {
		mode = kind | disk.ModePerm
	} else if a.ownMask {
		mode &^= a.Umask & disk.ModePerm
	}
	r.SetMode(mode)
	r.SetUID(a.UID)
	r.SetGID(gid)
	r.SetLinks(1)
	switch {
	case a.unnamed:
		r.SetLinks(0)
	case kind == disk.ModeDir:
		r.SetLinks(2)
	}
	r.SetGeneration(rand.Uint32())
	r.SetVersion(1)
	r.SetFlags(inheritFlags(dir, kind) | a.flags)
	project := a.Project
	if id, ok := d.Project(); ok && dir.IsDir() && dir.Flags().Has(disk.FlagProjInherit) {
		project = id
	}
	if f.super.Features.ROCompat.Has(disk.ROCompatProject) {
		r.SetProject(project)
	}
	r.SetAtime(orNow(a.Atime, now))
	r.SetMtime(orNow(a.Mtime, now))
	r.SetCrtime(orNow(a.Crtime, now))
	r.SetCtime(now)
}

func orNow(t, now time.Time) time.Time {
	if t.IsZero() {
		return now
	}
	return t
}

// initRecord prepares the new inode's i_block.
func (i *Inode) initRecord(r disk.Inode, a *NewNode) {
	switch a.kind() {
	case disk.ModeDir:
		if !i.fs.super.Features.Incompat.Has(disk.IncompatInlineData) { // else see fillDir
			i.initBlockMap(r)
		}
	case disk.ModeRegular:
		i.initBlockMap(r)
		i.allowInline(r)
	case disk.ModeChar, disk.ModeBlock:
		r.SetDevice(a.Major, a.Minor)
	case disk.ModeSymlink:
		// Without extents it is the size that says whether there is a map.
		r.SetSize(int64(len(a.Target)))
		if len(a.Target) <= maxFastTarget {
			copy(r.Block(), a.Target)
		} else {
			i.initBlockMap(r)
		}
	}
}

// fillNew gives a new inode what its kind needs outside of the record:
// attributes first, because what is inline shares their room.
func (i *Inode) fillNew(h *txn, dir *Inode, a *NewNode) error {
	if err := i.fillAttrs(h, dir, a); err != nil {
		return noSpace(err)
	}
	switch {
	case a.kind() == disk.ModeDir:
		return i.fillDir(h, dir)
	case a.kind() == disk.ModeSymlink && len(a.Target) > maxFastTarget:
		return noSpace(i.writeAll(h, []byte(a.Target)))
	case a.kind() == disk.ModeRegular && len(a.Content) > 0:
		return noSpace(i.writeAll(h, a.Content))
	}
	return nil
}

// fillAttrs sets the ACLs that the directory gives, the mode that goes with
// them, and the attributes that were asked for.
func (i *Inode) fillAttrs(h *txn, dir *Inode, a *NewNode) error {
	if !a.ownMask && a.kind() != disk.ModeSymlink {
		mode, err := i.inheritACL(h, dir, i.record().Mode())
		if err != nil {
			return err
		}
		if mode != i.record().Mode() {
			if err := i.update(h, func(r disk.Inode) { r.SetMode(mode) }); err != nil {
				return err
			}
		}
	}
	if len(a.Xattrs) == 0 {
		return nil
	}
	return i.setXattrs(h, a.Xattrs)
}

// hasDefaultACL reports whether the directory has an ACL for new inodes.
func (i *Inode) hasDefaultACL() (bool, error) {
	if !i.IsDir() {
		return false, nil
	}
	_, ok, err := i.findXattr("system.posix_acl_default")
	return ok, err
}

// fillDir makes "." and "..", in the inode if it may be inline and has room.
func (i *Inode) fillDir(h *txn, dir *Inode) error {
	if i.fs.super.Features.Incompat.Has(disk.IncompatInlineData) {
		init := i.initBlockMap
		if i.inlineRoom() >= 0 {
			init = func(r disk.Inode) {
				r.SetFlags(r.Flags() | disk.FlagInlineData)
				r.SetSize(disk.InodeBlockSize)
			}
		}
		if err := i.update(h, init); err != nil {
			return err
		}
	}
	o, err := i.openAnyDir()
	if err != nil {
		return err
	}
	o.begun(h)
	return noSpace(o.c.Init(h, dir.num))
}
