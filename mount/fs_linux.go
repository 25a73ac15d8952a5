//go:build !386

package mount

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// handler answers the operations of the protocol. Its methods run in parallel.
//
// Locks: those of the handler (a shard of the node table, the streams of a
// directory) are leaves. None is held while another is taken, or while ext4fs is
// called but to look at an inode's record, which takes no lock. ext4fs locks
// inodes itself; see its types live and node.
//
// The kernel does a part of the work, and relies on it: with default_permissions
// it checks permissions, ACLs included; it serialises changes of a directory, and
// of a file's size; with the write-back cache it keeps size and times of files,
// and tells them with SetAttr.
type handler struct {
	fuse.RawFileSystem // what is not answered below

	fsys  *ext4fs.FS
	o     *Options
	root  *node
	nodes nodeTable
	files atomic.Int64 // open file handles
	drops pageDropper
	// reserved is who may take the blocks reserved for root, beside him.
	reserved fuse.Owner
	policy   Errors
	noOpen   bool     // see Options.NoOpen; of what nobody can write to, nothing is lost by it
	checks   bool     // the kernel checks permissions
	acls     bool     // and knows ACLs
	kernel   Notifier // nil where no kernel listens
	// readOnly: nothing may be changed (any more).
	readOnly atomic.Bool
	// dead: errors=panic, or a shutdown was asked for.
	dead  atomic.Bool
	cause atomic.Pointer[error] // of readOnly or dead, where something happened
}

// newRaw makes the handler. A file system whose root cannot be read gives one
// that says so to everybody.
func newRaw(fsys *ext4fs.FS, o *Options) fuse.RawFileSystem {
	h := newHandler(fsys, o)
	if unchecked(fsys, o) {
		h.checks = false
		return privateHandler{h}
	}
	return h
}

func newHandler(fsys *ext4fs.FS, o *Options) *handler {
	h := &handler{RawFileSystem: fuse.NewDefaultRawFileSystem(), fsys: fsys, o: o, policy: o.Errors, drops: newPageDropper()}
	if h.policy == ErrorsDefault {
		h.policy = superPolicy(fsys.Super())
	}
	h.readOnly.Store(o.ReadOnly || !fsys.Writable())
	h.reserved = reservedFor(fsys.Super(), o)
	h.noOpen = o.NoOpen || h.readOnly.Load()
	h.checks = o.DefaultPermissions.or(!o.FakeRoot)
	h.nodes.opens = h.noOpen
	root, err := fsys.Root()
	if err != nil {
		h.die(fmt.Errorf("root directory: %w", err))
		root = new(ext4fs.Inode)
	}
	h.root = &node{ino: root}
	return h
}

// TimeGran is the grain of times in nanoseconds: small inodes keep seconds.
func (h *handler) TimeGran() uint32 {
	if h.fsys.Super().InodeSize() <= disk.InodeBaseSize {
		return 1e9
	}
	return 1
}

// WantCaps says what the options ask of the kernel. ACLs have it check
// permissions, which is not to be where everybody may do everything.
func (h *handler) WantCaps() (want, refuse uint64) {
	if !h.checks {
		refuse |= fuse.CAP_POSIX_ACL
	}
	if h.o.IDMap && h.checks { // otherwise the kernel ends the connection
		want |= fuse.CAP_ALLOW_IDMAP
	}
	if h.readOnly.Load() {
		// There is nothing to write back; but with it the kernel asks for the
		// attributes again after each close.
		refuse |= fuse.CAP_WRITEBACK_CACHE
	}
	return want, refuse
}

// Negotiated says what was agreed on with the kernel.
func (h *handler) Negotiated(caps uint64) {
	// With its write-back cache the kernel keeps the times of files, and brings
	// them with SetAttr.
	h.fsys.LeaveTimes(caps&fuse.CAP_WRITEBACK_CACHE != 0)
	h.acls = caps&fuse.CAP_POSIX_ACL != 0
}

// OnUnmount ends what Negotiated began, and stores what has waited. The kernel
// does not forget what it knows one by one then.
func (h *handler) OnUnmount() {
	h.drops.behind.Wait()
	h.fsys.LeaveTimes(false)
	for _, n := range append(h.nodes.all(), h.root) {
		h.storeAtime(n)
	}
}

// Bound gives the way to tell the kernel something.
func (h *handler) Bound(n Notifier) { h.kernel = n }

// Census counts the inodes that the kernel knows, the root among them, and the
// file handles that it holds. Directories have none.
func (h *handler) Census() (nodes, handles int) {
	return int(h.nodes.count.Load()) + 1, int(h.files.Load())
}

// superPolicy is what the superblock says about damage.
func superPolicy(s *disk.Superblock) Errors {
	switch s.Errors {
	case 2:
		return ErrorsRemountRO
	case 3:
		return ErrorsPanic
	}
	return ErrorsContinue
}

// String names the file system.
func (h *handler) String() string { return "e4kit" }

// die makes everything fail from now on.
func (h *handler) die(err error) {
	h.cause.CompareAndSwap(nil, &err)
	h.dead.Store(true)
}

// Err is why nothing can be changed, or done, any more; nil where that is no
// accident.
func (h *handler) Err() error {
	if p := h.cause.Load(); p != nil {
		return *p
	}
	return nil
}

// fail turns an error into its number, and does what damage calls for.
func (h *handler) fail(err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	n := errno(err)
	if (n == errnoCorrupt || n == errnoChecksum) && isDamage(err) {
		switch h.policy {
		case ErrorsRemountRO:
			cause := err // err itself would be on the heap whenever this is called
			h.cause.CompareAndSwap(nil, &cause)
			h.readOnly.Store(true)
		case ErrorsPanic:
			h.die(err)
		}
	}
	return fuse.Status(n)
}

