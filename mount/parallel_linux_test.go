package mount_test

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// Several write past the cache to one file at a time, alone or while somebody reads
// it through the cache and maps it: all see what was written, and when all have
// closed it, its times are those of the last write.
func TestParallelDirect_mounted(t *testing.T) {
	s := start(t, fresh(t, 64<<20), "parallel_dio")
	t.Run("alone", func(t *testing.T) { parallelWrites(t, s.path("alone"), false) })
	t.Run("with readers", func(t *testing.T) { parallelWrites(t, s.path("read"), true) })
	s.stop()
}

func parallelWrites(t *testing.T, path string, readers bool) {
	const block, blocks, writers, rounds = 4096, 32, 8, 6
	must(t, "make", os.WriteFile(path, make([]byte, block*blocks), 0o644))
	before := stat(t, path).Mtim
	time.Sleep(20 * time.Millisecond) // longer than the kernel's tick
	var cached *os.File
	var m []byte
	if readers {
		var err error
		cached, err = os.OpenFile(path, os.O_RDWR, 0)
		must(t, "open", err)
		m, err = syscall.Mmap(int(cached.Fd()), 0, block*blocks, syscall.PROT_READ, syscall.MAP_SHARED)
		must(t, "mmap", err)
	}
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for w := range writers {
		wg.Go(func() { errs[w] = writeBlocks(path, cached, m, w, writers, block, blocks, rounds) })
	}
	wg.Wait()
	must(t, "write", errors.Join(errs...))
	if readers {
		must(t, "munmap", syscall.Munmap(m))
		must(t, "close", cached.Close())
	}
	got, err := os.ReadFile(path)
	must(t, "read", err)
	for b := range blocks {
		if want := bytes.Repeat([]byte{byte(b + rounds)}, block); !bytes.Equal(got[b*block:][:block], want) {
			t.Errorf("block %d begins with %d, want %d", b, got[b*block], want[0])
		}
	}
	if st := stat(t, path); st.Size != block*blocks {
		t.Errorf("%d bytes", st.Size)
	}
	if !prunes() {
		return
	}
	for end := time.Now().Add(10 * time.Second); stat(t, path).Mtim == before; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the time of change is still that from before")
		}
	}
}

// prunes tells whether the kernel forgets files when it is told to.
func prunes() bool {
	b, err := os.ReadFile("/proc/kallsyms")
	return err == nil && bytes.Contains(b, []byte("fuse_try_prune_one_inode"))
}

// writeBlocks writes every so manyth block of a file over and over, past the
// cache, and reads it back so, and if there is cached by it and its mapping m.
func writeBlocks(path string, cached *os.File, m []byte, first, step, block, blocks, rounds int) error {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_DIRECT, 0)
	if err != nil {
		return err
	}
	mem := make([]byte, 3*block)
	mem = mem[int(-uintptr(unsafe.Pointer(&mem[0]))&uintptr(block-1)):]
	p, q := mem[:block], mem[block:][:block]
	for r := 1; r <= rounds; r++ {
		for b := first; b < blocks; b += step {
			for i := range p {
				p[i] = byte(b + r)
			}
			off := int64(b * block)
			if _, err := f.WriteAt(p, off); err != nil {
				return errors.Join(err, f.Close())
			}
			_, err := f.ReadAt(q, off)
			if err != nil || !bytes.Equal(p, q) {
				return errors.Join(err, errors.New("read past the cache: not what was written"), f.Close())
			}
			if cached == nil {
				continue
			}
			_, err = cached.ReadAt(q, off)
			if err != nil || !bytes.Equal(p, q) {
				return errors.Join(err, errors.New("read: not what was written"), f.Close())
			}
			if !bytes.Equal(p, m[off:][:block]) {
				return errors.Join(errors.New("mapped: not what was written"), f.Close())
			}
		}
	}
	return f.Close()
}
