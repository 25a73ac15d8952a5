package testimages

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// load does random operations on a mounted tree: it remembers which files and
// folders it made, and each step changes one of them.
type load struct {
	top   string
	rng   *rand.Rand
	files []string
	dirs  []string
	open  []*os.File // kept open after they were removed
	next  int
	count int // steps done
}

func newLoad(top string, seed uint64) *load {
	return &load{top: top, rng: rand.New(rand.NewPCG(seed, 0xe4)), dirs: []string{top}}
}

// close closes what steps left open.
func (l *load) close() error {
	var err error
	for _, f := range l.open {
		err = errors.Join(err, f.Close())
	}
	l.open = nil
	return err
}

// step does one operation. Running out of space, and a file system that lacks
// the operation, are part of the game.
func (l *load) step() error {
	l.count++
	ops := []struct {
		weight int
		do     func() error
	}{
		{22, l.create}, {18, l.write}, {6, l.truncate}, {12, l.remove}, {6, l.mkdir}, {3, l.removeDir},
		{8, l.rename}, {4, l.link}, {4, l.symlink}, {6, l.xattr}, {4, l.attrs}, {4, l.preallocate}, {2, l.removeOpen}, {1, l.swap},
	}
	total := 0
	for _, o := range ops {
		total += o.weight
	}
	pick := l.rng.IntN(total)
	for _, o := range ops {
		if pick -= o.weight; pick < 0 {
			err := o.do()
			if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EMLINK) || lacks(err) {
				return nil
			}
			return err
		}
	}
	return nil
}

// name makes up a path in a random folder; names differ in length.
func (l *load) name() string {
	l.next++
	pad := ""
	if l.rng.IntN(6) == 0 {
		pad = fmt.Sprintf("-%0*d", 1+l.rng.IntN(200), 0)
	}
	return fmt.Sprintf("%s/n%d%s", l.dirs[l.rng.IntN(len(l.dirs))], l.next, pad)
}

// file picks one, "" if there is none.
func (l *load) file() string {
	if len(l.files) == 0 {
		return ""
	}
	return l.files[l.rng.IntN(len(l.files))]
}

// size picks mostly small sizes.
func (l *load) size() int {
	switch l.rng.IntN(10) {
	case 0:
		return l.rng.IntN(200_000)
	case 1, 2, 3:
		return l.rng.IntN(20_000)
	}
	return l.rng.IntN(3000)
}

// content is random, but some of it begins with the journal's magic number,
// which a journal of data must escape.
func (l *load) content(n int) []byte {
	b := Content(l.rng.Uint64(), n)
	for off := 0; off+4 <= n; off += 1024 {
		if l.rng.IntN(8) == 0 {
			copy(b[off:], "\xc0\x3b\x39\x98")
		}
	}
	return b
}

func (l *load) create() error {
	p := l.name()
	err := os.WriteFile(p, l.content(l.size()), 0o644)
	if _, serr := os.Lstat(p); serr == nil {
		l.files = append(l.files, p)
	}
	return err
}

// edit opens a random file for fn.
func (l *load) edit(fn func(f *os.File) error) error {
	p := l.file()
	if p == "" {
		return nil
	}
	f, err := os.OpenFile(p, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		if errors.Is(err, unix.ELOOP) {
			return nil // a symlink of ours
		}
		return err
	}
	defer f.Close()
	return fn(f)
}

func (l *load) write() error {
	return l.edit(func(f *os.File) error {
		off := int64(l.rng.IntN(300_000))
		if fi, err := f.Stat(); err == nil && l.rng.IntN(2) == 0 {
			off = fi.Size()
		}
		_, err := f.WriteAt(l.content(l.size()), off)
		return err
	})
}

func (l *load) truncate() error {
	return l.edit(func(f *os.File) error { return f.Truncate(int64(l.rng.IntN(100_000))) })
}

