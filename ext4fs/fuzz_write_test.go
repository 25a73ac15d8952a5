package ext4fs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// writeSeedNames are the images that FuzzWrite harms: those of the other
// targets, and one with features that only writing looks at. That one comes
// from mke2fs -d, with a value of 3000 bytes set by debugfs.
var writeSeedNames = append(seedNames[:len(seedNames):len(seedNames)], "quota")

// guardDevice fails the test when something is written beyond its ends.
type guardDevice struct {
	*device.RAM
	t testing.TB
}

func (g *guardDevice) check(what string, off, n int64) {
	if size := g.Size(); off < 0 || n < 0 || off > size || n > size-off {
		g.t.Errorf("%s %d bytes at %d of %d", what, n, off, size)
	}
}

func (g *guardDevice) WriteAt(p []byte, off int64) (int, error) {
	g.check("write", off, int64(len(p)))
	return g.RAM.WriteAt(p, off)
}

func (g *guardDevice) WriteVAt(bufs [][]byte, off int64) (int, error) {
	n := int64(0)
	for _, b := range bufs {
		n += int64(len(b))
	}
	g.check("write", off, n)
	return g.RAM.WriteVAt(bufs, off)
}

func (g *guardDevice) Discard(off, n int64) error {
	g.check("discard", off, n)
	return g.RAM.Discard(off, n)
}

func (g *guardDevice) Zero(off, n int64) error {
	g.check("zero", off, n)
	return g.RAM.Zero(off, n)
}

// script is what the fuzzer wants to be done: two bytes say what and to which
// name, more say how much. It ends with its bytes.
type script struct {
	f     *ext4fs.FS
	b     []byte
	names []string
}

const maxScript = 60 // operations

func (s *script) next() int {
	if len(s.b) == 0 {
		return 0
	}
	n := int(s.b[0])
	s.b = s.b[1:]
	return n
}

// old is a name that was there, fresh one that hardly was.
func (s *script) old() string {
	if len(s.names) == 0 {
		return "data"
	}
	return s.names[s.next()%len(s.names)]
}

func (s *script) fresh() string {
	n := s.next()
	dir := ""
	if n&1 != 0 {
		dir = s.old() + "/"
	}
	return fmt.Sprintf("%snew%d", dir, n>>1&15)
}

// offset is one of those where something may go wrong.
func (s *script) offset() int64 {
	n, k := int64(s.next()), s.next()
	return n << (k % 44)
}

// scriptOps are the operations of a script.
var scriptOps = []func(s *script) error{
	func(s *script) error { return s.f.WriteFile(s.fresh(), make([]byte, s.next()*40), 0o644) },
	func(s *script) error { return s.onFile(func(f *ext4fs.File) error { return writeSome(s, f) }) },
	func(s *script) error { return s.f.Truncate(s.old(), s.offset()) },
	func(s *script) error { return s.f.Remove(s.old()) },
	func(s *script) error { return s.f.RemoveAll(s.old()) },
	func(s *script) error {
		return s.f.RenameWith(s.old(), s.fresh(), ext4fs.RenameFlags(s.next()&1|s.next()&4))
	},
	func(s *script) error { return s.f.RenameWith(s.old(), s.old(), ext4fs.RenameFlags(s.next()&2)) },
	func(s *script) error {
		return s.f.LSetXattr(s.old(), fmt.Sprintf("user.%d", s.next()&3), make([]byte, s.next()*20), 0)
	},
	func(s *script) error { return s.f.LRemoveXattr(s.old(), "user.big") },
	func(s *script) error { return s.f.Mkdir(s.fresh(), 0o755) },
	func(s *script) error { return s.f.Symlink(s.old(), s.fresh()) },
	func(s *script) error { return s.f.Link(s.old(), s.fresh()) },
	func(s *script) error {
		return s.onFile(func(f *ext4fs.File) error {
			mode := []ext4fs.FallocateMode{0, 1, 3, 0x10, 8, 0x20}[s.next()%6]
			return f.Fallocate(mode, s.offset()&^1023, (s.offset()&(1<<22-1))&^1023+1024)
		})
	},
	func(s *script) error { return s.f.Lchown(s.old(), s.next(), s.next()) },
	func(s *script) error {
		i, err := s.inode()
		if err != nil {
			return err
		}
		return i.SetFlags(i.Flags() ^ disk.FlagJournalData)
	},
	func(s *script) error { return s.f.Chmod(s.old(), os.FileMode(s.next())) },
	tmpfile,
	byNumber,
	func(s *script) error { return s.f.Sync(context.Background()) },
	func(s *script) error { return s.onFile(func(f *ext4fs.File) error { return f.Sync() }) },
	func(s *script) error {
		for n := range 20 {
			if err := s.f.WriteFile(fmt.Sprintf("%s/many-names-of-some-length-%d-%d", s.names[0], s.next(), n), nil, 0o600); err != nil {
				return err
			}
		}
		return nil
	},
	func(s *script) error { _, err := s.f.Space(); return err },
}

// inode is that of a name.
func (s *script) inode() (*ext4fs.Inode, error) {
	var i *ext4fs.Inode
	err := s.onFile(func(f *ext4fs.File) error { i = f.Inode(); return nil })
	return i, err
}

