package inject

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
)

// smallFile is the largest content that goes with the creation of its file.
const smallFile = 128 << 10

// writer puts items into the file system, one after the other.
type writer struct {
	fs  *ext4fs.FS
	o   *Options
	tar bool // what is in the way of a member goes, as tar has it

	links  map[any]linked
	result Result
	done   int64 // bytes of the file that is being written
	// replaced counts names that led to something else before.
	replaced int
}

// linked is an inode that gets more names.
type linked struct {
	num  disk.InodeNum
	left int
}

// write makes one item. An error ends the job; what concerns one file only is
// told and counted.
func (w *writer) write(ctx context.Context, it *item) error {
	if it.ends {
		return w.told(it.up, w.finish(it.up))
	}
	for _, err := range it.warned {
		w.warn(it.path, err)
	}
	if it.up != nil && it.up.lost {
		it.lost = true
		return nil
	}
	if it.err != nil {
		it.lost = true
		return w.told(it, it.err)
	}
	w.settle(it)
	w.done = 0
	skipped, err := w.make(ctx, it)
	if err != nil {
		it.lost = true
		return w.told(it, err)
	}
	if skipped {
		w.result.Skipped++
		return nil
	}
	w.result.Files++
	if it.isDir() && !it.fresh && !w.o.DryRun {
		return nil
	}
	if w.o.Done != nil {
		w.o.Done(it.path, it.dest)
	}
	w.progress(it.path)
	return nil
}

// told reports an error of one file, and returns one that ends the job.
func (w *writer) told(it *item, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	w.result.Failed++
	if w.o.Error != nil {
		w.o.Error(it.path, err)
	}
	if fatal(w.fs, err) && !w.o.DryRun {
		return &stopError{err}
	}
	return nil
}

// stopError ends a job. Options.Error has been told of it.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }
func (e *stopError) Unwrap() error { return e.err }

func (w *writer) warn(path string, err error) {
	if w.o.Warn != nil {
		w.o.Warn(path, err)
	}
}

func (w *writer) progress(path string) {
	if w.o.Progress != nil {
		w.o.Progress(ProgressInfo{w.result.Files, w.result.Bytes + w.done, path})
	}
}

// settle says where the item goes.
func (w *writer) settle(it *item) {
	if it.up == nil {
		it.dest, it.name = it.place.Path, it.place.Name
		return
	}
	it.dest = joinPath(it.up.dest, it.name)
}

func (it *item) dir() *ext4fs.Inode {
	if it.up != nil {
		return it.up.inode
	}
	return it.place.Dir
}

// make makes the item's inode and name, or reports that the one that is there
// was left.
func (w *writer) make(ctx context.Context, it *item) (skipped bool, err error) {
	if err := w.mayMake(it); err != nil {
		return false, err
	}
	dir := it.dir()
	if it.name == "" {
		it.inode = dir
		return false, nil
	}
	if w.o.DryRun {
		return w.pretend(dir, it)
	}
	if it.isDir() {
		return false, w.makeDir(dir, it)
	}
	if w.o.Links && it.link != nil {
		if at, ok := w.links[it.link]; ok {
			if skipped, err = w.makeLink(dir, it, at); !errors.Is(err, ext4fs.ErrLinks) {
				return skipped, err
			}
			delete(w.links, it.link) // the file is copied again
		}
	}
	return w.makeFile(ctx, dir, it)
}

func (w *writer) mayMake(it *item) error {
	switch it.kind() {
	case disk.ModeRegular, disk.ModeDir, disk.ModeSymlink, disk.ModeFIFO, disk.ModeSocket:
		return nil
	case disk.ModeChar, disk.ModeBlock:
		if !w.o.Devices {
			return ErrDevice
		}
		return nil
	}
	return ErrType
}

// pretend looks what is there and changes nothing.
func (w *writer) pretend(dir *ext4fs.Inode, it *item) (bool, error) {
	if dir == nil { // it would be made
		return false, nil
	}
	old, err := w.child(dir, it.name)
	switch {
	case errors.Is(err, ext4fs.ErrNotExist):
		it.fresh = true
		return false, nil
	case err != nil:
		return false, err
	case it.isDir() && old.IsDir():
		it.inode = old
		return false, nil
	}
	return w.mayReplace(old, it)
}

