package ext4fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// change is one thing done to a file, by e4kit and by the kernel.
type change struct {
	op       string
	mode     uint32
	off, len int64
}

func (c change) String() string { return fmt.Sprintf("%s %#x %d+%d", c.op, c.mode, c.off, c.len) }

func (c change) data() []byte { return bytes.Repeat([]byte{byte(c.off>>3) | 1}, int(c.len)) }

func (c change) here(i *Inode) error {
	switch c.op {
	case "write":
		_, err := i.WriteAt(c.data(), c.off)
		return err
	case "truncate":
		return i.Truncate(c.off)
	}
	return i.Fallocate(FallocateMode(c.mode), c.off, c.len)
}

func (c change) kernel(f *os.File) error {
	switch c.op {
	case "write":
		_, err := f.WriteAt(c.data(), c.off)
		return err
	case "truncate":
		return f.Truncate(c.off)
	}
	return syscall.Fallocate(int(f.Fd()), c.mode, c.off, c.len)
}

// changes are the corners first, then random ones.
func changes(bs int64, rng *rand.Rand) []change {
	list := []change{
		{"write", 0, 0, 5 * bs},
		{"write", 0, 7*bs + 3, bs},
	}
	for _, mode := range []uint32{0, 1, 2, 3, 4, 8, 9, 0x0a, 0x10, 0x11, 0x12, 0x18, 0x20, 0x21, 0x28, 0x40, 0x41, 0x80, 0x100} {
		for _, p := range [][2]int64{
			{0, 0}, {-1, bs}, {0, -1}, {bs, bs}, {bs / 2, bs}, {bs, bs / 2}, {100 * bs, bs}, {0, 20 * bs},
			{1 << 62, 1 << 62}, {1 << 45, bs}, {8 * bs, bs}, {3*bs + 1, 2*bs + 5}, {(1<<32 - 2) * bs, bs}, {(1<<32 - 1) * bs, bs},
		} {
			list = append(list, change{"fallocate", mode, p[0], p[1]})
			if mode == 0 || mode == 0x10 {
				list = append(list, change{"truncate", 0, 9 * bs, 0})
			}
		}
	}
	for range 150 {
		c := change{off: rng.Int64N(40 * bs), len: 1 + rng.Int64N(10*bs)}
		if rng.IntN(2) == 0 {
			c.off, c.len = c.off/bs*bs, (c.len+bs-1)/bs*bs
		}
		switch rng.IntN(5) {
		case 0, 1:
			c.op = "write"
		case 2:
			c.op = "truncate"
		default:
			c.op, c.mode = "fallocate", []uint32{0, 1, 3, 8, 0x10, 0x11, 0x20}[rng.IntN(7)]
		}
		list = append(list, c)
	}
	return list
}

// TestFallocate_likeKernel does the same to a file here and in the kernel:
// errors, sizes, space and content must be the same after each step.
func TestFallocate_likeKernel(t *testing.T) {
	for _, c := range []struct {
		name string
		bs   int64
		mkfs []string
	}{
		{"4k", 4096, nil},
		{"1k", 1024, []string{"-b", "1024"}},
		{"bigalloc", 4096, []string{"-O", "bigalloc", "-C", "16384"}},
		{"ext3", 1024, []string{"-t", "ext3", "-b", "1024"}},
		{"inline", 4096, []string{"-O", "inline_data"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			list := changes(c.bs, rand.New(rand.NewPCG(1, 2)))
			w := newWriteImage(t, nil, 32<<20, 1, c.mkfs...)
			theirs := testimages.Copy(t, w.path)
			testimages.WithMount(t, theirs, "", func(dir string) { compareChanges(t, w, filepath.Join(dir, "f0"), list) })
			w.close(nil)
		})
	}
}

