package ext4fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// TestWrite_dataError has writes of data fail: the operation says so, changes
// nothing outside its range, and can be done again.
func TestWrite_dataError(t *testing.T) {
	for _, mkfs := range [][]string{nil, {"-b", "1024", "-t", "ext3"}, {"-O", "bigalloc", "-C", "16384"}} {
		w := newWriteImage(t, nil, 32<<20, 1, mkfs...)
		if err := w.fs.Close(); err != nil {
			t.Fatal(err)
		}
		faulty := testimages.NewFaultWriter(w.dev)
		var err error
		if w.fs, err = Open(faulty, &Options{Write: true, CommitInterval: -1}); err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(4, 4))
		m := &model{w: w, i: w.inode("f0"), name: "f0", rng: rng, max: 200 << 10}
		failed := 0
		for n := range 150 {
			off, length := m.place()
			if rng.IntN(3) == 0 {
				if err := m.i.Fallocate(FallocateKeepSize, int64(off), int64(length)); m.refused(err) {
					err = nil
				} else if err != nil {
					t.Fatal(err)
				}
			}
			p := m.data(length)
			faulty.Inject(testimages.Fault{
				Ops: testimages.FaultWrite, Nth: 1 + rng.IntN(2), Torn: testimages.Torn(rng.IntN(4)), Seed: uint64(n),
			})
			k, err := m.i.WriteAt(p, int64(off))
			faulty.Heal()
			if err != nil {
				failed++
				if !errors.Is(err, syscall.EIO) {
					t.Fatalf("step %d: %v", n, err)
				}
				if _, err = m.i.WriteAt(p[k:], int64(off+k)); err != nil {
					t.Fatalf("step %d, again: %v", n, err)
				}
			}
			m.grow(off + length)
			copy(m.want[off:], p)
			m.check(fmt.Sprintf("step %d: %d at %d, %v", n, length, off, err))
		}
		if failed < 50 {
			t.Errorf("only %d writes failed", failed)
		}
		w.close(map[string][]byte{"f0": m.want})
	}
}

// TestWrite_parallel writes, reads, truncates and commits at the same time.
func TestWrite_parallel(t *testing.T) {
	for _, opts := range []*Options{{}, {DataMode: DataJournal}} {
		w := newWriteImage(t, opts, 64<<20, 4, "-b", "1024", "-J", "size=4")
		stop := make(chan struct{})
		var background, writers sync.WaitGroup
		models := make([]*model, len(w.files))
		for n, name := range w.files {
			rng := rand.New(rand.NewPCG(uint64(n), 6))
			m := &model{w: w, i: w.inode(name), name: name, rng: rng, max: 150 << 10, seq: byte(n * 60)}
			models[n] = m
			writers.Go(func() {
				for range 120 {
					what, err := m.step(m)
					if err != nil {
						t.Errorf("%s: %v", what, err)
						return
					}
				}
				m.check("parallel work")
			})
			background.Go(func() { readOn(t, m.i, stop) })
		}
		background.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if err := w.fs.Sync(context.Background()); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
		writers.Wait()
		close(stop)
		background.Wait()
		want := make(map[string][]byte)
		for _, m := range models {
			want[m.name] = m.want
		}
		w.close(want)
	}
}

