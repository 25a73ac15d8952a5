package device

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func holdLock(kind, path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	fd := f.Fd()
	switch kind {
	case "flock":
		return unix.Flock(int(fd), unix.LOCK_EX)
	case "fcntl":
		return unix.FcntlFlock(fd, unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: 10, Len: 5})
	case "ofd":
		return unix.FcntlFlock(fd, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	case "qemu": // a guest that writes: the bytes for reading and writing
		return unix.FcntlFlock(fd, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: 100, Len: 2})
	case "qemu-ro":
		return unix.FcntlFlock(fd, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: 100, Len: 1})
	}
	return fmt.Errorf("unknown kind %q", kind)
}

// A lock of another process, of whatever kind, is noticed and its holder named
// where the kernel knows it.
func TestOpen_namesTheHolder(t *testing.T) {
	for _, tt := range []struct {
		kind  string
		busy  bool
		names bool
	}{
		{"flock", true, true},
		{"fcntl", true, true},
		{"ofd", true, false},
		{"qemu", true, false},
		{"qemu-ro", false, false},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			path := writeFile(t, testImage())
			pid := startHolder(t, tt.kind, path)
			m, err := Open(path, Options{})
			if err == nil {
				m.Close()
			}
			var be *BusyError
			if errors.As(err, &be) != tt.busy {
				t.Fatalf("error %v", err)
			}
			if !tt.busy {
				return
			}
			if tt.names && (be.PID != pid || !strings.HasPrefix(be.Holder, fmt.Sprintf("process %d (", pid))) {
				t.Errorf("holder %q, %d, is not process %d", be.Holder, be.PID, pid)
			}
			if be.Path != path {
				t.Errorf("path %q", be.Path)
			}
			m, err = Open(path, Options{NoLock: true})
			if err != nil {
				t.Fatal(err)
			}
			m.Close()
		})
	}
}

func TestOpen_namesItself(t *testing.T) {
	path := writeFile(t, testImage())
	m, err := Open(path, Options{Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	_, err = Open(path, Options{})
	var be *BusyError
	if !errors.As(err, &be) || be.Holder != "this process" || be.PID != os.Getpid() {
		t.Errorf("%v", err)
	}
}

// TestImage_CloseUnlocks: the lock ends with Close, though a child between fork
// and exec still has the file.
func TestImage_CloseUnlocks(t *testing.T) {
	path := writeFile(t, testImage())
	m, err := Open(path, Options{Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	child, err := unix.Dup(int(m.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if m, err = Open(path, Options{Exclusive: true}); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReadMounts(t *testing.T) {
	path := writeFile(t, []byte(strings.Join([]string{
		`36 35 98:0 / /mnt/a rw,noatime master:1 shared:2 - ext4 /dev/loop0 ro,errors=continue`,
		`37 35 7:1 /sub /mnt/with\040space\134 ro - ext4 /dev/loop1 rw`,
		`garbage`, `1 2 3 - x`, ``,
	}, "\n")))
	got := fmt.Sprint(readMounts(path))
	if want := `[{98:0 /mnt/a ext4 true} {7:1 /mnt/with space\ ext4 false}]`; got != want {
		t.Error(got)
	}
	if readMounts(path+"x") != nil {
		t.Error("mounts of nothing")
	}
}