func (w *writer) child(dir *ext4fs.Inode, name string) (*ext4fs.Inode, error) {
	num, err := dir.Lookup(name)
	if err != nil {
		return nil, err
	}
	return w.fs.Inode(num)
}

// mayReplace judges what is in the way of something that is no directory.
func (w *writer) mayReplace(old *ext4fs.Inode, it *item) (skip bool, err error) {
	switch {
	case it.same == old:
		return false, ErrSame
	case w.o.Existing == Skip:
		return true, nil
	case w.o.Existing == Fail:
		return false, ext4fs.ErrExist
	case w.o.Existing == Update && !it.mtime.After(old.Stat().Mtime):
		return true, nil
	case old.IsDir() && it.isDir():
		return false, nil
	case old.IsDir():
		return false, ErrOverwriteDir
	case it.isDir():
		return false, ErrOverwriteFile
	}
	return false, nil
}

// makeDir makes the directory, or takes the one that is there.
func (w *writer) makeDir(dir *ext4fs.Inode, it *item) error {
	n, err := w.node(dir, it)
	if err != nil {
		return err
	}
	i, err := w.create(dir, it, n)
	if err == nil {
		it.inode, it.fresh = i, true
		return nil
	}
	if !errors.Is(err, ext4fs.ErrExist) {
		return err
	}
	old, err := w.child(dir, it.name)
	if err != nil {
		return err
	}
	if old.IsDir() {
		it.inode = old
		return nil
	}
	if !w.tar {
		return ErrOverwriteFile
	}
	if w.o.Existing != Replace {
		return ext4fs.ErrExist
	}
	w.replaced++
	if err := dir.Unlink(it.name); err != nil {
		return err
	}
	it.inode, err = w.create(dir, it, n)
	it.fresh = err == nil
	return err
}

// makeLink gives an inode of this job another name.
func (w *writer) makeLink(dir *ext4fs.Inode, it *item, at linked) (bool, error) {
	i, err := w.fs.Inode(at.num)
	if err != nil {
		return false, err
	}
	if at.left--; at.left > 0 {
		w.links[it.link] = at
	} else {
		delete(w.links, it.link)
	}
	return w.linkTo(dir, it, i)
}

func (w *writer) linkTo(dir *ext4fs.Inode, it *item, i *ext4fs.Inode) (bool, error) {
	err := dir.Link(it.name, i)
	if !errors.Is(err, ext4fs.ErrExist) {
		return false, err
	}
	old, err := w.child(dir, it.name)
	if err != nil || old == i {
		return false, err
	}
	if skip, err := w.clear(dir, old, it); skip || err != nil {
		return skip, err
	}
	return false, dir.LinkReplace(it.name, i)
}

// clear is mayReplace, but an empty directory goes where tar wants that.
func (w *writer) clear(dir, old *ext4fs.Inode, it *item) (bool, error) {
	w.replaced++
	skip, err := w.mayReplace(old, it)
	if !errors.Is(err, ErrOverwriteDir) || !w.tar {
		return skip, err
	}
	if e := dir.Rmdir(it.name); e != nil {
		return false, fmt.Errorf("%w: %w", err, e)
	}
	return false, nil
}

// makeFile makes what is no directory. Small things get their name at once,
// where it is free.
func (w *writer) makeFile(ctx context.Context, dir *ext4fs.Inode, it *item) (bool, error) {
	n, err := w.node(dir, it)
	if err != nil {
		return false, err
	}
	if it.data == nil && it.body != nil && it.size <= smallFile {
		data, ok, err := it.body.bytes(smallFile)
		if err != nil {
			return false, err
		}
		if ok {
			it.data, it.body = data, nil
		}
	}
	n.Content = it.data
	if it.body == nil {
		i, err := w.create(dir, it, n)
		if err == nil {
			return false, w.made(it, i)
		}
		if !errors.Is(err, ext4fs.ErrExist) {
			return false, err
		}
	}
	return w.makeAside(ctx, dir, it, n)
}

