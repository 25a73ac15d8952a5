package ext4fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/journal"
)

// stressCases are kinds of images that differ in what the writers share.
var stressCases = []struct {
	name string
	size int64
	opts Options
	mkfs []string
}{
	{"1k", 24 << 20, Options{CommitInterval: 20 * time.Millisecond}, []string{"-b", "1024", "-J", "size=1", "-N", "4000"}},
	{"features", 48 << 20, Options{Discard: true, EnforceQuotas: true},
		[]string{"-O", "inline_data,ea_inode,orphan_file,quota,project,large_dir", "-I", "512", "-J", "size=4"}},
	{"bigalloc", 48 << 20, Options{DataMode: DataJournal, CacheBytes: 1 << 20}, []string{"-O", "bigalloc", "-C", "16384", "-J", "size=4"}},
	{"nojournal", 16 << 20, Options{CommitInterval: 10 * time.Millisecond}, []string{"-O", "^has_journal,ea_inode", "-b", "1024"}},
	{"full", 3 << 20, Options{CommitInterval: 50 * time.Millisecond}, []string{"-b", "1024", "-J", "size=1", "-N", "256", "-m", "0"}},
}

// mixedErrors may come up where everybody changes everything, beside
// stressErrors.
var mixedErrors = append([]error{
	syscall.ENOSPC, syscall.EDQUOT, syscall.EMLINK, syscall.EOPNOTSUPP, journal.ErrHeld, io.EOF,
	ErrNoData, ErrNoAttr, ErrNotFile, syscall.EXDEV,
}, stressErrors...)

// mixer is one goroutine of the stress test.
type mixer struct {
	t    *testing.T
	f    *FS
	rng  *rand.Rand
	own  *Inode // nobody else writes to it
	want []byte
	name string
}

// TestStress does all kinds of operations at the same time, on files of one's
// own and on those of others.
func TestStress(t *testing.T) {
	for _, c := range stressCases {
		t.Run(c.name, func(t *testing.T) {
			dev := formatRAM(t, c.size, c.mkfs...)
			opts := c.opts
			opts.Write = true
			f, err := Open(dev, &opts)
			if err != nil {
				t.Fatal(err)
			}
			last := 2 * time.Second
			if testing.Short() {
				last = 300 * time.Millisecond
			}
			stress(t, f, time.Now().Add(last))
			closeWrite(t, f)
			fsckDevice(t, dev)
		})
	}
}