func (s *script) onFile(op func(f *ext4fs.File) error) error {
	f, err := s.f.OpenFile(s.old(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(op(f), f.Close())
}

func writeSome(s *script, f *ext4fs.File) error {
	p := bytes.Repeat([]byte{1}, s.next()*100+1)
	_, err := f.WriteAt(p, s.offset())
	buf := make([]byte, 1000)
	if _, rerr := f.ReadAt(buf, 0); rerr != io.EOF {
		err = errors.Join(err, rerr)
	}
	return err
}

func tmpfile(s *script) error {
	root, err := s.f.Root()
	if err != nil {
		return err
	}
	i, err := root.Tmpfile(&ext4fs.NewNode{Mode: 0o644, UID: uint32(s.next())})
	if err != nil {
		return err
	}
	_, err = i.WriteAt(make([]byte, s.next()*50), s.offset())
	if s.next()&1 == 0 {
		err = errors.Join(err, root.Link(fmt.Sprintf("new%d", s.next()&15), i))
	}
	return errors.Join(err, i.Release())
}

// byNumber works on an inode that no name may lead to.
func byNumber(s *script) error {
	i, err := s.f.Inode(disk.InodeNum(s.next()))
	if err != nil {
		return err
	}
	if !i.Acquire() {
		return nil
	}
	switch s.next() % 5 {
	case 0:
		err = i.Truncate(s.offset())
	case 1:
		_, err = i.WriteAt([]byte("bytes"), s.offset())
	case 2:
		err = i.SetXattr("trusted.x", make([]byte, s.next()), 0)
	case 3:
		err = i.SetAttr(&ext4fs.SetAttr{Valid: ext4fs.AttrUID | ext4fs.AttrMode, UID: 5, Mode: 0o600})
	case 4:
		_, err = i.Create("by-number", &ext4fs.NewNode{Mode: 0o600})
	}
	return errors.Join(err, i.Release())
}

// run does what the script says, and tells of errors.
func (s *script) run(tell func(op int, err error)) {
	root, err := s.f.Root()
	if err != nil {
		return
	}
	// Names first, so that the script means the same however it goes.
	_ = s.f.Walk(context.Background(), root, "", func(e *ext4fs.WalkEntry) error {
		if s.names = append(s.names, e.Path()); len(s.names) >= 100 {
			return context.Canceled
		}
		return nil
	})
	if len(s.names) == 0 {
		s.names = []string{"data"}
	}
	for range maxScript {
		if len(s.b) == 0 {
			return
		}
		op := s.next() % len(scriptOps)
		if err := scriptOps[op](s); err != nil && tell != nil {
			tell(op, err)
		}
	}
}

var loadedSeeds sync.Map // name -> *device.RAM

func seedRAM(t testing.TB, name string) *device.RAM {
	t.Helper()
	if r, ok := loadedSeeds.Load(name); ok {
		return r.(*device.RAM).Clone()
	}
	r, err := device.LoadRAM(device.NewMemory(seed(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	loadedSeeds.Store(name, r)
	return r.Clone()
}

// harmRAM is harm on a device.
func harmRAM(t testing.TB, r *device.RAM, patches []byte) {
	t.Helper()
	for len(patches) >= 5 {
		off := int64(patches[0]) | int64(patches[1])<<8 | int64(patches[2])<<16
		n := min(int(patches[3]&15)+1, len(patches)-4)
		at := off * 4 % r.Size()
		if _, err := r.WriteAt(patches[4:4+min(int64(n), r.Size()-at)], at); err != nil {
			t.Fatal(err)
		}
		patches = patches[4+n:]
	}
}

// hangs makes the test fail loudly if it does not end.
func hangs(t testing.TB, after time.Duration) {
	timer := time.AfterFunc(after, func() { panic("hangs: " + t.Name()) })
	t.Cleanup(func() { timer.Stop() })
}

// FuzzWrite opens harmed images for writing and lets a script loose on them.
func FuzzWrite(f *testing.F) {
	every := []byte{}
	for op := range scriptOps {
		every = append(every, byte(op), byte(7*op+2), 3, 1, byte(op), 12)
	}
	for which := range writeSeedNames {
		f.Add(byte(which), true, []byte{}, every)
		f.Add(byte(which), false, []byte{}, bytes.Repeat([]byte{20, 0, 3}, 20))
		f.Add(byte(which), false, []byte{}, bytes.Repeat([]byte{0, 2, 200, 4, 1}, 20))
		for _, off := range []int{1024 + 0x18, 1024 + 0x20, 1024 + 0x28, 1024 + 0xe8, 2048, 2056, 2060, 3072} {
			f.Add(byte(which), true, patch(off, le32(0xffff)...), every)
		}
		for off := 4096; off < 60000; off += 7 * 1024 {
			f.Add(byte(which), true, patch(off, le32(uint32(off))...), every)
		}
	}
	f.Fuzz(func(t *testing.T, which byte, ignore bool, patches, ops []byte) {
		hangs(t, 20*time.Second)
		ram := seedRAM(t, writeSeedNames[int(which)%len(writeSeedNames)])
		harmRAM(t, ram, patches)
		dev := &guardDevice{ram, t}
		clock := func() time.Time { return time.Unix(1_700_000_000, 0) }
		fsys, err := ext4fs.Open(dev, &ext4fs.Options{
			Write: true, IgnoreChecksums: ignore, CommitInterval: -1, Discard: true, EnforceQuotas: true,
			CacheBytes: 1 << 20, Clock: clock,
		})
		if err != nil {
			return
		}
		s := &script{f: fsys, b: ops}
		s.run(nil)
		walkAll(t, fsys, 200)
		closed := fsys.Close()
		if len(patches) == 0 && closed != nil {
			t.Errorf("an image that nobody harmed: %v", closed)
		}
	})
}