// alive says why nothing is answered.
func (h *handler) alive() error {
	if h.dead.Load() {
		return syscall.EIO
	}
	return nil
}

// mayChange says why nothing can be changed.
func (h *handler) mayChange() error {
	if h.dead.Load() {
		return syscall.EIO
	}
	if h.readOnly.Load() {
		return ext4fs.ErrReadOnly
	}
	return nil
}

// known is the node of an id, where the file system is alive.
func (h *handler) known(id uint64) (*node, error) {
	if err := h.alive(); err != nil {
		return nil, err
	}
	return h.node(id)
}

// changing is known for what is going to be changed.
func (h *handler) changing(id uint64) (*node, error) {
	if err := h.mayChange(); err != nil {
		return nil, err
	}
	return h.node(id)
}

// checkName refuses names that no directory takes. The protocol bounds them at
// 1024 bytes only.
func checkName(name string) error {
	if len(name) > disk.MaxNameLen {
		return ext4fs.ErrNameLong
	}
	if name == "" || name == "/" {
		return ext4fs.ErrInvalid
	}
	return nil
}

// durable makes changes of names durable, where the mount asks for it.
func (h *handler) durable(list ...*ext4fs.Inode) error {
	if !h.o.Sync && !h.o.DirSync {
		return nil
	}
	for _, i := range list {
		if err := i.Fsync(context.Background(), false); err != nil {
			return err
		}
	}
	return nil
}

// Lookup tells the kernel what a name leads to.
func (h *handler) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if len(name) > disk.MaxNameLen {
		return fuse.Status(syscall.ENAMETOOLONG)
	}
	if name == "." || name == ".." {
		return h.fail(h.lookupHandle(in.NodeId, name, out))
	}
	dir, err := h.known(in.NodeId)
	if err != nil {
		return h.fail(err)
	}
	child, err := dir.ino.Child(name)
	if err != nil {
		if errors.Is(err, ext4fs.ErrNotExist) && !folds(dir.ino) && dir.ino.IsDir() {
			out.EntryValid = forever // node 0: there is none, and that stays so
			return fuse.OK
		}
		return h.fail(err)
	}
	return h.fail(h.enter(dir.ino, child, out))
}

// lookupHandle serves file handles (open_by_handle_at, NFS): "." asks for an
// inode by number, which the kernel may not have been told of, ".." for what is
// above a directory.
func (h *handler) lookupHandle(id uint64, name string, out *fuse.EntryOut) error {
	if err := h.alive(); err != nil {
		return err
	}
	var i *ext4fs.Inode
	n, err := h.node(id)
	if err == nil {
		i = n.ino
	} else if i, err = h.byNumber(swapRoot(id)); err != nil {
		return err
	}
	if name == ".." {
		if i, err = i.Child(".."); err != nil {
			return err
		}
	}
	return h.enter(nil, i, out)
}

// byNumber is an inode in use that users can see.
func (h *handler) byNumber(n uint64) (*ext4fs.Inode, error) {
	if n > 1<<32-1 || n != uint64(disk.RootInode) && n < uint64(h.fsys.Super().FirstInode) {
		return nil, syscall.ESTALE
	}
	i, err := h.fsys.Inode(disk.InodeNum(n))
	if err != nil {
		return nil, err
	}
	if r := i.Raw(); r.Links() == 0 || r.Mode() == 0 || r.Flags().Has(disk.FlagEAInode) {
		return nil, syscall.ESTALE
	}
	return i, nil
}

// Forget takes back what the kernel was told.
func (h *handler) Forget(id, lookups uint64) {
	if id == 1 {
		return
	}
	n := h.nodes.forget(id, lookups)
	if n == nil {
		return
	}
	h.storeAtime(n)
	h.nodes.let(n.ino)
}

// GetAttr answers stat(2).
func (h *handler) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	n, err := h.node(in.NodeId)
	if err != nil {
		return h.fail(err)
	}
	if st := n.loss(in); st != fuse.OK {
		return st
	}
	h.fillAttr(n, out)
	return fuse.OK
}

// Access is asked without default_permissions only: all who get so far may do
// everything, as root.
func (h *handler) Access(_ <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	n, err := h.known(in.NodeId)
	if err == nil {
		err = access(n.ino.Raw(), in.Mask)
	}
	return h.fail(err)
}

// Readlink answers readlink(2).
func (h *handler) Readlink(_ <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	n, err := h.known(in.NodeId)
	if err != nil {
		return nil, h.fail(err)
	}
	target, err := n.ino.Readlink()
	if err != nil {
		return nil, h.fail(err)
	}
	h.accessed(n)
	return []byte(target), fuse.OK
}

// StatFs answers statfs(2).
func (h *handler) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	sp, err := h.fsys.Space()
	if err != nil {
		return h.fail(err)
	}
	out.Blocks = sp.Blocks
	if h.o.MinixDF {
		out.Blocks += sp.Overhead
	}
	out.Bfree, out.Bavail = sp.Free, sp.Available
	out.Files, out.Ffree = sp.Inodes, sp.InodesFree
	out.Bsize, out.Frsize = uint32(sp.BlockSize), uint32(sp.BlockSize)
	out.NameLen = disk.MaxNameLen
	return fuse.OK
}

// The kernel keeps locks itself: nobody else uses the image.

func (h *handler) GetLk(<-chan struct{}, *fuse.LkIn, *fuse.LkOut) fuse.Status { return fuse.ENOSYS }
func (h *handler) SetLk(<-chan struct{}, *fuse.LkIn) fuse.Status              { return fuse.ENOSYS }
func (h *handler) SetLkw(<-chan struct{}, *fuse.LkIn) fuse.Status             { return fuse.ENOSYS }