func stress(t *testing.T, f *FS, end time.Time) {
	t.Helper()
	const workers = 12
	var group sync.WaitGroup
	for n := range workers {
		m := &mixer{t: t, f: f, rng: rand.New(rand.NewPCG(uint64(n), 77)), name: fmt.Sprintf("own%d", n)}
		group.Go(func() {
			if err := m.begin(); err != nil {
				if !m.known(err) {
					t.Error(err)
				}
				return
			}
			for time.Now().Before(end) && !t.Failed() {
				if what, err := m.step(); err != nil && !m.known(err) {
					t.Errorf("%s: %v", what, err)
					return
				}
			}
			if err := m.own.Release(); err != nil && !m.known(err) {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func (m *mixer) known(err error) bool {
	for _, e := range mixedErrors {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (m *mixer) begin() error {
	root, err := m.f.Root()
	if err != nil {
		return err
	}
	if m.own, err = root.Create(m.name, &NewNode{Mode: 0o644}); err != nil {
		return err
	}
	m.own.Hold()
	return nil
}

// path is a name that all use.
func (m *mixer) path() string {
	p := string(rune('a' + m.rng.IntN(4)))
	for m.rng.IntN(3) > 0 {
		p += "/" + string(rune('a'+m.rng.IntN(4)))
	}
	return p
}

func (m *mixer) step() (string, error) {
	ops := []struct {
		name string
		op   func() error
	}{
		{"names", func() error { return stressStep(m.f, m.rng) }},
		{"names", func() error { return stressStep(m.f, m.rng) }},
		{"own", m.changeOwn}, {"own", m.changeOwn},
		{"shared", m.changeShared},
		{"attrs", m.changeAttrs},
		{"tmpfile", m.tmpfile},
		{"read", m.read},
		{"look", m.look},
		{"sync", m.sync},
		{"batch", m.batch},
	}
	o := ops[m.rng.IntN(len(ops))]
	return o.name, o.op()
}

// changeOwn changes the file that nobody else changes, and reads it.
func (m *mixer) changeOwn() error {
	off, n := m.rng.IntN(100<<10), m.rng.IntN(20<<10)+1
	if m.rng.IntN(3) == 0 {
		off, n = m.rng.IntN(100), m.rng.IntN(100)+1
	}
	var err error
	switch m.rng.IntN(6) {
	case 0:
		if err = m.own.Truncate(int64(off)); err == nil {
			m.want = append(m.want, make([]byte, max(off-len(m.want), 0))...)[:off]
		}
	case 1:
		err = m.own.Fallocate(FallocatePunch|FallocateKeepSize, int64(off), int64(n))
		if err == nil && off < len(m.want) {
			clear(m.want[off:min(off+n, len(m.want))])
		}
	case 2:
		err = m.own.Fallocate(FallocateKeepSize, int64(off), int64(n))
	default:
		p := bytes.Repeat([]byte{byte(m.rng.IntN(255) + 1)}, n)
		var k int
		k, err = m.own.WriteAt(p, int64(off))
		if k > 0 {
			m.want = append(m.want, make([]byte, max(off+k-len(m.want), 0))...)
			copy(m.want[off:], p[:k])
		}
	}
	if err != nil {
		m.want = m.content() // a hole may have been punched in part
		return err
	}
	if got := m.content(); !bytes.Equal(got, m.want) {
		return fmt.Errorf("%s has %d bytes that differ from the %d that were written", m.name, len(got), len(m.want))
	}
	return nil
}

func (m *mixer) content() []byte {
	p := make([]byte, m.own.Size()+1)
	n, err := m.own.ReadAt(p, 0)
	if err != nil && err != io.EOF {
		m.t.Error(err)
	}
	return p[:n]
}

// changeShared changes a file that others change too.
func (m *mixer) changeShared() error {
	flag := os.O_RDWR | os.O_CREATE
	switch m.rng.IntN(6) {
	case 0:
		flag |= os.O_SYNC
	case 1:
		flag |= os.O_APPEND
	case 2:
		flag |= os.O_TRUNC
	}
	file, err := m.f.OpenFile(m.path(), flag, 0o644)
	if err != nil {
		return err
	}
	for range 3 {
		if err = m.changeFile(file); err != nil {
			break
		}
	}
	return errors.Join(err, file.Close())
}

func (m *mixer) changeFile(file *File) error {
	off, n := m.rng.Int64N(60<<10), m.rng.Int64N(30<<10)+1
	i := file.Inode()
	var err error
	switch m.rng.IntN(9) {
	case 0:
		return file.Truncate(off)
	case 1:
		return file.Sync()
	case 2:
		return i.Fallocate(FallocateMode([]int{0, 1, 3, 0x10}[m.rng.IntN(4)]), off, n)
	case 3:
		_, err = i.WriteFrom(context.Background(), bytes.NewReader(make([]byte, n)), off, n+1000)
	case 4:
		_, err = i.CopyFrom(context.Background(), m.own, 0, off, n)
	case 5:
		if _, err = i.MapForWrite(off, n); err == nil {
			err = i.EndWrite(off, n)
		}
	case 6:
		flags := i.Flags() ^ disk.FlagJournalData
		if m.rng.IntN(3) == 0 {
			flags = i.Flags() ^ disk.FlagSync
		}
		return i.SetFlags(flags)
	default:
		_, err = file.Write(make([]byte, n))
	}
	return err
}

func (m *mixer) changeAttrs() error {
	p := m.path()
	name := "user." + string(rune('a'+m.rng.IntN(3)))
	switch m.rng.IntN(7) {
	case 0:
		return m.f.RemoveXattr(p, name)
	case 1:
		return m.f.Chmod(p, os.FileMode(m.rng.IntN(0o1000)))
	case 2:
		return m.f.Chown(p, m.rng.IntN(5), m.rng.IntN(40))
	case 3:
		return m.f.Chtimes(p, time.Unix(1, 0), time.Unix(m.rng.Int64N(1<<33), 5))
	}
	n := []int{10, 300, 2000, 9000}[m.rng.IntN(4)]
	err := m.f.SetXattr(p, name, bytes.Repeat([]byte{byte(m.rng.IntN(4))}, n), 0)
	if errors.Is(err, syscall.E2BIG) || errors.Is(err, syscall.ERANGE) {
		return nil
	}
	return err
}

func (m *mixer) tmpfile() error {
	root, err := m.f.Root()
	if err != nil {
		return err
	}
	i, err := root.Tmpfile(&NewNode{Mode: 0o600, UID: uint32(m.rng.IntN(9))})
	if err != nil {
		return err
	}
	_, err = i.WriteAt(make([]byte, m.rng.IntN(40<<10)+1), m.rng.Int64N(1<<20))
	if err == nil && m.rng.IntN(2) == 0 {
		err = root.LinkReplace(m.path()[:1], i)
	}
	return errors.Join(err, i.Release())
}

func (m *mixer) read() error {
	if m.rng.IntN(4) > 0 {
		p, err := m.f.ReadFile(m.path())
		if len(p) > 2<<20 {
			return fmt.Errorf("%d bytes", len(p))
		}
		return err
	}
	_, err := m.f.ReadDir(m.path())
	return err
}

// look looks at whatever is there.
func (m *mixer) look() error {
	switch m.rng.IntN(4) {
	case 0:
		_, err := m.f.Space()
		return err
	case 1:
		root, err := m.f.Root()
		if err != nil {
			return err
		}
		return m.f.Walk(context.Background(), root, "/", func(e *WalkEntry) error {
			if e.Inode != nil {
				e.Inode.Stat()
			}
			return nil
		})
	case 2:
		for g := range m.f.super.Groups() {
			if _, err := m.f.BlockBitmap(g); err != nil {
				return err
			}
		}
		runtime.GC() // what nobody holds is read again
		return nil
	}
	n := 0
	for i, err := range m.f.Inodes() {
		if n++; n > 200 {
			break
		}
		if err != nil {
			return err
		}
		if err := m.lookAt(i); err != nil {
			return err
		}
	}
	return nil
}

func (m *mixer) lookAt(i *Inode) error {
	if !i.Acquire() {
		return nil // it was deleted meanwhile
	}
	_, err := i.Xattrs()
	if i.IsRegular() {
		_, serr := i.SeekHole(0)
		err = errors.Join(err, ignore(serr, ErrNoData))
	}
	if i.IsDir() {
		for _, derr := range i.EntriesFrom(0) {
			err = errors.Join(err, ignore(derr, ErrNotExist))
		}
	}
	return errors.Join(err, i.Release())
}

func ignore(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}

func (m *mixer) sync() error {
	ctx := context.Background()
	switch m.rng.IntN(8) {
	case 0:
		return m.f.Sync(ctx)
	case 1:
		return m.own.Fsync(ctx, false)
	}
	return m.own.Fsync(ctx, true)
}

func (m *mixer) batch() error {
	if m.rng.IntN(4) > 0 {
		return nil
	}
	b, err := m.f.Begin(context.Background())
	if err != nil {
		return err
	}
	for range 5 {
		if err = m.changeOwn(); err == nil {
			err = stressStep(m.f, m.rng)
		}
		if err == nil {
			err = m.changeAttrs()
		}
		if err != nil && !m.known(err) {
			break
		}
	}
	return errors.Join(b.Commit(context.Background()), err)
}
