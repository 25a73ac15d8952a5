package testimages

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// FastCrashImage is [CrashImage] for the fast-commit area: the journal is large
// enough for one, and after a full commit the load fsyncs much and does only
// what fast commits can record, so that most images end in fast commits. Linux
// 6.18 cannot replay some of what it wrote, such as an inode without links; those
// are made again.
func FastCrashImage(dir string, seed uint64) (Crash, error) {
	var c Crash
	var err error
	for attempt := range uint64(16) {
		c, err = newFastCrashPlan(seed | attempt<<60).run(dir)
		c.Seed = seed
		if err == nil || !errors.Is(err, errNotRecovered) {
			break
		}
	}
	if err != nil {
		return c, fmt.Errorf("fast-commit crash image %d (%s): %w", seed, c.How, err)
	}
	return c, nil
}

// fastCrashPlan is what a seed stands for.
type fastCrashPlan struct {
	seed          uint64
	mkfs          []string
	opts          string
	before, after int // steps before and after the full commit
	syncs         int // one fsync per that many steps on average
}

func newFastCrashPlan(seed uint64) fastCrashPlan {
	rng := rand.New(rand.NewPCG(seed, 78))
	p := fastCrashPlan{seed: seed, before: rng.IntN(250), after: 5 + rng.IntN(90), syncs: 1 + rng.IntN(5)}
	bs := []string{"1024", "2048", "4096"}[rng.IntN(3)]
	features := []string{"fast_commit"}
	// Never without extents: Linux 6.18 logs the blocks of plain block maps too,
	// and hits a BUG at their replay, in ext4_split_extent_at. The mount never
	// ends then, and sync(2) hangs for the whole machine until it is rebooted.
	for _, f := range []string{"^metadata_csum", "^64bit", "inline_data", "orphan_file", "^dir_index"} {
		if rng.IntN(5) == 0 {
			features = append(features, f)
		}
	}
	p.mkfs = []string{"-b", bs, "-N", "2000", "-J", "size=8", "-O", strings.Join(features, ",")}
	p.opts = "commit=600,data=" + []string{"ordered", "writeback"}[rng.IntN(2)]
	if rng.IntN(3) == 0 {
		p.opts += ",nodelalloc"
	}
	return p
}

func (p fastCrashPlan) run(dir string) (Crash, error) {
	c := Crash{Path: filepath.Join(dir, fmt.Sprintf("fast%x.img", p.seed))}
	c.How = fmt.Sprintf("mke2fs %s; mount -o %s; %d steps, sync, %d steps, an fsync in %d",
		strings.Join(p.mkfs, " "), p.opts, p.before, p.after, p.syncs)
	b := &builder{c: Case{Size: 32 * mib, Mkfs: p.mkfs}, dir: dir, img: c.Path}
	if err := b.crash(p.opts, p.work); err != nil {
		return c, err
	}
	err := b.judge(&c)
	return c, err
}

// work does a load of any kind, commits it whole, and goes on with what fast
// commits know.
func (p fastCrashPlan) work(dir string) error {
	l := newLoad(dir, p.seed)
	for range p.before {
		if err := l.step(); err != nil {
			return errors.Join(err, l.close())
		}
	}
	if err := l.syncAll(); err != nil {
		return errors.Join(err, l.close())
	}
	for range p.after {
		if err := l.fastStep(); err != nil {
			return errors.Join(err, l.close())
		}
		if l.rng.IntN(p.syncs) == 0 {
			if err := l.fastSync(); err != nil {
				return errors.Join(err, l.close())
			}
		}
	}
	return errors.Join(Shutdown(dir), l.close())
}

func (l *load) syncAll() error {
	d, err := os.Open(l.top)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}

// fastSync changes a file and makes it durable, and everything before it: to
// sync a file that did not change since the last commit does nothing.
func (l *load) fastSync() error {
	return l.edit(func(f *os.File) error {
		if err := f.Chmod(os.FileMode(0o600 + l.rng.IntN(0o100))); err != nil {
			return err
		}
		return f.Sync()
	})
}

// fastStep does one operation. Most are of the kind that a fast commit can
// record; inodes that are neither file nor folder are not, and end in a full
// commit.
func (l *load) fastStep() error {
	l.count++
	ops := []func() error{
		l.create, l.create, l.create, l.write, l.write, l.write, l.truncate, l.remove, l.remove, l.mkdir, l.removeHeld,
		l.rename, l.rename, l.link, l.attrs, l.preallocate, l.preallocate, l.tmpfile,
	}
	do := ops[l.rng.IntN(len(ops))]
	switch l.rng.IntN(200) {
	case 0:
		do = l.symlink
	case 1:
		do = l.removeOpen
	}
	err := do()
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EMLINK) || lacks(err) {
		return nil
	}
	return err
}

// tmpfile makes a file without a name, which then gets one.
func (l *load) tmpfile() error {
	fd, err := unix.Open(l.dirs[l.rng.IntN(len(l.dirs))], unix.O_TMPFILE|unix.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "tmpfile")
	defer f.Close()
	if _, err := f.Write(l.content(l.size())); err != nil {
		return err
	}
	to := l.name()
	if err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, to, unix.AT_SYMLINK_FOLLOW); err != nil {
		return err
	}
	l.files = append(l.files, to)
	return nil
}

// removeHeld removes a folder whose inode then cannot be used again: Linux's
// replay leaves a new file in its place with the folder's old block, and with
// whatever the replay did to that.
func (l *load) removeHeld() error {
	for _, dir := range l.dirs {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		l.open = append(l.open, f)
	}
	return l.removeDir()
}
