package ext4fs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
	"golang.org/x/sys/unix"
)

// mmpImage makes an image with the feature and opens it.
func mmpImage(t *testing.T, args ...string) (string, ext4fs.MMPConfig) {
	t.Helper()
	testimages.RequireLoop(t)
	img := filepath.Join(testimages.Scratch(t), "mmp.img")
	testimages.Mkfs(t, img, 16<<20, append([]string{"-O", "mmp", "-E", "mmp_update_interval=1"}, args...)...)
	m, err := device.Open(img, device.Options{Write: true, NoLock: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	b := make([]byte, 1024)
	if _, err := m.ReadAt(b, 1024); err != nil {
		t.Fatal(err)
	}
	var sb disk.Superblock
	if err := sb.Decode(b); err != nil {
		t.Fatal(err)
	}
	return img, ext4fs.MMPConfig{
		Device: m, Block: sb.MMPBlock, BlockSize: sb.BlockSize(), UpdateInterval: time.Duration(sb.MMPInterval) * time.Second,
		Checksum: sb.HasMetadataCsum(), Seed: sb.Seed(), Node: "this-host", Name: "mmp.img",
	}
}

// What the kernel has mounted is refused, and it says who it is.
func TestMMP_kernelHasIt(t *testing.T) {
	for _, args := range [][]string{nil, {"-O", "^metadata_csum", "-b", "1024"}} {
		img, c := mmpImage(t, args...)
		testimages.WithMount(t, img, "", func(string) {
			_, err := ext4fs.StartMMP(t.Context(), c)
			var me *ext4fs.MMPError
			node, _ := os.Hostname()
			if !errors.As(err, &me) || !errors.Is(err, unix.EBUSY) || me.Status.Node != node || !strings.HasPrefix(me.Status.Device, "loop") {
				t.Errorf("%v", err)
			} else if d := time.Since(me.Status.Updated); d < -time.Minute || d > time.Minute {
				t.Errorf("updated %v ago", d)
			}
		})
		k, err := ext4fs.StartMMP(t.Context(), c)
		if err != nil {
			t.Fatalf("after unmounting: %v", err)
		}
		if err := k.Stop(); err != nil {
			t.Error(err)
		}
		testimages.Fsck(t, img)
	}
}

// What we hold is refused by the kernel and by e2fsck, and taken by them
// afterwards.
func TestMMP_weHaveIt(t *testing.T) {
	if testing.Short() {
		t.Skip("the kernel waits for 11 seconds")
	}
	img, c := mmpImage(t)
	k, err := ext4fs.StartMMP(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	testimages.WithLoop(t, img, func(loop string) {
		dir := t.TempDir()
		err := unix.Mount(loop, dir, "ext4", 0, "")
		if err == nil {
			unix.Unmount(dir, 0)
		}
		if !errors.Is(err, unix.EBUSY) {
			t.Errorf("the kernel mounts it: %v", err)
		}
	})
	out := testimages.Debugfs(t, img, "dump_mmp")
	if !strings.Contains(out, "this-host") || !strings.Contains(out, "mmp.img") {
		t.Errorf("dump_mmp says %s", out)
	}
	if err := k.Err(); err != nil {
		t.Error(err)
	}
	if err := k.Stop(); err != nil {
		t.Error(err)
	}
	start := time.Now()
	testimages.WithMount(t, img, "", func(string) {})
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("the kernel waited for %v: it does not think it clean", d)
	}
	testimages.Fsck(t, img)
}

// A checker's mark keeps the kernel out at once.
func TestMMP_weCheck(t *testing.T) {
	img, c := mmpImage(t)
	c.Fsck = true
	k, err := ext4fs.StartMMP(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	testimages.WithLoop(t, img, func(loop string) {
		dir := t.TempDir()
		err := unix.Mount(loop, dir, "ext4", 0, "")
		if err == nil {
			unix.Unmount(dir, 0)
			t.Error("the kernel mounts it")
		}
	})
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("the kernel waited for %v", d)
	}
	if err := k.Stop(); err != nil {
		t.Error(err)
	}
}

// While the kernel has it mounted a wait can be cancelled.
func TestMMP_cancelledBesideTheKernel(t *testing.T) {
	img, c := mmpImage(t)
	testimages.WithMount(t, img, "", func(string) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := ext4fs.StartMMP(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}
