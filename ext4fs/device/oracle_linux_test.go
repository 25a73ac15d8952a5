package device_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
	"golang.org/x/sys/unix"
)

// What the kernel has mounted is told, whether it is opened as a file or as
// the device.
func TestInUse_mounted(t *testing.T) {
	testimages.RequireTool(t, "mke2fs")
	testimages.RequireLoop(t)
	img := filepath.Join(t.TempDir(), "img")
	testimages.Mkfs(t, img, 8<<20)
	free, err := device.Open(img, device.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if uses := free.InUse(); len(uses) != 0 {
		t.Errorf("nobody uses it, but %v", uses)
	}
	free.Close()
	for _, opts := range []string{"ro", "rw"} {
		testimages.WithMount(t, img, opts, func(dir string) {
			m, err := device.Open(img, device.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			defer m.Close()
			uses := m.InUse()
			if len(uses) != 1 || uses[0].Mount != dir || uses[0].Type != "ext4" || uses[0].ReadOnly != (opts == "ro") {
				t.Errorf("mounted %s on %s: %v", opts, dir, uses)
				return
			}
			checkDevice(t, m, uses[0])
		})
	}
}

func checkDevice(t *testing.T, m *device.Image, use device.Use) {
	t.Helper()
	d, err := device.Open(use.Device, device.Options{})
	if err != nil {
		t.Error(err)
		return
	}
	defer d.Close()
	if !d.BlockDevice() || d.Size() != m.Size() {
		t.Errorf("%s: block device %v, size %d; file of %d", use.Device, d.BlockDevice(), d.Size(), m.Size())
	}
	if uses := d.InUse(); len(uses) != 1 || uses[0] != use {
		t.Errorf("%s: in use as %v, the file as %v", use.Device, uses, use)
	}
	// The kernel keeps changed metadata in the device's cache, even of a
	// read-only mount, but it never changes the UUID.
	uuid := func(d device.Device) string {
		b := make([]byte, 16)
		if _, err := d.ReadAt(b, 1024+0x68); err != nil {
			t.Error(err)
		}
		return string(b)
	}
	if uuid(d) != uuid(m) {
		t.Errorf("%s is another file system than its file", use.Device)
	}
}

// Damaged images of the corpus come out of their container and are taken as a
// whole. Some are enough here: the file system's tests open all of them.
func TestOpen_corpus(t *testing.T) {
	dir := testimages.Corpus(t)
	images, err := filepath.Glob(filepath.Join(dir, "*.gz"))
	if err != nil || len(images) == 0 {
		t.Fatalf("no images in %s: %v", dir, err)
	}
	for i := 0; i < len(images); i += 8 {
		path := images[i]
		m, err := device.Open(path, device.Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		if m.Offset() != 0 || len(m.Containers()) != 1 {
			t.Errorf("%s: at %d in %v", path, m.Offset(), m.Containers())
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A decompression stops before the disk of its temporary file is full.
func TestOpen_leavesFreeSpace(t *testing.T) {
	testimages.RequireRoot(t)
	small := t.TempDir()
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=150m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	})
	img := filepath.Join(t.TempDir(), "img.gz")
	if err := os.WriteFile(img, gzipped(t, bytes.Repeat([]byte("not zero"), 48<<17)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := device.Open(img, device.Options{MemoryBytes: 1 << 20, TempDir: small})
	var te *device.TooLargeError
	if !errors.As(err, &te) || te.Dir != small || te.Stored < 32<<20 {
		t.Errorf("%v", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(small, &st); err != nil || st.Bfree != st.Blocks {
		t.Errorf("%d of %d blocks are free afterwards, %v", st.Bfree, st.Blocks, err)
	}
}

// A temporary file of a large image is gone from its folder at once, whatever
// TMPDIR says.
func TestOpen_honoursTMPDIR(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", filepath.Join(dir, "none"))
	img := filepath.Join(dir, "img.gz")
	if err := os.WriteFile(img, gzipped(t, bytes.Repeat([]byte{1}, 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := device.Open(img, device.Options{MemoryBytes: -1}); !os.IsNotExist(unwrap(err)) {
		t.Errorf("a TMPDIR that does not exist: %v", err)
	}
	t.Setenv("TMPDIR", dir)
	m, err := device.Open(img, device.Options{MemoryBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d entries beside the image", len(entries)-1)
	}
}
