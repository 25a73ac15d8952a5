package testimages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// lockFile takes an exclusive lock, waiting for it, and returns its release.
func lockFile(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { f.Close() }, nil
}

// Evict writes the file back and takes it out of the page cache.
func Evict(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// pool is a stock of bytes from which bulk content is cut.
var pool = sync.OnceValue(func() []byte { return Content(4, 16*mib) })

// bulk returns n bytes that start with a number of their own; the slice is
// valid until the next call with the same buffer.
func bulk(buf *[]byte, id uint64, n int) []byte {
	p := pool()
	if n > len(*buf) {
		*buf = make([]byte, n)
	}
	b := (*buf)[:n]
	from := int(id*7919) % (len(p) / 2)
	for done := 0; done < n; done += copy(b[done:], p[from:]) {
	}
	if n >= 8 {
		binary.LittleEndian.PutUint64(b, id|1<<63)
	}
	return b
}

// fillRoot makes folders of some tens of names: files of a log-normal size, a
// tenth symlinks, some hard links.
func fillRoot(dir string) error {
	const names = 57_000
	rng := rand.New(rand.NewPCG(1, 57))
	dirs, files := []string{dir}, []string{}
	var buf []byte
	var total int64
	for i := range names {
		parent := dirs[max(0, len(dirs)-1-rng.IntN(min(len(dirs), 40)))]
		name := fmt.Sprintf("%s/%s%d", parent, demoWords[rng.IntN(len(demoWords))], i)
		var err error
		switch k := rng.IntN(100); {
		case k < 9:
			if len(name)-len(dir) < 200 {
				dirs = append(dirs, name)
				err = os.Mkdir(name, 0o755)
			}
		case k < 19:
			err = os.Symlink(fmt.Sprintf("../%s%d", demoWords[rng.IntN(len(demoWords))], rng.IntN(names)), name)
		case k < 21 && len(files) > 0:
			err = os.Link(files[rng.IntN(len(files))], name)
		default:
			n := min(int(2600*math.Exp(2.15*rng.NormFloat64())), 40<<20)
			total += int64(n)
			files = append(files, name)
			err = os.WriteFile(name, bulk(&buf, uint64(i), n), 0o644)
		}
		if err != nil {
			return err
		}
	}
	if total < gib*8/10 || total > gib*13/10 {
		return fmt.Errorf("%d bytes of files, 1 GiB wanted", total)
	}
	return nil
}

func fillSmall(dir string) error {
	rng := rand.New(rand.NewPCG(2, 57))
	return manyFiles(dir+"/files", 100_000, 100, func() int { return rng.IntN(16<<10 + 1) })
}

func fillSparse(dir string) error {
	rng := rand.New(rand.NewPCG(3, 57))
	return manyFiles(dir+"/files", 300_000, 200, func() int { return rng.IntN(6 << 10) })
}

// manyFiles makes n files, perDir in each folder.
func manyFiles(dir string, n, perDir int, size func() int) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	var buf []byte
	sub := ""
	for i := range n {
		if i%perDir == 0 {
			sub = fmt.Sprintf("%s/%04d", dir, i/perDir)
			if err := os.Mkdir(sub, 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(fmt.Sprintf("%s/file-%d", sub, i), bulk(&buf, uint64(i), size()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func fillFile(dir string) error { return writeFile(dir+"/file", gib) }

// writeFile writes n bytes from the start of the file.
func writeFile(path string, n int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	var buf []byte
	const piece = 4 * mib
	for off := int64(0); off < n; off += piece {
		if _, err := f.WriteAt(bulk(&buf, uint64(off), piece), off); err != nil {
			return err
		}
	}
	return f.Sync()
}

// fillExtents reserves pieces of 16 KiB for two files in turn, writes the one
// and removes the other: no two pieces that follow each other in the file are
// neighbours on the disk.
func fillExtents(dir string) error {
	const size, piece = 2 * gib, 16 << 10
	a, err := os.Create(dir + "/file")
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := os.Create(dir + "/between")
	if err != nil {
		return err
	}
	defer b.Close()
	for off := int64(0); off < size; off += piece {
		for _, f := range []*os.File{a, b} {
			if err := unix.Fallocate(int(f.Fd()), 0, off, piece); err != nil {
				return err
			}
		}
	}
	if err := writeFile(dir+"/file", size); err != nil {
		return err
	}
	return os.Remove(dir + "/between")
}

func fillDirectory(dir string) error {
	if err := os.Mkdir(dir+"/names", 0o755); err != nil {
		return err
	}
	fd, err := unix.Open(dir+"/names", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for i := range 200_000 {
		if err := unix.Mknodat(fd, fmt.Sprintf("name-%06d.%s", i, demoWords[i%len(demoWords)]), unix.S_IFREG|0o644, 0); err != nil {
			return err
		}
	}
	return nil
}
