package inject

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/host"
)

// Job copies files and trees into one file system. It is used once, by one
// goroutine.
type Job struct {
	w     writer
	tasks []func(*walker) error
}

// New makes a job that writes to fsys.
func New(fsys *ext4fs.FS, o Options) *Job {
	return &Job{w: writer{fs: fsys, o: &o}}
}

// AddHost adds a file or a tree of the host. follow says whether path itself
// may be a symbolic link to it; what is below is up to Options.Follow.
func (j *Job) AddHost(path string, follow bool, to Place) {
	j.tasks = append(j.tasks, func(w *walker) error { return w.host(path, follow, to) })
}

// AddImage adds a file or a tree of a file system, which may be the one that is
// written to. path is where Options.Follow starts; in messages label is put
// before it.
func (j *Job) AddImage(src *ext4fs.Inode, label, path string, to Place) {
	j.tasks = append(j.tasks, func(w *walker) error { return w.image(src, label, path, to) })
}

// AddReader adds a regular file with what r has. size is how much that will
// be, negative if that is not known. path is for messages.
func (j *Job) AddReader(r io.Reader, size int64, path string, to Place) {
	j.tasks = append(j.tasks, func(w *walker) error {
		it := &item{
			place: to, path: path, mode: disk.ModeRegular | 0o666, size: max(size, 0), mtime: time.Now(), atime: time.Now(),
			body: &streamBody{r: r, size: size},
		}
		if size < 0 {
			it.size = smallFile + 1
		}
		return w.emit(it)
	})
}

const (
	// inFlight bounds the items between the walk and the writer; small files
	// are in memory there.
	inFlight = 192
	// batchItems is how many of them go from hand to hand at once.
	batchItems = 16
	// maxReaders bounds the goroutines that read ahead.
	maxReaders = 8
)

// errStopped ends a walk whose writer has given up.
var errStopped = errors.New("stopped")

// walker produces items in the order in which they are written.
type walker struct {
	ctx     context.Context
	o       *Options
	fs      *ext4fs.FS
	next    *batch      // what was emitted and not handed on
	batches chan *batch // to the writer, in order
	work    chan *batch // to the readers
}

// batch is a row of items, which one reader loads.
type batch struct {
	items []*item
	ready chan struct{} // closed when all are loaded
	mem   memory        // what they have as data
}

// load loads the items.
func (b *batch) load() {
	for _, it := range b.items {
		if it.load != nil {
			it.load(it, &b.mem)
			it.load = nil
		}
	}
}

// emit hands an item to a reader, if it is to be loaded, and to the writer.
func (w *walker) emit(it *item) error {
	if w.next == nil {
		w.next = &batch{items: make([]*item, 0, batchItems), ready: make(chan struct{})}
	}
	w.next.items = append(w.next.items, it)
	if len(w.next.items) == batchItems {
		return w.flush()
	}
	return nil
}

// flush hands on what was emitted.
func (w *walker) flush() error {
	b := w.next
	if b == nil {
		return nil
	}
	w.next = nil
	for _, to := range []chan *batch{w.work, w.batches} {
		select {
		case to <- b:
		case <-w.ctx.Done():
			return errStopped
		}
	}
	return nil
}

// end marks that all that is in a directory was emitted.
func (w *walker) end(dir *item) error { return w.emit(&item{up: dir, ends: true}) }

// Run copies what was added. The error is that of ctx, or the one that made
// going on senseless (no space left, a read-only file system), which
// Options.Error was told of; other errors concern single files and are counted
// in Result.Failed. Whatever Run returns, what Result counts as copied is there
// and whole; Sync or Close make it durable.
func (j *Job) Run(ctx context.Context) (Result, error) {
	work, stop := context.WithCancel(ctx)
	w := &walker{
		ctx: work, o: j.w.o, fs: j.w.fs,
		batches: make(chan *batch, inFlight/batchItems), work: make(chan *batch, inFlight/batchItems),
	}
	var group sync.WaitGroup
	var walkErr error
	group.Go(func() {
		defer close(w.batches)
		defer close(w.work)
		for _, task := range j.tasks {
			if walkErr = task(w); walkErr != nil {
				return
			}
		}
		walkErr = w.flush()
	})
	for range min(runtime.GOMAXPROCS(0), maxReaders) {
		group.Go(func() {
			for b := range w.work {
				if work.Err() == nil {
					b.load()
				}
				close(b.ready)
			}
		})
	}
	err := j.write(ctx, w.batches)
	stop()
	group.Wait()
	if err == nil && !errors.Is(walkErr, errStopped) {
		err = walkErr
	}
	if err == nil {
		err = ctx.Err()
	}
	return j.w.result, err
}

// write writes items until there are none, or something ends the job.
func (j *Job) write(ctx context.Context, batches <-chan *batch) error {
	for b := range batches {
		<-b.ready
		for _, it := range b.items {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := j.w.write(ctx, it); err != nil {
				return err
			}
		}
		b.mem.free()
	}
	return nil
}

// below reports whether dir is top or below it.
func below(dir, top *ext4fs.Inode) (bool, error) {
	const maxUp = 1 << 16
	for range maxUp {
		if dir.Number() == top.Number() {
			return true, nil
		}
		if dir.Number() == disk.RootInode {
			return false, nil
		}
		num, err := dir.Lookup("..")
		if err != nil {
			return false, err
		}
		if dir, err = dir.FS().Inode(num); err != nil {
			return false, err
		}
	}
	return false, &disk.CorruptError{What: "directory", Inode: dir.Number(), Detail: "'..' leads nowhere"}
}

// leaves reports whether a host file is not to be copied.
func (w *walker) leaves(info fs.FileInfo) bool {
	for _, l := range w.o.Leave {
		if os.SameFile(l, info) {
			return true
		}
	}
	return false
}

// leavesID is leaves of a file of which only that is known.
func (w *walker) leavesID(id host.ID) bool {
	for _, l := range w.o.Leave {
		if is, ok := host.IDOf(l); ok && is == id {
			return true
		}
	}
	return false
}