func readOn(t *testing.T, i *Inode, stop chan struct{}) {
	buf := make([]byte, 64<<10)
	for off := int64(0); ; off += 10 << 10 {
		select {
		case <-stop:
			return
		default:
		}
		_, err := i.ReadAt(buf, off)
		if err == io.EOF {
			off, err = 0, nil
		}
		if _, serr := i.SeekData(off); err == nil && !errors.Is(serr, ErrNoData) {
			err = serr
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// TestTruncate_crash cuts the power while a file of many runs is taken away
// in many transactions: what is left must be cleaned up as an orphan's.
func TestTruncate_crash(t *testing.T) {
	for _, c := range []struct {
		runs, step int64
		deep       bool
		mkfs       []string
	}{
		{26000, 2048, true, []string{"-b", "1024", "-J", "size=1"}},
		{1500, 300 << 10, false, []string{"-b", "1024", "-J", "size=1", "-t", "ext3"}},
	} {
		w := newWriteImage(t, nil, 48<<20, 1, c.mkfs...)
		i := w.inode("f0")
		for n := range c.runs {
			if _, err := i.WriteAt([]byte{1}, n*c.step); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.fs.Close(); err != nil {
			t.Fatal(err)
		}
		rec, err := testimages.NewRecorder(w.dev)
		if err != nil {
			t.Fatal(err)
		}
		if w.fs, err = Open(rec, &Options{Write: true, CommitInterval: -1}); err != nil {
			t.Fatal(err)
		}
		if err := w.inode("f0").Truncate(3 * c.step); err != nil {
			t.Fatal(err)
		}
		if err := w.fs.Close(); err != nil {
			t.Fatal(err)
		}
		d, err := testimages.NewDumper(w.path + ".crash")
		if err != nil {
			t.Fatal(err)
		}
		o := testimages.CrashOptions{Workers: 1, Subsets: 3, Max: 60, Seed: 1}
		made, err := testimages.CrashStates(context.Background(), rec.Log(), o, func(s *testimages.CrashState) error {
			mine := s.Dev.Clone()
			// e2fsck 1.47.0 breaks a deep extent tree when it truncates an
			// orphan, where the kernel does not.
			if !c.deep {
				if err := d.Judge(s.Dev); err != nil && !strings.Contains(err.Error(), "was corrupt, replay was aborted") {
					return err
				}
			}
			f, err := Open(mine, &Options{Write: true, CommitInterval: -1})
			if errors.Is(err, ErrChecksum) {
				return nil // half a superblock: the image is not at fault
			} else if err != nil {
				return err
			}
			return errors.Join(f.Close(), d.CheckClean(mine))
		})
		if err != nil {
			t.Fatal(err)
		}
		if made < 10 {
			t.Errorf("only %d states", made)
		}
	}
}

// TestFile_writes goes through the calls of an open file.
func TestFile_writes(t *testing.T) {
	w := newWriteImage(t, nil, 32<<20, 2)
	f, err := w.fs.OpenFile("f0", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	steps := []error{
		second(f.Write([]byte("hello"))), second(f.WriteString(" world")), second(f.WriteAt([]byte("J"), 0)),
		f.Sync(), f.Truncate(7), second(f.Seek(0, io.SeekEnd)),
	}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
	tail := bytes.Repeat([]byte("0123456789"), 400_000)
	if n, err := f.ReadFrom(bytes.NewReader(tail)); n != int64(len(tail)) || err != nil {
		t.Fatalf("read from: %d, %v", n, err)
	}
	runs := 0
	for range f.Extents() {
		runs++
	}
	if runs > 2 {
		t.Errorf("%d runs of a file written at once", runs)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	a, err := w.fs.OpenFile("f1", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.EBADF) {
		t.Errorf("read of a file open for writing: %v", err)
	}
	if err := errors.Join(second(a.Write([]byte("ab"))), second(a.Seek(0, 0)), second(a.Write([]byte("cd"))), a.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := w.fs.OpenFile("f1", os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Write([]byte("x")); !errors.Is(err, syscall.EBADF) {
		t.Errorf("write of a file open for reading: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	w.close(map[string][]byte{"f0": append([]byte("Jello w"), tail...), "f1": []byte("abcd")})
}

// second is the error of a call with two results.
func second[T any](_ T, err error) error { return err }

func BenchmarkWriteAt(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
	}{{"4K", 4 << 10}, {"64K", 64 << 10}, {"1M", 1 << 20}, {"8M", 8 << 20}} {
		b.Run("append/"+c.name, func(b *testing.B) { benchmarkAppend(b, c.size) })
	}
}

// benchmarkAppend writes a file of up to 256 MiB again and again.
func benchmarkAppend(b *testing.B, size int) {
	t := &writeImage{path: b.TempDir() + "/img"}
	testimages.Mkfs(b, t.path, 1<<30)
	testimages.DebugfsWrite(b, t.path, "write /dev/null f0")
	f, err := OpenFile(t.path, &Options{Write: true})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	i, err := f.lookupInode("f0")
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if i.Size() >= 256<<20 {
			b.StopTimer()
			if err := i.Truncate(0); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		if _, _, err := i.Append(p); err != nil {
			b.Fatal(err)
		}
	}
}

// lookupInode is the inode of a name in the root.
func (f *FS) lookupInode(name string) (*Inode, error) {
	root, err := f.Root()
	if err != nil {
		return nil, err
	}
	n, err := root.Lookup(name)
	if err != nil {
		return nil, err
	}
	return f.Inode(n)
}

// BenchmarkWriteFrom copies 64 MiB into a new file.
func BenchmarkWriteFrom(b *testing.B) {
	t := &writeImage{path: b.TempDir() + "/img"}
	testimages.Mkfs(b, t.path, 1<<30)
	testimages.DebugfsWrite(b, t.path, "write /dev/null f0")
	f, err := OpenFile(t.path, &Options{Write: true})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	i, err := f.lookupInode("f0")
	if err != nil {
		b.Fatal(err)
	}
	p := bytes.Repeat([]byte("content."), 8<<20)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if err := i.Truncate(0); err != nil {
			b.Fatal(err)
		}
		if _, err := i.WriteFrom(context.Background(), bytes.NewReader(p), 0, int64(len(p))); err != nil {
			b.Fatal(err)
		}
	}
}
