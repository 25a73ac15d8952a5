package ext4fs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/quota"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// AttrMask says which fields of a SetAttr count.
type AttrMask uint32

// Fields of SetAttr.
const (
	AttrMode AttrMask = 1 << iota
	AttrUID
	AttrGID
	AttrSize
	AttrAtime
	AttrMtime
	AttrCtime // without it the change time is now
	AttrCrtime
	AttrFlags
	AttrProject
	AttrVersion
	AttrGeneration
	AttrAtimeNow // to the present: allowed for append-only files, unlike AttrAtime
	AttrMtimeNow
)

// SetAttr says what SetAttr changes.
type SetAttr struct {
	Valid                       AttrMask
	Mode                        uint16 // permissions, set-id and sticky bits; the type stays
	UID, GID                    uint32
	Size                        int64 // of a regular file, in bytes
	Atime, Mtime, Ctime, Crtime time.Time
	Flags                       disk.InodeFlags // see SetFlags
	Project                     uint32
	Version                     uint64
	Generation                  uint32
	// KillPriv takes away what gives privileges to who runs the file, as Linux
	// does when the owner changes or others write: the set-user-id bit, the
	// set-group-id bit if the group may execute, and the file capabilities.
	// Directories keep theirs.
	KillPriv bool
}

// has reports whether any of the fields counts.
func (a *SetAttr) has(m AttrMask) bool { return a.Valid&m != 0 }

// SetAttr changes attributes of the inode. All but the size change together; a
// new size comes first, and may have come when another change fails.
//
// Errors: ErrNotPermitted (immutable; append-only but for times that are set to
// now; an inode of the file system's own), ErrNotSupported (the mode of a
// symbolic link; a project without the feature or where the inode has no room
// for it; a birth time likewise; a generation that checksums depend on; flags
// that cannot be switched), ErrQuota, ErrNoSpace, and those of Truncate.
func (i *Inode) SetAttr(a *SetAttr) error {
	if err := i.fs.mayChange(); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.checkSetAttr(a); err != nil {
		return err
	}
	if a.has(AttrSize) {
		if err := i.truncateLocked(a.Size); err != nil {
			return err
		}
	}
	if a.Valid&^AttrSize != 0 || a.KillPriv {
		err := i.fs.withSpace(func() error { return i.setAttrs(a) })
		i.fs.reapValues()
		if err != nil {
			return err
		}
	}
	return i.syncIfAsked()
}

// checkSetAttr says why the change cannot be made. Called with mu.
func (i *Inode) checkSetAttr(a *SetAttr) error {
	if err := i.mayChangeAny(); err != nil {
		return err
	}
	flags := i.Flags()
	fixed := AttrMode | AttrUID | AttrGID | AttrSize | AttrAtime | AttrMtime | AttrCrtime | AttrProject | AttrGeneration
	switch {
	case a.has(fixed|AttrAtimeNow|AttrMtimeNow) && flags.Has(disk.FlagImmutable),
		a.has(fixed) && flags.Has(disk.FlagAppend):
		return fmt.Errorf("inode %d is %s: %w", i.num, flags&(disk.FlagImmutable|disk.FlagAppend), ErrNotPermitted)
	case a.has(AttrMode) && i.IsSymlink():
		return fmt.Errorf("mode of a symbolic link: %w", ErrNotSupported)
	case a.has(AttrCrtime) && !i.hasCrtime():
		return fmt.Errorf("inode %d keeps no birth time: %w", i.num, ErrNotSupported)
	case a.has(AttrGeneration) && !i.generationFree():
		return fmt.Errorf("checksums depend on the generation of inode %d: %w", i.num, ErrNotSupported)
	}
	if a.has(AttrSize) {
		if err := i.changeable(); err != nil {
			return err
		}
	}
	if a.has(AttrProject) {
		if err := i.mayHaveProject(a.Project); err != nil {
			return err
		}
	}
	if a.has(AttrFlags) {
		return i.checkFlags(a.Flags)
	}
	return nil
}

func (i *Inode) hasCrtime() bool {
	_, ok := i.record().Crtime()
	return ok
}

// generationFree reports whether nothing outside of the record has a checksum
// that the generation goes into: blocks of a directory, nodes of an extent tree.
func (i *Inode) generationFree() bool {
	if !i.fs.super.HasMetadataCsum() || !i.hasBlocks() {
		return true
	}
	const extentDepth = 6 // eh_depth in the root
	return !i.IsDir() && (!i.Flags().Has(disk.FlagExtents) || binary.LittleEndian.Uint16(i.record().Block()[extentDepth:]) == 0)
}

// mayHaveProject says why the inode cannot be in the project.
func (i *Inode) mayHaveProject(id uint32) error {
	_, room := i.record().Project()
	if i.fs.super.Features.ROCompat.Has(disk.ROCompatProject) && room || id == 0 {
		return nil
	}
	return fmt.Errorf("project of inode %d: %w", i.num, ErrNotSupported)
}