func compareChanges(t *testing.T, w *writeImage, theirs string, list []change) {
	t.Helper()
	f, err := os.OpenFile(theirs, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	i := w.inode("f0")
	for n, c := range list {
		want, got := c.kernel(f), c.here(i)
		var errno syscall.Errno
		if want != nil && !errors.As(want, &errno) {
			t.Fatalf("step %d, %v: the kernel says %v", n, c, want)
		}
		if (want == nil) != (got == nil) || want != nil && !errors.Is(got, errno) {
			t.Fatalf("step %d, %v: %v, the kernel says %v", n, c, got, want)
		}
		var st syscall.Stat_t
		if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		if want != nil && st.Size != i.Size() && c.mode == 0x20 {
			// The kernel sets the size before it finds that it cannot.
			if err := errors.Join(f.Truncate(i.Size()), i.Truncate(i.Size())); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if st.Size != i.Size() {
			t.Fatalf("step %d, %v: size %d, the kernel's is %d", n, c, i.Size(), st.Size)
		}
		if st.Size > 1<<20 {
			continue
		}
		p, q := make([]byte, st.Size), make([]byte, st.Size)
		if _, err := f.ReadAt(p, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := i.ReadAt(q, 0); st.Size > 0 && err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p, q) {
			t.Fatalf("step %d, %v: other content", n, c)
		}
		if err := f.Sync(); err != nil { // delayed allocation is over then
			t.Fatal(err)
		}
		if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		// One may have a tree's node that the other gave back or did not need.
		node := w.fs.super.ClusterSize() / 512
		if have := int64(i.Stat().Sectors); have < st.Blocks-node || have > st.Blocks+node {
			t.Fatalf("step %d, %v: %d sectors, the kernel has %d", n, c, have, st.Blocks)
		}
	}
}

// TestWrite_kernelGoesOn lets the kernel change what e4kit wrote, and e4kit
// that again.
func TestWrite_kernelGoesOn(t *testing.T) {
	for _, mkfs := range [][]string{nil, {"-t", "ext3"}, {"-O", "bigalloc", "-C", "16384"}, {"-O", "inline_data", "-b", "1024"}} {
		w := newWriteImage(t, nil, 32<<20, 3, mkfs...)
		for round := range uint64(3) {
			rng := rand.New(rand.NewPCG(round, 3))
			want := make(map[string][]byte)
			for n, name := range w.files {
				m := &model{w: w, i: w.inode(name), name: name, rng: rng, max: 200 << 10, seq: byte(n)}
				p, err := w.fs.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				m.want = p
				for range 30 {
					if what, err := m.step(m); err != nil {
						t.Fatalf("%s: %v", what, err)
					}
				}
				want[name] = m.want
			}
			w.close(want)
			testimages.WithMount(t, w.path, "", func(dir string) {
				for _, name := range w.files {
					kernelChanges(t, filepath.Join(dir, name), rng)
				}
			})
			testimages.Fsck(t, w.path)
			w.open(nil)
		}
		if err := w.fs.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func kernelChanges(t *testing.T, name string, rng *rand.Rand) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 20 {
		c := change{op: "write", off: rng.Int64N(200 << 10), len: 1 + rng.Int64N(20<<10)}
		if rng.IntN(3) == 0 {
			c.op, c.mode = "fallocate", 3
		}
		if err := c.kernel(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(rng.Int64N(200 << 10)); err != nil {
		t.Fatal(err)
	}
}

// TestWrite_journalFlag writes a file whose own flag says that its data is
// journaled, and has the kernel replay what was committed.
func TestWrite_journalFlag(t *testing.T) {
	w := newWriteImage(t, nil, 32<<20, 2)
	if err := w.fs.Close(); err != nil {
		t.Fatal(err)
	}
	testimages.DebugfsWrite(t, w.path, "set_inode_field f0 flags 0x84000")
	w.open(nil)
	rng := rand.New(rand.NewPCG(8, 8))
	want := make(map[string][]byte)
	for n, name := range w.files {
		m := &model{w: w, i: w.inode(name), name: name, rng: rng, max: 100 << 10, seq: byte(n)}
		for range 60 {
			what, err := m.step(m)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			m.check(what)
		}
		want[name] = m.want
	}
	if err := w.fs.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	// What is on the device now is as after a crash.
	crashed := &writeImage{t: t, path: w.path, dev: w.dev.Clone()}
	crashed.dump()
	if err := testimages.JudgeCrash(crashed.path); err != nil {
		t.Fatal(err)
	}
	testimages.WithMount(t, crashed.path, "", func(dir string) {
		for name, content := range want {
			got, err := os.ReadFile(filepath.Join(dir, name))
			crashed.same("after recovery", name, got, content, err)
		}
	})
	w.close(want)
}
