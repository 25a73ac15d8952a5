package extract

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

const (
	// batchSize is how many names make a task: enough to sort inodes by place,
	// few enough to share a large directory.
	batchSize = 512
	// maxWaiting bounds the stack: beyond it a worker goes on by itself.
	maxWaiting = 1 << 14
	// maxDepth bounds nesting, far beyond what a path can name.
	maxDepth = 8192
)

// worker takes tasks until there are none.
type worker struct {
	ctx context.Context
	job *Job
	o   *Options
	buf []byte
	win window // what buf holds of the image, when it holds small files
	// rest is what follows in the batch at work.
	rest []entry
}

func newWorker(ctx context.Context, j *Job) *worker {
	return &worker{ctx: ctx, job: j, o: &j.o, buf: make([]byte, bufferSize)}
}

func (w *worker) run() {
	for {
		t, ok := w.job.queue.pop()
		if !ok {
			return
		}
		w.task(t)
		w.job.queue.end()
	}
}

// task does a task, or only puts things away when the job is cancelled.
func (w *worker) task(t task) {
	defer w.release(t.dir)
	if w.ctx.Err() != nil {
		return
	}
	switch {
	case t.list:
		w.list(t.dir)
	case t.sub != nil:
		w.subdirectory(t.dir, t.sub)
	default:
		w.batch(t.dir, t.entries)
	}
}

// list streams a directory's names into tasks.
func (w *worker) list(n *node) {
	var entries []entry
	failed := false
	for e, err := range n.inode.Entries() {
		if w.ctx.Err() != nil {
			return
		}
		if err != nil {
			if !failed {
				w.job.fail(n.source(), err)
			}
			failed = true
			continue
		}
		if ext4fs.IsDots(e) {
			continue
		}
		entries = append(entries, entry{name: string(e.Name), num: e.Inode, kind: e.Type})
		if len(entries) == batchSize {
			w.share(n, entries)
			entries = nil
		}
	}
	w.batch(n, entries)
}

// share leaves a batch to whoever has time, this worker included when there
// is enough to do already.
func (w *worker) share(n *node, entries []entry) {
	if w.job.queue.length() >= 2*w.o.Workers {
		w.batch(n, entries)
		return
	}
	n.pending.Add(1)
	w.job.queue.push(task{dir: n, entries: entries})
}

// batch copies entries in the order of their inodes. Directories go on the
// stack.
func (w *worker) batch(n *node, entries []entry) {
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.num, b.num) })
	for i := range entries {
		if w.ctx.Err() != nil {
			return
		}
		e := &entries[i]
		w.rest = entries[i+1:]
		if e.kind == disk.FileTypeDir {
			w.descend(n, e)
			continue
		}
		w.copy(n, e)
		e.inode = nil
	}
}

// descend puts a directory on the stack.
func (w *worker) descend(n *node, e *entry) {
	n.pending.Add(1)
	t := task{dir: n, sub: &entry{name: e.name, num: e.num, label: e.label, inode: e.inode}}
	if w.job.queue.length() < maxWaiting {
		w.job.queue.push(t)
		return
	}
	w.task(t)
}

// copy copies one entry.
func (w *worker) copy(n *node, e *entry) {
	if err := checkName(e.name); err != nil {
		w.job.failEntry(n, e, err)
		return
	}
	inode := e.inode
	if inode == nil {
		var err error
		if inode, err = w.job.fs.Inode(e.num); err != nil {
			w.job.failEntry(n, e, err)
			return
		}
	}
	if inode.IsSymlink() && w.o.Follow {
		var err error
		if inode, err = w.follow(n, e); err != nil {
			w.job.failEntry(n, e, err)
			return
		}
		e.num, e.inode = inode.Number(), inode
	}
	var err error
	switch inode.Raw().Mode() & disk.ModeType {
	case disk.ModeDir:
		e.inode = inode
		w.descend(n, e)
		return
	case disk.ModeRegular:
		err = w.regular(n, e, inode)
	case disk.ModeSymlink:
		err = w.symlink(n, e, inode)
	case disk.ModeChar, disk.ModeBlock, disk.ModeFIFO, disk.ModeSocket:
		err = w.special(n, e, inode)
	default:
		err = &disk.CorruptError{What: "inode", Inode: e.num, Detail: fmt.Sprintf("mode 0%o has no type", inode.Raw().Mode())}
	}
	if err != nil && w.ctx.Err() == nil {
		w.job.failEntry(n, e, err)
	}
}

// follow finds what a symbolic link leads to.
func (w *worker) follow(n *node, e *entry) (*ext4fs.Inode, error) {
	path := e.source(n)
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("a link below an inode number cannot be followed: %w", ext4fs.ErrInvalid)
	}
	return w.job.fs.Lookup(path)
}

// checkName refuses names that are more than one plain element on this host.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return ErrName
	}
	if runtime.GOOS != "linux" && (strings.ContainsRune(name, filepath.Separator) || !filepath.IsLocal(name)) {
		return ErrName
	}
	return nil
}

// release ends a task's hold on its directory. The last one finishes it.
func (w *worker) release(n *node) {
	if n.pending.Add(-1) > 0 {
		return
	}
	if w.ctx.Err() == nil && n.inode != nil {
		if err := w.finishDir(n); err != nil {
			w.job.fail(n.source(), err)
		}
	}
	if !n.base {
		n.host.close()
	}
}
