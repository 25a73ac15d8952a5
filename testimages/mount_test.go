package testimages

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWithMount_keepsWhatWasWritten(t *testing.T) {
	img := filepath.Join(Scratch(t), "a.img")
	Mkfs(t, img, 8<<20, "-b", "1024")
	WithMount(t, img, "", func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "f"), []byte("hello"), 0o640); err != nil {
			t.Fatal(err)
		}
	})
	Fsck(t, img)
	WithMount(t, img, "ro", func(dir string) {
		if b, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(b) != "hello" {
			t.Fatalf("read %q, %v", b, err)
		}
	})
	if out := Debugfs(t, img, "cat f", "ls"); !strings.HasPrefix(out, "hello") {
		t.Fatalf("debugfs says %q", out)
	}
}

func TestWithMount_cleansUpAfterPanic(t *testing.T) {
	img := filepath.Join(Scratch(t), "a.img")
	Mkfs(t, img, 8<<20)
	var dir string
	func() {
		defer func() { recover() }()
		WithMount(t, img, "", func(d string) {
			dir = d
			panic("in fn")
		})
	}()
	if dir == "" {
		t.Fatal("fn was not called")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("mount point still there: %v", err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("still mounted (%v)", err)
	}
}

func TestMounted_refusesDamage(t *testing.T) {
	RequireLoop(t)
	img := filepath.Join(Scratch(t), "a.img")
	Mkfs(t, img, 8<<20, "-b", "1024")
	f, err := os.OpenFile(img, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt(make([]byte, 1024), 2<<10) // the group descriptors
	f.Close()
	err = Mounted(img, "ro", func(string) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "not mounted") {
		t.Fatalf("mounted a damaged image: %v", err)
	}
}

func TestShutdown_leavesJournalToRecover(t *testing.T) {
	RequireLoop(t)
	img := filepath.Join(Scratch(t), "a.img")
	Mkfs(t, img, 16<<20, "-b", "1024")
	WithMount(t, img, "", func(dir string) {
		if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := ShutdownFlushed(dir); err != nil {
			t.Fatal(err)
		}
	})
	if dirty, err := NeedsRecovery(img); err != nil || !dirty {
		t.Fatalf("NeedsRecovery = %v, %v", dirty, err)
	}
	WithMount(t, img, "", func(dir string) {
		if _, err := os.Stat(filepath.Join(dir, "d")); err != nil {
			t.Error(err)
		}
	})
	Fsck(t, img)
}
