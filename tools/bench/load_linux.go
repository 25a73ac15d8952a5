package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loadWord as first argument makes this program a load on a mount: the name of
// the load, the scale, the mount point and what was prepared follow. It prints
// what the load took, in nanoseconds.
const loadWord = "-load"

var mountScales = map[string]mountScale{"full": fullMount, "small": smallMount}

// loader is a load at work.
type loader struct {
	mountScale
	dir, aux string
}

func (l *loader) loads() map[string]func() error {
	return map[string]func() error{
		"seq-write":            func() error { return l.seqWrite(0, 1) },
		"seq-write-direct":     func() error { return l.seqWrite(unix.O_DIRECT, 4) },
		"seq-write-read":       func() error { return errors.Join(l.seqWrite(0, 1), l.seqRead(0, 1, 1)) },
		"seq-read":             func() error { return l.seqRead(0, 1, 1) },
		"seq-read-direct":      func() error { return l.seqRead(unix.O_DIRECT, 4, 1) },
		"seq-read-again":       func() error { return l.seqRead(0, 1, 6) },
		"rand-fill":            l.randFill,
		"rand-fill-read":       func() error { return errors.Join(l.randFill(), readFile(l.random_())) },
		"rand-read-warm":       func() error { return l.randRead(0, 1, l.reads) },
		"rand-read-1":          func() error { return l.randRead(0, 1, l.misses) },
		"rand-read-direct-1":   func() error { return l.randRead(unix.O_DIRECT, 1, l.misses) },
		"rand-read-direct-16":  func() error { return l.randRead(unix.O_DIRECT, 16, 4*l.misses) },
		"rand-write-1":         func() error { return l.randWrite(0, 1, l.misses) },
		"rand-write-direct-1":  func() error { return l.randWrite(unix.O_DIRECT, 1, l.misses) },
		"rand-write-direct-16": func() error { return l.randWrite(unix.O_DIRECT, 16, 4*l.misses) },
		"create":               l.create,
		"rename":               l.rename,
		"unlink":               l.unlink,
		"stat":                 func() error { return l.stat(l.names) },
		"stat-warm":            func() error { return l.stat(l.stats) },
		"open-warm":            l.openWarm,
		"readdir":              l.readdir,
		"fsync-1":              func() error { return l.fsync(1) },
		"fsync-16":             func() error { return l.fsync(16) },
		"untar":                l.untar,
		"untar-find":           func() error { return errors.Join(l.untar(), l.run("find", l.tree_(), "-ls")) },
		"du":                   func() error { return l.run("du", "-s", l.tree_()) },
		"find":                 func() error { return l.run("find", l.tree_(), "-ls") },
		"read-all":             l.readAll,
		"cp":                   func() error { return l.run("cp", "-a", l.tree_(), l.dir+"/copy") },
		"rm":                   func() error { return l.run("rm", "-rf", l.tree_()) },
		"git":                  l.git,
	}
}

func loadChild(args []string) int {
	if len(args) != 4 {
		return 2
	}
	l := &loader{mountScale: mountScales[args[1]], dir: args[2], aux: args[3]}
	f := l.loads()[args[0]]
	if f == nil {
		fmt.Fprintln(os.Stderr, "no load", args[0])
		return 2
	}
	began := time.Now()
	err := f()
	took := time.Since(began)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(took.Nanoseconds())
	return 0
}

func (l *loader) random_() string    { return l.dir + "/random" }
func (l *loader) tree_() string      { return l.dir + "/tree" }
func (l *loader) name(i int) string  { return fmt.Sprintf("%s/many/file-%06d", l.dir, i) }
func (l *loader) moved(i int) string { return fmt.Sprintf("%s/many/moved-%06d", l.dir, i) }