// setAttrs makes the changes but the size. Called with mu.
func (i *Inode) setAttrs(a *SetAttr) error {
	mode := i.newMode(a)
	changes, err := i.modeAttrs(a, mode)
	if err != nil {
		return err
	}
	to := i.newOwners(a)
	if _, charged := i.owners(); charged {
		if err := i.fs.prepareQuota(to); err != nil {
			return err
		}
	}
	if a.has(AttrFlags) {
		if err := i.switchJournaling(a.Flags); err != nil {
			return err
		}
	}
	edit := func(e *xattr.Edit) (bool, error) {
		for _, c := range changes {
			if _, err := c.apply(e); err != nil {
				return false, err
			}
		}
		return len(changes) > 0, nil
	}
	credits := 0
	if len(changes) > 0 {
		if credits, _, err = i.planAttrs(edit); err != nil {
			return err
		}
	}
	return i.storeAttrs(a, credits, mode, to, edit, len(changes) > 0)
}

// storeAttrs is the transaction of setAttrs.
func (i *Inode) storeAttrs(a *SetAttr, credits int, mode uint16, to quota.Owners, edit attrEdit, edits bool) (err error) {
	f := i.fs
	h, err := f.begin(f.baseCredits() + credits)
	if err != nil {
		return err
	}
	defer func() { err = f.end(h, err) }()
	from := ownersOf(i.record())
	if err := i.transferQuota(h, to); err != nil {
		return err
	}
	change := i.attrsSetter(a, mode)
	if edits {
		err = i.editAttrsFor(h, edit, change, to)
	} else {
		err = i.update(h, change)
	}
	if err != nil {
		// The attributes fail before they change anything, so does the record.
		back := i.transferBack(h, to, from)
		return errors.Join(err, back)
	}
	if a.has(AttrFlags|AttrGeneration|AttrVersion) || a.has(AttrMtime|AttrMtimeNow) {
		i.dataTID.Store(h.ID())
	}
	i.afterAttrs(a)
	return nil
}

// transferBack undoes transferQuota while the record is still that of before.
func (i *Inode) transferBack(h *txn, to, from quota.Owners) error {
	q := i.fs.live.quota
	if _, ok := i.owners(); q == nil || !ok || from == to {
		return nil
	}
	inodes, err := i.chargedInodes()
	if err == nil {
		err = q.set.Transfer(h, to, from, int64(i.Sectors())*512, inodes, true)
	}
	if err != nil {
		return i.fs.abort(err)
	}
	return nil
}

// newMode is i_mode after the change.
func (i *Inode) newMode(a *SetAttr) uint16 {
	mode := i.record().Mode()
	if a.has(AttrMode) {
		mode = mode&disk.ModeType | a.Mode&^disk.ModeType
	}
	if a.KillPriv && !i.IsDir() {
		const groupExec = 0o010
		mode &^= disk.ModeSetuid
		if mode&groupExec != 0 {
			mode &^= disk.ModeSetgid
		}
	}
	return mode
}

// modeAttrs are the changes of extended attributes that go with those of mode
// and privileges.
func (i *Inode) modeAttrs(a *SetAttr, mode uint16) ([]*attrChange, error) {
	var list []*attrChange
	if a.has(AttrMode) {
		c, err := i.chmodACL(mode)
		if err != nil {
			return nil, err
		}
		if c != nil {
			list = append(list, c)
		}
	}
	if a.KillPriv && !i.IsDir() {
		const name = "capability"
		_, has, err := i.storedAttr(disk.XattrSecurity, name)
		if err != nil {
			return nil, err
		}
		if has {
			list = append(list, &attrChange{index: disk.XattrSecurity, name: []byte(name), remove: true, quiet: true})
		}
	}
	return list, nil
}

// newOwners are the ids that the inode is charged to after the change.
func (i *Inode) newOwners(a *SetAttr) quota.Owners {
	o := ownersOf(i.record())
	if a.has(AttrUID) {
		o.User = a.UID
	}
	if a.has(AttrGID) {
		o.Group = a.GID
	}
	if a.has(AttrProject) {
		o.Project = a.Project
	}
	return o
}

// attrsSetter is the change of the record.
func (i *Inode) attrsSetter(a *SetAttr, mode uint16) func(r disk.Inode) {
	now := i.fs.now()
	flags := i.newFlags(a)
	return func(r disk.Inode) {
		r.SetMode(mode)
		if a.has(AttrUID) {
			r.SetUID(a.UID)
		}
		if a.has(AttrGID) {
			r.SetGID(a.GID)
		}
		if a.has(AttrProject) {
			r.SetProject(a.Project)
		}
		r.SetFlags(flags)
		if a.has(AttrGeneration) {
			r.SetGeneration(a.Generation)
		}
		bump(r)
		if a.has(AttrVersion) {
			r.SetVersion(a.Version)
		}
		a.setTimes(r, now)
	}
}

func (a *SetAttr) setTimes(r disk.Inode, now time.Time) {
	switch {
	case a.has(AttrAtimeNow):
		r.SetAtime(now)
	case a.has(AttrAtime):
		r.SetAtime(a.Atime)
	}
	switch {
	case a.has(AttrMtimeNow):
		r.SetMtime(now)
	case a.has(AttrMtime):
		r.SetMtime(a.Mtime)
	}
	if a.has(AttrCrtime) {
		r.SetCrtime(a.Crtime)
	}
	if a.has(AttrCtime) {
		r.SetCtime(a.Ctime)
	} else {
		r.SetCtime(now)
	}
}

// afterAttrs forgets what was made with what has changed.
func (i *Inode) afterAttrs(a *SetAttr) {
	if a.has(AttrGeneration) {
		i.resetMap() // it knows the seed of checksums
	}
	if a.has(AttrGeneration | AttrFlags) {
		i.names.Store(nil)
	}
}