func (l *load) preallocate() error {
	modes := []uint32{0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_ZERO_RANGE}
	return l.edit(func(f *os.File) error {
		return unix.Fallocate(int(f.Fd()), modes[l.rng.IntN(len(modes))], int64(l.rng.IntN(100))*1024, int64(1+l.rng.IntN(60))*1024)
	})
}

// take removes a random file from the list and returns it.
func (l *load) take() string {
	if len(l.files) == 0 {
		return ""
	}
	i := l.rng.IntN(len(l.files))
	p := l.files[i]
	l.files[i] = l.files[len(l.files)-1]
	l.files = l.files[:len(l.files)-1]
	return p
}

func (l *load) remove() error {
	if p := l.take(); p != "" {
		return os.Remove(p)
	}
	return nil
}

// removeOpen leaves a file that only a descriptor holds: an orphan.
func (l *load) removeOpen() error {
	p := l.take()
	if p == "" {
		return nil
	}
	f, err := os.OpenFile(p, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err == nil && len(l.open) < 20 {
		l.open = append(l.open, f)
	} else if err == nil {
		f.Close()
	}
	return os.Remove(p)
}

func (l *load) mkdir() error {
	p := l.name()
	if err := os.Mkdir(p, 0o755); err != nil {
		return err
	}
	l.dirs = append(l.dirs, p)
	return nil
}

// removeDir removes a folder with all it holds.
func (l *load) removeDir() error {
	if len(l.dirs) < 6 {
		return nil
	}
	p := l.dirs[1+l.rng.IntN(len(l.dirs)-1)]
	gone := func(x string) bool { return x == p || len(x) > len(p) && x[:len(p)+1] == p+"/" }
	l.files = keep(l.files, gone)
	l.dirs = keep(l.dirs, gone)
	return os.RemoveAll(p)
}

// keep returns the elements that are not gone.
func keep(list []string, gone func(string) bool) []string {
	out := list[:0]
	for _, x := range list {
		if !gone(x) {
			out = append(out, x)
		}
	}
	return out
}

func (l *load) rename() error {
	p := l.take()
	if p == "" {
		return nil
	}
	to := l.name()
	if len(l.files) > 0 && l.rng.IntN(3) == 0 {
		to = l.take() // replaces it
	}
	if err := os.Rename(p, to); err != nil {
		l.files = append(l.files, p)
		if _, serr := os.Lstat(to); serr == nil {
			l.files = append(l.files, to)
		}
		return err
	}
	if _, err := os.Lstat(p); err == nil { // two links to one file: rename does nothing
		l.files = append(l.files, p)
	}
	l.files = append(l.files, to)
	return nil
}

// swap exchanges two files.
func (l *load) swap() error {
	a, b := l.file(), l.file()
	if a == b {
		return nil
	}
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}

func (l *load) link() error {
	p := l.file()
	if p == "" {
		return nil
	}
	to := l.name()
	if err := os.Link(p, to); err != nil {
		return err
	}
	l.files = append(l.files, to)
	return nil
}

func (l *load) symlink() error {
	p := l.name()
	target := filepath.Clean(fmt.Sprintf("../%0*d", 1+l.rng.IntN(150), l.next))
	if err := os.Symlink(target, p); err != nil {
		return err
	}
	l.files = append(l.files, p)
	return nil
}

func (l *load) xattr() error {
	p := l.file()
	if p == "" {
		return nil
	}
	name := fmt.Sprintf("trusted.k%d", l.rng.IntN(4))
	if l.rng.IntN(4) == 0 {
		if err := unix.Lremovexattr(p, name); !errors.Is(err, unix.ENODATA) {
			return err
		}
		return nil
	}
	return unix.Lsetxattr(p, name, l.content(l.rng.IntN(300)), 0)
}

func (l *load) attrs() error {
	p := l.file()
	if p == "" {
		return nil
	}
	if err := os.Lchown(p, l.rng.IntN(100_000), l.rng.IntN(100_000)); err != nil {
		return err
	}
	t := time.Unix(l.rng.Int64N(1<<33), l.rng.Int64N(1e9))
	return setTimes(p, t, t)
}
