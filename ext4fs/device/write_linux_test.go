package device_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
	"golang.org/x/sys/unix"
)

// What the kernel has mounted, even for reading, is not written to, neither as
// a file nor as the device.
func TestOpen_writeMounted(t *testing.T) {
	testimages.RequireTool(t, "mke2fs")
	testimages.RequireLoop(t)
	img := filepath.Join(t.TempDir(), "img")
	testimages.Mkfs(t, img, 8<<20)
	for _, opts := range []string{"ro", "rw"} {
		testimages.WithMount(t, img, opts, func(dir string) {
			r, err := device.Open(img, device.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			uses := r.InUse()
			r.Close()
			if len(uses) != 1 {
				t.Errorf("uses %v", uses)
				return
			}
			for _, path := range []string{img, uses[0].Device} {
				refused(t, path, dir)
			}
			m, err := device.Open(img, device.Options{Write: true, NoLock: true})
			if err != nil {
				t.Errorf("without a lock: %v", err)
				return
			}
			m.Close()
		})
	}
	m, err := device.Open(img, device.Options{Write: true})
	if err != nil {
		t.Fatalf("after unmounting: %v", err)
	}
	m.Close()
}

func refused(t *testing.T, path, mount string) {
	t.Helper()
	m, err := device.Open(path, device.Options{Write: true})
	if err == nil {
		m.Close()
	}
	var be *device.BusyError
	if !errors.As(err, &be) || !errors.Is(err, syscall.EBUSY) || len(be.Uses) != 1 || be.Uses[0].Mount != mount {
		t.Errorf("%s, mounted on %s: %v", path, mount, err)
	} else if !strings.Contains(err.Error(), mount) {
		t.Errorf("%v does not name %s", err, mount)
	}
}

// A block device takes bytes at any place, discards and zeroes, and nobody
// mounts it meanwhile.
func TestOpen_writeBlockDevice(t *testing.T) {
	testimages.RequireTool(t, "mke2fs")
	testimages.RequireLoop(t)
	img := filepath.Join(t.TempDir(), "img")
	testimages.Mkfs(t, img, 8<<20)
	testimages.WithLoop(t, img, func(loop string) {
		d, err := device.Open(loop, device.Options{Write: true})
		if err != nil {
			t.Error(err)
			return
		}
		defer d.Close()
		if _, err := device.Open(img, device.Options{Write: true}); !errors.Is(err, device.ErrBusy) {
			t.Errorf("the file behind a loop device: %v", err)
		}
		if err := unix.Mount(loop, t.TempDir(), "ext4", 0, ""); !errors.Is(err, unix.EBUSY) {
			t.Errorf("mounted while it is open: %v", err)
		}
		var be *device.BusyError
		if _, err := device.Open(loop, device.Options{Write: true}); !errors.As(err, &be) || be.PID != os.Getpid() {
			t.Errorf("opened twice: %v", err)
		}
		model := make([]byte, d.Size())
		if _, err := d.ReadAt(model, 0); err != nil {
			t.Error(err)
			return
		}
		junk := bytes.Repeat([]byte{0xa5}, 40_000)
		for _, at := range []int{4 << 20, 5<<20 + 7} {
			copy(model[at:], junk)
			if err := device.WriteV(d, [][]byte{junk[:7], junk[7:9000], junk[9000:]}, int64(at)); err != nil {
				t.Error(err)
			}
			clear(model[at+300 : at+300+20_000])
			if err := d.Zero(int64(at)+300, 20_000); err != nil {
				t.Error(err)
			}
		}
		if err := errors.Join(d.Discard(6<<20+100, 100_000), d.Discard(100, 100), d.Sync()); err != nil {
			t.Error(err)
		}
		got := make([]byte, d.Size())
		if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, model) {
			t.Errorf("content differs, %v", err)
		}
	})
}

// While somebody else keeps the device, as the kernel does that has mounted it after
// Yield, Linux refuses to zero without writing what it has not written yet: then zeros
// are written.
func TestImage_zeroKeptDevice(t *testing.T) {
	testimages.RequireLoop(t)
	img := filepath.Join(t.TempDir(), "img")
	model := bytes.Repeat([]byte{0xa5}, 4<<20)
	if err := os.WriteFile(img, model, 0o600); err != nil {
		t.Fatal(err)
	}
	testimages.WithLoop(t, img, func(loop string) {
		d, err := device.Open(loop, device.Options{Write: true, NoContainers: true, Partition: "@0"})
		if err != nil {
			t.Error(err)
			return
		}
		defer d.Close()
		if err := d.Yield(); err != nil {
			t.Error(err)
		}
		keeper, err := os.OpenFile(loop, os.O_RDONLY|unix.O_EXCL, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer keeper.Close()
		zero := func(off, n int64) {
			_, err := d.WriteAt(bytes.Repeat([]byte{0x5a}, int(n)), off)
			clear(model[off : off+n])
			if err := errors.Join(err, d.Zero(off, n)); err != nil {
				t.Errorf("%d bytes at %d: %v", n, off, err)
			}
		}
		zero(1<<20, 1<<20)
		zero(3<<20+100, 10_000)
		if err := d.Reclaim(); !errors.Is(err, device.ErrBusy) {
			t.Errorf("reclaimed what another has: %v", err)
		}
		keeper.Close()
		if err := d.Reclaim(); err != nil {
			t.Error(err)
		}
		zero(0, 1<<20)
		got := make([]byte, len(model))
		if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, model) {
			t.Errorf("content differs, %v", err)
		}
	})
}

// Discard and Zero keep an image sparse.
func TestImage_holes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "img")
	if err := os.WriteFile(path, bytes.Repeat([]byte{1}, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := device.Open(path, device.Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	before := blocksOf(t, path)
	if err := errors.Join(m.Discard(1<<20, 2<<20), m.Zero(4<<20+1, 2<<20), m.Sync()); err != nil {
		t.Fatal(err)
	}
	if after := blocksOf(t, path); before-after < 7000 {
		t.Errorf("%d sectors were given back", before-after)
	}
	st, err := os.Stat(path)
	if err != nil || st.Size() != 8<<20 {
		t.Errorf("%d bytes, %v", st.Size(), err)
	}
}

func blocksOf(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks
}

// A write the host has no room for is an error that says so.
func TestImage_hostFull(t *testing.T) {
	testimages.RequireRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(8<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	m, err := device.Open(path, device.Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b := bytes.Repeat([]byte{1}, 2<<20)
	if _, err := m.WriteAt(b, 0); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	if n, err := m.WriteVAt([][]byte{b[:1000], b[1000:]}, 0); !errors.Is(err, syscall.ENOSPC) || n > 1<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
}
