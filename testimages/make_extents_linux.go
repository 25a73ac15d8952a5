package testimages

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// fragmentedFile makes a file whose logical blocks have gaps, so that no two
// share an extent, and two files whose physical blocks alternate.
func fragmentedFile(b *builder) error {
	if err := b.mkfs(); err != nil {
		return err
	}
	return Mounted(b.img, "nodelalloc", func(dir string) error {
		if err := gappyFile(dir+"/gaps", 1024, 30_000); err != nil {
			return err
		}
		return alternate(dir+"/odd", dir+"/even", 1024, 600)
	})
}

// gappyFile writes n blocks, every second one of the file, in an order that
// scatters them over the disk.
func gappyFile(path string, bs, n int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	block := Content(7, int(bs))
	order := rand.New(rand.NewPCG(1, 2)).Perm(int(n / 100))
	for _, k := range order { // runs of a hundred, shuffled
		for i := range int64(100) {
			at := int64(k)*100 + i
			copy(block, fmt.Sprintf("block %d;", at))
			if _, err := f.WriteAt(block, 2*at*bs); err != nil {
				return err
			}
		}
	}
	return f.Sync()
}

// alternate appends to two files in turn, without delayed allocation, so that
// each block of the one lies between two of the other.
func alternate(a, b string, bs int64, n int) error {
	fa, err := os.Create(a)
	if err != nil {
		return err
	}
	defer fa.Close()
	fb, err := os.Create(b)
	if err != nil {
		return err
	}
	defer fb.Close()
	for i := range n {
		for k, f := range []*os.File{fa, fb} {
			// A hole now and then, and writes behind the allocator's back of
			// preallocation: each file asks for a single block at a time.
			if _, err := f.WriteAt(Content(uint64(2*i+k), int(bs)), int64(i+i/50)*bs); err != nil {
				return err
			}
			if err := unix.SyncFileRange(int(f.Fd()), 0, 0, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// deepExtents raises a small extent tree to depth 5, one split of the root at
// a time: grown by use it would need a huge file.
func deepExtents(b *builder) error {
	if err := b.mkfs(); err != nil {
		return err
	}
	err := b.mount(func(dir string) error { return gappyFile(dir+"/deep", 1024, 400) })
	if err != nil {
		return err
	}
	cmds := []string{"extent_open /deep"}
	for range 3 { // 400 extents make a tree of depth 2 by themselves
		cmds = append(cmds, "root", "split_node")
	}
	_, err = RunDebugfs(b.img, true, append(cmds, "extent_close")...)
	if err != nil {
		return err
	}
	out, err := RunDebugfs(b.img, false, "dump_extents /deep")
	if err == nil && !strings.Contains(out, "5/ 5") {
		err = fmt.Errorf("no extent at depth 5:\n%s", out[:min(len(out), 600)])
	}
	return err
}

// aged makes, grows, cuts and removes files at random, so that free space and
// files are in pieces.
func aged(b *builder) error {
	if err := b.mkfs(); err != nil {
		return err
	}
	return Mounted(b.img, "nodelalloc", func(dir string) error {
		l := newLoad(dir, 4711)
		for range 6000 {
			if err := l.step(); err != nil {
				return err
			}
		}
		return l.close()
	})
}