// makeAside makes a file without a name, and links it when it is whole.
func (w *writer) makeAside(ctx context.Context, dir *ext4fs.Inode, it *item, n *ext4fs.NewNode) (skip bool, err error) {
	old, err := w.child(dir, it.name)
	switch {
	case err == nil:
		if skip, err = w.clear(dir, old, it); skip || err != nil {
			return skip, err
		}
		if err := w.takeOver(old, it, n); err != nil {
			return false, err
		}
	case !errors.Is(err, ext4fs.ErrNotExist):
		return false, err
	}
	i, err := w.createUnnamed(dir, it, n)
	if err != nil {
		return false, err
	}
	// What has no name is gone after this.
	defer func() { err = errors.Join(err, i.Release()) }()
	if it.body != nil {
		if err := it.body.writeTo(ctx, w, i); err != nil {
			return false, err
		}
		if err := w.setTimes(i, it); err != nil {
			return false, err
		}
	}
	if err := dir.LinkReplace(it.name, i); err != nil {
		return false, err
	}
	return false, w.made(it, i)
}

// made notes what was made.
func (w *writer) made(it *item, i *ext4fs.Inode) error {
	it.inode = i
	w.result.Bytes += max(w.done, int64(len(it.data)))
	w.done, it.data, it.body = 0, nil, nil
	if w.o.Links && it.link != nil && it.names > 1 {
		if w.links == nil {
			w.links = make(map[any]linked)
		}
		w.links[it.link] = linked{i.Number(), it.names - 1}
	}
	return nil
}

// create makes a named inode; createUnnamed one without a name. Attributes for
// which there is no room are errors of their own: the file is made without.
func (w *writer) create(dir *ext4fs.Inode, it *item, n *ext4fs.NewNode) (*ext4fs.Inode, error) {
	return w.withAttrs(it, n, func() (*ext4fs.Inode, error) { return dir.Create(it.name, n) })
}

func (w *writer) createUnnamed(dir *ext4fs.Inode, it *item, n *ext4fs.NewNode) (*ext4fs.Inode, error) {
	i, err := w.withAttrs(it, n, func() (*ext4fs.Inode, error) { return dir.Tmpfile(n) })
	if err != nil && i != nil {
		err = errors.Join(err, i.Release())
	}
	return i, err
}

func (w *writer) withAttrs(it *item, n *ext4fs.NewNode, create func() (*ext4fs.Inode, error)) (*ext4fs.Inode, error) {
	i, err := create()
	if err == nil {
		return i, w.correct(i, n)
	}
	if len(n.Xattrs) == 0 || errors.Is(err, ext4fs.ErrExist) || !w.fs.Writable() {
		return i, err
	}
	all := n.Xattrs
	n.Xattrs, n.Mode = nil, withoutACL(n.Mode, all)
	i, again := create()
	if again != nil {
		return nil, err // it was not the attributes
	}
	if err := w.correct(i, n); err != nil {
		return i, err
	}
	for _, x := range all {
		if err := i.SetXattr(x.Name, x.Value, 0); err != nil {
			w.result.Failed++
			if w.o.Error != nil {
				w.o.Error(it.path, fmt.Errorf("attribute %s: %w", x.Name, err))
			}
		}
	}
	return i, nil
}

// mode is the mode of the copy.
func (w *writer) mode(it *item) uint16 {
	if w.o.ACLs {
		return it.mode
	}
	return it.withoutACL()
}

