package device_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
)

// An image that somebody cuts off while it is open is not called durable any
// more, also when it gets its length back.
func TestImage_shorterIsNotDurable(t *testing.T) {
	for name, store := range map[string]func(m *device.Image) error{
		"sync":       func(m *device.Image) error { return m.Sync() },
		"sync write": func(m *device.Image) error { _, err := m.WriteSyncAt([]byte("x"), 5); return err },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "img")
			if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<20)); err != nil {
				t.Fatal(err)
			}
			m, err := device.Open(path, device.Options{Write: true})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if err := store(m); err != nil {
				t.Fatalf("a whole image: %v", err)
			}
			if err := os.Truncate(path, 1<<19); err != nil {
				t.Fatal(err)
			}
			if err := store(m); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("half an image: %v", err)
			}
			if err := os.Truncate(path, 1<<20); err != nil {
				t.Fatal(err)
			}
			if err := m.Sync(); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("an image with a hole at its end: %v", err)
			}
		})
	}
}