// run runs a program and drops what it prints.
func (l *loader) run(argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

const mib = 1 << 20

// alignedMemory is good for direct I/O.
func alignedMemory(n int) []byte {
	b := make([]byte, n+4096)
	skip := int(-uintptr(unsafe.Pointer(&b[0])) & 4095)
	return b[skip : skip+n]
}

// pieces calls f for n pieces from workers goroutines, each with memory of its
// own.
func pieces(workers, n, size int, f func(i int, p []byte) error) error {
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			p := alignedMemory(size)
			rand.Read(p)
			for i := w; i < n && errs[w] == nil; i += workers {
				errs[w] = f(i, p)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (l *loader) seqWrite(flags, workers int) error {
	f, err := os.OpenFile(l.dir+"/file", os.O_CREATE|os.O_WRONLY|flags, 0o644)
	if err != nil {
		return err
	}
	err = pieces(workers, int(l.file/mib), mib, func(i int, p []byte) error {
		_, err := f.WriteAt(p, int64(i)*mib)
		return err
	})
	return errors.Join(err, f.Sync(), f.Close())
}

func (l *loader) seqRead(flags, workers, times int) error {
	f, err := os.OpenFile(l.dir+"/file", os.O_RDONLY|flags, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	n := int(l.file / mib)
	return pieces(workers, n*times, mib, func(i int, p []byte) error {
		_, err := f.ReadAt(p, int64(i%n)*mib)
		return err
	})
}

func (l *loader) randFill() error {
	f, err := os.Create(l.random_())
	if err != nil {
		return err
	}
	err = pieces(1, int(l.random/mib), mib, func(_ int, p []byte) error {
		_, err := f.Write(p)
		return err
	})
	return errors.Join(err, f.Sync(), f.Close())
}

func (l *loader) randRead(flags, workers, n int) error {
	return l.at(os.O_RDONLY|flags, workers, n, func(f *os.File, p []byte, off int64) error {
		_, err := f.ReadAt(p, off)
		return err
	}, false)
}

func (l *loader) randWrite(flags, workers, n int) error {
	return l.at(os.O_WRONLY|flags, workers, n, func(f *os.File, p []byte, off int64) error {
		_, err := f.WriteAt(p, off)
		return err
	}, true)
}

// at does n accesses of 4 KiB at random places, and an fsync.
func (l *loader) at(flags, workers, n int, f func(*os.File, []byte, int64) error, sync bool) error {
	file, err := os.OpenFile(l.random_(), flags, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	order := mrand.New(mrand.NewPCG(1, 2)).Perm(int(l.random / 4096))
	err = pieces(workers, n, 4096, func(i int, p []byte) error {
		return f(file, p, int64(order[i%len(order)])*4096)
	})
	if sync && err == nil {
		err = file.Sync()
	}
	return err
}

func (l *loader) create() error {
	if err := os.Mkdir(l.dir+"/many", 0o755); err != nil {
		return err
	}
	for i := range l.names {
		fd, err := unix.Open(l.name(i), unix.O_CREAT|unix.O_WRONLY|unix.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		if err := unix.Close(fd); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) rename() error {
	for i := range l.names {
		if err := unix.Rename(l.name(i), l.moved(i)); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) unlink() error {
	for i := range l.names {
		if err := unix.Unlink(l.name(i)); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) stat(n int) error {
	var st unix.Stat_t
	for i := range n {
		if err := unix.Lstat(l.name(i%l.names), &st); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) openWarm() error {
	for i := range l.stats {
		fd, err := unix.Open(l.name(i%l.names), unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		unix.Close(fd)
	}
	return nil
}

func (l *loader) readdir() error {
	list, err := os.ReadDir(l.dir + "/many")
	if err == nil && len(list) != l.names {
		err = fmt.Errorf("%d names listed, not %d", len(list), l.names)
	}
	return err
}

// fsync writes 4 KiB and syncs, in a file for each worker.
func (l *loader) fsync(workers int) error {
	files := make([]*os.File, workers)
	for i := range files {
		f, err := os.Create(fmt.Sprintf("%s/log-%d", l.dir, i))
		if err != nil {
			return err
		}
		defer f.Close()
		files[i] = f
	}
	return pieces(workers, l.fsyncs*workers, 4096, func(i int, p []byte) error {
		f := files[i%workers]
		if _, err := f.Write(p); err != nil {
			return err
		}
		return f.Sync()
	})
}

func (l *loader) untar() error {
	if err := os.Mkdir(l.tree_(), 0o755); err != nil {
		return err
	}
	return l.run("tar", "-x", "-p", "-f", l.aux, "-C", l.tree_())
}

func (l *loader) readAll() error {
	return filepath.WalkDir(l.tree_(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		return readFile(path)
	})
}

// readFile reads a file and drops it.
func readFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 128<<10))
	return err
}

func (l *loader) git() error {
	if err := l.run("git", "clone", "-q", "--no-hardlinks", l.aux, l.dir+"/clone"); err != nil {
		return err
	}
	return l.run("git", "-C", l.dir+"/clone", "status", "--short")
}
