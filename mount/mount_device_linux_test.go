//go:build !386

package mount

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
	disks "github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
)

// The device is nobody's for a moment when the kernel takes it over. Who takes it
// then keeps it, and nothing is written to it any more; if he has it for a moment
// only, the mount is one without a device.
func TestMountDevice_taken(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		dev, fsys := openLoop(t)
		var thief *os.File
		d := &Device{
			Path: dev.Path(),
			Yield: func() (err error) {
				if err = dev.Yield(); err == nil {
					thief, err = os.OpenFile(dev.Path(), os.O_RDWR|unix.O_EXCL, 0)
				}
				return err
			},
			Reclaim: func() error {
				if !keeps {
					thief.Close()
				}
				return dev.Reclaim()
			},
		}
		dir := t.TempDir()
		s := New(fsys, Options{BlkDev: SwitchOn, Device: d})
		err := s.Mount(t.Context(), dir)
		m, mounted := mountAt(dir)
		switch {
		case keeps:
			if !errors.Is(err, errTaken) || mounted {
				t.Errorf("mounted %v, %v", mounted, err)
			}
			if err := fsys.Sync(t.Context()); !errors.Is(err, ext4fs.ErrReadOnly) {
				t.Errorf("sync: %v", err)
			}
		case err != nil || m.block() || !dev.Claimed():
			t.Errorf("mounted as %q, claimed %v, %v", m.kind, dev.Claimed(), err)
		default:
			if err := s.Unmount(); err != nil {
				t.Error(err)
			}
			if err := s.Wait(); err != nil {
				t.Error(err)
			}
		}
		thief.Close()
	}
}

// openLoop makes a file system on a loop device and opens it.
func openLoop(t *testing.T) (*disks.Image, *ext4fs.FS) {
	t.Helper()
	testimages.RequireRoot(t)
	testimages.RequireFUSE(t)
	testimages.RequireTool(t, "losetup", "mke2fs")
	img := t.TempDir() + "/img"
	testimages.Mkfs(t, img, 16<<20)
	out, err := exec.Command("losetup", "-f", "--show", img).Output()
	if err != nil {
		testimages.Absent(t, "losetup: "+err.Error())
	}
	loop := strings.TrimSpace(string(out))
	t.Cleanup(func() { exec.Command("losetup", "-d", loop).Run() })
	dev, err := disks.Open(loop, disks.Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	fsys, err := ext4fs.Open(dev, &ext4fs.Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fsys.Close() })
	return dev, fsys
}
