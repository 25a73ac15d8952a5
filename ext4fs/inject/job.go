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
	// maxReaders bounds the goroutines that read ahead.
	maxReaders = 8
)

// errStopped ends a walk whose writer has given up.
var errStopped = errors.New("stopped")

// walker produces items in the order in which they are written.
type walker struct {
	ctx   context.Context
	o     *Options
	fs    *ext4fs.FS
	items chan *item // to the writer, in order
	work  chan *item // to the readers
}

// emit hands an item to the writer, and to a reader first if it is to be
// loaded.
func (w *walker) emit(it *item) error {
	if it.load != nil {
		it.ready = make(chan struct{})
		select {
		case w.work <- it:
		case <-w.ctx.Done():
			return errStopped
		}
	}
	select {
	case w.items <- it:
		return nil
	case <-w.ctx.Done():
		return errStopped
	}
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
		items: make(chan *item, inFlight), work: make(chan *item, inFlight),
	}
	var group sync.WaitGroup
	var walkErr error
	group.Go(func() {
		defer close(w.items)
		defer close(w.work)
		for _, task := range j.tasks {
			if walkErr = task(w); walkErr != nil {
				return
			}
		}
	})
	for range min(runtime.GOMAXPROCS(0), maxReaders) {
		group.Go(func() {
			for it := range w.work {
				if work.Err() == nil {
					it.load(it)
				}
				close(it.ready)
			}
		})
	}
	err := j.write(ctx, w.items)
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
func (j *Job) write(ctx context.Context, items <-chan *item) error {
	for it := range items {
		if it.ready != nil {
			<-it.ready
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := j.w.write(ctx, it); err != nil {
			return err
		}
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