// node says what the new inode is like.
func (w *writer) node(dir *ext4fs.Inode, it *item) (*ext4fs.NewNode, error) {
	n := &ext4fs.NewNode{Mode: w.mode(it), Major: it.major, Minor: it.minor, Target: it.target}
	if !w.o.Mode {
		n.Mode &= disk.ModeType | disk.ModePerm
		n.Umask = ext4fs.DefaultUmask
	}
	if w.o.Owner {
		n.UID, n.GID = it.uid, it.gid
	}
	w.override(n)
	if w.o.Times {
		n.Atime, n.Mtime = it.atime, it.mtime
	}
	n.Xattrs = w.wanted(it)
	if !w.o.Mode && !w.o.ACLs || it.kind() == disk.ModeSymlink {
		return n, nil
	}
	inherits, err := w.inherits(dir, it.up)
	if err == nil && inherits {
		n.Xattrs = explicitACLs(n.Xattrs, n.Mode)
	}
	return n, err
}

// override applies SetOwner and Chmod.
func (w *writer) override(n *ext4fs.NewNode) {
	if s := w.o.SetOwner; s != nil {
		if s.UID >= 0 {
			n.UID = uint32(s.UID)
		}
		if s.GID >= 0 {
			n.GID = uint32(s.GID)
		}
	}
	if w.o.Chmod != nil && n.Mode&disk.ModeType != disk.ModeSymlink {
		kind := n.Mode & disk.ModeType
		n.Mode = w.o.Chmod(n.Mode&^n.Umask)&^disk.ModeType | kind
		n.Umask = 0
	}
}

// wanted are the attributes that the inode is made with: a directory gets its
// default ACL when it is full, since what it holds would inherit it.
func (w *writer) wanted(it *item) []ext4fs.Xattr {
	var list []ext4fs.Xattr
	for _, x := range it.xattrs {
		if x.Name == nameDefault || isACL(x.Name) && !w.o.ACLs || !isACL(x.Name) && !w.o.Xattrs {
			continue
		}
		if !keepable(x.Name, it.kind()) {
			w.warn(it.path, fmt.Errorf("attribute %s is not kept", x.Name))
			continue
		}
		list = append(list, x)
	}
	return list
}

// inherits reports whether the directory gives its ACL to what is made in it.
func (w *writer) inherits(dir *ext4fs.Inode, known *item) (bool, error) {
	if known != nil && known.acl != aclUnknown {
		return known.acl == aclDefault, nil
	}
	has := aclDefault
	if _, err := dir.Xattr(nameDefault); errors.Is(err, ext4fs.ErrNoAttr) {
		has = aclNone
	} else if err != nil {
		return false, err
	}
	if known != nil {
		known.acl = has
	}
	return has == aclDefault, nil
}

// explicitACLs makes sure that nothing is inherited.
func explicitACLs(list []ext4fs.Xattr, mode uint16) []ext4fs.Xattr {
	access := false
	for _, x := range list {
		access = access || x.Name == nameAccess
	}
	if !access {
		value := disk.EncodeCallACL(xattr.ModeACL(disk.FileMode(mode)))
		list = append(list, ext4fs.Xattr{Name: nameAccess, Value: value})
	}
	if mode&disk.ModeType == disk.ModeDir {
		list = append(list, ext4fs.Xattr{Name: nameDefault})
	}
	return list
}

// takeOver gives the new file what the old one of that name has and the source
// does not decide.
func (w *writer) takeOver(old *ext4fs.Inode, it *item, n *ext4fs.NewNode) error {
	if !old.IsRegular() || it.kind() != disk.ModeRegular || w.tar {
		return nil
	}
	st := old.Stat()
	if !w.o.Mode {
		n.Mode, n.Umask = st.RawMode, 0
	}
	if !w.o.Owner {
		n.UID, n.GID = st.UID, st.GID
	}
	w.override(n)
	list, err := old.Xattrs()
	if err != nil {
		return err
	}
	for _, x := range list {
		keep := !w.o.Xattrs && x.Name != "security.capability"
		if isACL(x.Name) {
			keep = !w.o.ACLs && !w.o.Mode && w.o.Chmod == nil
		}
		if keep {
			n.Xattrs = append(n.Xattrs, x)
		}
	}
	return nil
}

// shortError is that of a source that ended early.
func shortError(at int64) error {
	return fmt.Errorf("at byte %d: %w", at, io.ErrUnexpectedEOF)
}
