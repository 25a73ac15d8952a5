package ext4fs

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
)

// formatFile makes a file system in a scratch file.
func formatFile(t testing.TB, size int64, args ...string) string {
	t.Helper()
	path := filepath.Join(testimages.Scratch(t), "test.img")
	testimages.Mkfs(t, path, size, args...)
	return path
}

// loadRAM reads an image file into memory.
func loadRAM(t testing.TB, path string) *device.RAM {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dev := device.NewRAM(int64(len(b)))
	if _, err := dev.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return dev
}

// saveRAM writes a device to a scratch file.
func saveRAM(t testing.TB, dev device.Device) string {
	t.Helper()
	path := filepath.Join(testimages.Scratch(t), "saved.img")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.Copy(file, io.NewSectionReader(dev, 0, dev.Size())); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// fsckDevice asks e2fsck about a device.
func fsckDevice(t testing.TB, dev device.Device) {
	t.Helper()
	path := saveRAM(t, dev)
	testimages.Fsck(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// openWrite opens a device for writing.
func openWrite(t testing.TB, dev device.Writer) *FS {
	t.Helper()
	f, err := Open(dev, &Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func closeWrite(t testing.TB, f *FS) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
