package extract

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Job copies files and trees of one file system. It is used once.
type Job struct {
	fs    *ext4fs.FS
	o     Options
	items []Item

	queue queue
	links linkTable
	host  hostIdentity

	files, bytes atomic.Int64
	noClone      atomic.Bool // the host cannot share blocks with the image
	stop         context.CancelCauseFunc

	mu        sync.Mutex // guards what follows and the calls of callbacks
	failed    int64
	warned    bool
	reporting sync.Mutex // held while Progress is called
}

// hostIdentity is what the host gives to new files.
type hostIdentity struct {
	uid, gid uint32
	umask    uint16
}

// New prepares a job.
func New(fsys *ext4fs.FS, o Options) *Job {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	j := &Job{fs: fsys, o: o}
	j.queue.init()
	j.links.init()
	return j
}

// Add adds something to copy.
func (j *Job) Add(it Item) { j.items = append(j.items, it) }

// Run copies everything. What goes wrong with single files is told to
// Options.Error and counted. The error returned is the context's, that of an
// Item.Dir that cannot be used, or that the host is full, which ends the job.
func (j *Job) Run(parent context.Context) (Result, error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	j.stop = cancel
	j.host = hostIdentity{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid()), umask: currentUmask()}
	var bases []*node
	defer func() {
		for _, n := range bases {
			n.host.close()
		}
	}()
	for _, it := range j.items {
		base, err := j.start(it)
		if err != nil {
			return j.result(), err
		}
		bases = append(bases, base)
	}
	var workers sync.WaitGroup
	for range j.o.Workers {
		w := newWorker(ctx, j)
		workers.Go(w.run)
	}
	workers.Wait()
	if err := parent.Err(); err != nil {
		return j.result(), err
	}
	return j.result(), context.Cause(ctx)
}

func (j *Job) result() Result {
	return Result{Files: j.files.Load(), Bytes: j.bytes.Load(), Failed: j.failed}
}

// start opens an item's directory and puts its first task on the stack.
func (j *Job) start(it Item) (*node, error) {
	host, err := openHost(it.Dir)
	if err != nil {
		return nil, err
	}
	info, err := host.info()
	if err != nil {
		host.close()
		return nil, err
	}
	base := &node{host: host, dest: it.Dir, path: parentPath(it.Path), base: true, acl: info.defaultACL}
	base.gid = j.host.gid
	if info.mode&0o2000 != 0 {
		base.gid, base.setgid = info.gid, true
	}
	base.pending.Store(1)
	if it.Name == "" {
		base.path, base.inode = it.Path, it.Inode
		j.queue.push(task{dir: base, list: true})
		return base, nil
	}
	e := entry{name: it.Name, num: it.Inode.Number(), label: it.Path, inode: it.Inode}
	j.queue.push(task{dir: base, entries: []entry{e}})
	return base, nil
}

func parentPath(p string) string {
	p = strings.TrimRight(p, "/")
	if i := strings.LastIndexByte(p, '/'); i > 0 {
		return p[:i]
	}
	return "/"
}

// node is a directory that is being filled.
type node struct {
	up     *node
	name   string
	host   hostDir
	inode  *ext4fs.Inode // whose attributes it gets; nil: none
	path   string        // in the image; "" is up's and name
	dest   string        // on the host; "" is up's and name
	base   bool          // named by the caller; closed by Run
	fresh  bool          // made by this job
	made   made          // what the host gave it
	gid    uint32        // what new files in it get
	setgid bool          // new directories in it are setgid
	acl    bool          // it has a default ACL
	depth  int

	// pending counts the tasks that may still make entries in it.
	pending atomic.Int32
}

// source is the path in the image.
func (n *node) source() string {
	at, names := n.above(func(n *node) string { return n.path })
	return joinSlash(at, names)
}

// target is the path on the host.
func (n *node) target() string {
	at, names := n.above(func(n *node) string { return n.dest })
	return filepath.Join(at, names)
}

// above returns the path of the nearest node that has one of its own, and the
// names below it. Paths are put together only when somebody wants to see them.
func (n *node) above(own func(*node) string) (at, names string) {
	var list []string
	for n.up != nil && own(n) == "" {
		list = append(list, n.name)
		n = n.up
	}
	slices.Reverse(list)
	return own(n), strings.Join(list, "/")
}

func joinSlash(dir, name string) string {
	if name == "" {
		return dir
	}
	if strings.HasSuffix(dir, "/") {
		return dir + name
	}
	return dir + "/" + name
}

// entry is one name to copy into a node.
type entry struct {
	name  string
	num   disk.InodeNum
	kind  uint8
	label string        // the path in the image where that is not the node's and name
	inode *ext4fs.Inode // where it was read already
}

func (e *entry) source(n *node) string {
	if e.label != "" {
		return e.label
	}
	return joinSlash(n.source(), e.name)
}

// fail tells of a file that could not be copied whole.
func (j *Job) fail(path string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failed++
	if j.o.Error != nil {
		j.o.Error(path, err)
	}
}

// failEntry is fail for an entry of n. Errors of the host say where on the
// host, and a full one ends the job.
func (j *Job) failEntry(n *node, e *entry, err error) {
	if errno, ok := err.(syscall.Errno); ok {
		err = &fs.PathError{Op: "write", Path: filepath.Join(n.target(), e.name), Err: errno}
	}
	if isFull(err) {
		j.stop(err)
		return
	}
	j.fail(e.source(n), err)
}

// warnOnce tells of the first loss that the options allow.
func (j *Job) warnOnce(path string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.warned && j.o.Warn != nil {
		j.o.Warn(path, err)
	}
	j.warned = true
}

// done counts a file that was copied.
func (j *Job) done(n *node, e *entry) {
	files := j.files.Add(1)
	if j.o.Done != nil {
		j.mu.Lock()
		j.o.Done(e.source(n), filepath.Join(n.target(), e.name))
		j.mu.Unlock()
	}
	if j.o.Progress != nil {
		j.progress(n, files)
	}
}

// wrote counts content.
func (j *Job) wrote(n *node, count int64) {
	j.bytes.Add(count)
	if j.o.Progress != nil && count >= pieceSize {
		j.progress(n, j.files.Load())
	}
}

// progress calls the callback, unless another worker is just doing so.
func (j *Job) progress(n *node, files int64) {
	if !j.reporting.TryLock() {
		return
	}
	defer j.reporting.Unlock()
	j.o.Progress(ProgressInfo{Files: files, Bytes: j.bytes.Load(), Path: n.source()})
}
