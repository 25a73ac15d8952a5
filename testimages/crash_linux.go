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

// Crash is an image as a power cut under load leaves it.
type Crash struct {
	Seed    uint64
	Path    string
	Journal string // file of the external journal, "" if the journal is inside
	How     string // mke2fs arguments, mount options, steps: what the seed chose
	Dirty   bool   // the superblock says that recovery is needed
	// Tree is what the kernel shows after its own recovery.
	Tree Manifest
}

// CrashImage makes the image number seed in the folder dir: a small file
// system of random features is mounted, put under a random load and stopped at
// a random moment, so that nothing more reaches it. The kernel then recovers a
// copy, which yields the tree. Equal seeds give alike images, not equal ones:
// the kernel's timing has a hand in them. One takes about an eighth of a
// second.
//
// Now and then Linux 6.18 cannot recover what it wrote itself: with fast
// commits in a small journal one in a hundred images does not mount ("journal
// bmap failed"). No judge, no image: another one of the same number is made.
func CrashImage(dir string, seed uint64) (Crash, error) {
	var c Crash
	var err error
	for attempt := range uint64(4) {
		c, err = newCrashPlan(seed | attempt<<60).run(dir)
		c.Seed = seed
		if err == nil || !errors.Is(err, errNotRecovered) {
			break
		}
	}
	if err != nil {
		return c, fmt.Errorf("crash image %d (%s): %w", seed, c.How, err)
	}
	return c, nil
}

var errNotRecovered = errors.New("the kernel does not recover it")

// crashPlan is what a seed stands for.
type crashPlan struct {
	seed     uint64
	mkfs     []string
	opts     string
	steps    int
	syncs    int // one fsync or sync per that many steps on average
	flush    bool
	external bool
}

func newCrashPlan(seed uint64) crashPlan {
	rng := rand.New(rand.NewPCG(seed, 77))
	p := crashPlan{seed: seed, steps: 20 + rng.IntN(1200), syncs: 8 + rng.IntN(50), flush: rng.IntN(3) == 0}
	bs := []string{"1024", "1024", "2048", "4096"}[rng.IntN(4)]
	p.mkfs = []string{"-b", bs, "-N", "2000"}
	var features []string
	csum := rng.IntN(3) > 0
	if !csum {
		features = append(features, "^metadata_csum")
	}
	if rng.IntN(3) == 0 {
		features = append(features, "^64bit")
	}
	for _, f := range []string{"orphan_file", "inline_data", "ea_inode", "fast_commit"} {
		if rng.IntN(4) == 0 {
			features = append(features, f)
		}
	}
	if len(features) > 0 {
		p.mkfs = append(p.mkfs, "-O", strings.Join(features, ","))
	}
	if p.external = bs == "4096" && rng.IntN(4) == 0; !p.external {
		// The smallest journal wraps around soonest.
		blocks := map[string]string{"1024": "1", "2048": "2", "4096": "4"}[bs]
		p.mkfs = append(p.mkfs, "-J", "size="+blocks)
	}
	opts := []string{"data=" + []string{"ordered", "ordered", "journal", "writeback"}[rng.IntN(4)]}
	if !csum && rng.IntN(2) == 0 {
		opts = append(opts, "journal_checksum")
	}
	if !strings.Contains(opts[0], "ordered") && rng.IntN(3) == 0 {
		opts = append(opts, "journal_async_commit")
	}
	if rng.IntN(3) == 0 {
		opts = append(opts, "nodelalloc")
	}
	p.opts = strings.Join(opts, ",")
	return p
}

func (p crashPlan) run(dir string) (Crash, error) {
	c := Crash{Path: filepath.Join(dir, fmt.Sprintf("crash%x.img", p.seed))}
	c.How = fmt.Sprintf("mke2fs %s; mount -o %s; %d steps, a sync in %d, flush %v, external journal %v",
		strings.Join(p.mkfs, " "), p.opts, p.steps, p.syncs, p.flush, p.external)
	b := &builder{c: Case{Size: 16 * mib, Mkfs: p.mkfs, ExternalJournal: p.external}, dir: dir, img: c.Path}
	if p.external {
		c.Journal = JournalOf(c.Path)
	}
	if err := b.crash(p.opts, p.work); err != nil {
		return c, err
	}
	err := b.judge(&c)
	return c, err
}

// judge has the kernel recover a copy of the crashed image and notes its tree.
func (b *builder) judge(c *Crash) (err error) {
	if c.Dirty, err = NeedsRecovery(c.Path); err != nil {
		return err
	}
	if c.Tree, _, err = b.kernelView(); err != nil {
		return fmt.Errorf("%w: %w", errNotRecovered, err)
	}
	return nil
}

// work puts the mounted tree under load, then cuts the power.
func (p crashPlan) work(dir string) error {
	l := newLoad(dir, p.seed)
	for range p.steps {
		if err := l.step(); err != nil {
			return errors.Join(err, l.close())
		}
		if l.rng.IntN(p.syncs) == 0 {
			if err := l.sync(); err != nil {
				return errors.Join(err, l.close())
			}
		}
	}
	cut := Shutdown
	if p.flush {
		cut = ShutdownFlushed
	}
	return errors.Join(cut(dir), l.close())
}

// sync makes a random file durable, or everything.
func (l *load) sync() error {
	if l.rng.IntN(3) == 0 {
		d, err := os.Open(l.top)
		if err != nil {
			return err
		}
		defer d.Close()
		return unix.Syncfs(int(d.Fd()))
	}
	err := l.edit(func(f *os.File) error { return f.Sync() })
	return err
}

// crash makes the file system, mounts it and runs work, which stops it. The
// image is then trusted for a mount: what is wrong with it, its own journal
// mends.
func (b *builder) crash(opts string, work func(dir string) error) error {
	mkfs := b.mkfs
	if b.c.ExternalJournal {
		mkfs = func(...string) error { return b.mkfsExternal() }
	}
	if err := mkfs(); err != nil {
		return err
	}
	if err := b.mounted(b.img, opts, work); err != nil {
		return err
	}
	trust(b.img)
	return nil
}

// dirty makes an image whose journal holds several transactions, some with
// revokes.
func dirty(b *builder) error {
	return b.crash("data=journal", crashPlan{seed: 5, steps: 700, syncs: 20, flush: true}.work)
}

func dirtyExternal(b *builder) error {
	return b.crash("", crashPlan{seed: 6, steps: 300, syncs: 20, flush: true}.work)
}

// dirtyFastCommit commits once and then fsyncs single files, which go to the
// fast-commit area.
func dirtyFastCommit(b *builder) error {
	return b.crash("", func(dir string) error {
		f := &filler{top: dir, o: Fill{}.withDefaults()}
		f.mkdir("d")
		for i := range 10 {
			f.file(fmt.Sprintf("d/before%d", i), 5000)
		}
		if f.err != nil {
			return f.err
		}
		// Not sync(2), which waits for every file system of the machine.
		if err := (&load{top: dir}).syncAll(); err != nil {
			return err
		}
		for i := range 20 {
			name := fmt.Sprintf("d/after%d", i)
			f.file(name, int64(i)*700)
			if i%5 == 4 {
				f.link(name, name+"-link")
				f.fail(name, os.Remove(f.path(fmt.Sprintf("d/before%d", i/5))))
			}
			f.with(name, func(h *os.File) error { return h.Sync() })
		}
		if f.err != nil {
			return f.err
		}
		return Shutdown(dir)
	})
}
