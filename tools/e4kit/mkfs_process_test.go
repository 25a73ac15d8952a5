//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
)

// TestProcess_mkfsKilled: a build that is ended at any moment, by whatever
// signal, leaves no file, neither under its name nor under another, or, when all
// was done but the exit, the whole image.
func TestProcess_mkfsKilled(t *testing.T) {
	testimages.RequireTool(t, "e2fsck")
	bin := program(t)
	src, dir := t.TempDir(), testimages.Scratch(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	for n := range 24 {
		if err := os.WriteFile(filepath.Join(src, fmt.Sprint("file", n)), content[:(n+1)<<15], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, form := range []string{"img", "img.zst", "img.simg"} {
		ended := 0
		for n := range killRounds() {
			sig := []syscall.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGTERM}[n%3]
			img := filepath.Join(dir, "made."+form)
			cmd := exec.Command(bin, "mkfs", "-q", "--from", src, img, "64M")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(rnd.IntN(60)) * time.Millisecond)
			cmd.Process.Signal(sig)
			err := cmd.Wait()
			left := tree(t, dir)
			if err == nil && len(left) != 1 {
				t.Errorf("%s: left %q", form, left)
			}
			if len(left) == 1 && left[0] == filepath.Base(img) {
				if form == "img" {
					testimages.Fsck(t, img)
				}
				if r := e4kit("cat", img+":/file23"); r.code != 0 || r.stdout != string(content[:24<<15]) {
					t.Errorf("%s: ended by %v (%v) it left an image with %d bytes in file23: %s", form, sig, err, len(r.stdout), r.stderr)
				}
				os.Remove(img)
				left = nil
			}
			if err == nil {
				continue
			}
			ended++
			var exit *exec.ExitError
			if errors.As(err, &exit) && exit.Exited() && exit.ExitCode() != exitInterrupted {
				t.Errorf("%s: %v: %v", form, sig, err)
			}
			if len(left) > 0 {
				t.Errorf("%s: ended by %v it left %q", form, sig, left)
				os.Remove(img)
			}
		}
		if ended == 0 {
			t.Logf("%s: every signal came too late", form)
		}
	}
}

// killRounds is how many builds are ended, of each kind.
func killRounds() int {
	if testing.Short() {
		return 4
	}
	return 12
}

// TestProcess_mkfsKilledInPlace: an image that was being written over is the old
// one, the new one, or none: never one that looks whole and is not.
func TestProcess_mkfsKilledInPlace(t *testing.T) {
	testimages.RequireTool(t, "e2fsck")
	bin := program(t)
	src, dir := t.TempDir(), testimages.Scratch(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	for n := range 24 {
		if err := os.WriteFile(filepath.Join(src, fmt.Sprint("file", n)), content[:(n+1)<<15], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	img := filepath.Join(dir, "a.img")
	counts := map[string]int{}
	for n := range killRounds() {
		// Without discard, so that the old content does not go at once.
		how := [][]string{{"-K"}, nil}[n%2]
		if r := e4kit("mkfs", "-qF", "-L", "old", img, "64M"); r.code != 0 {
			t.Fatal(r)
		}
		cmd := exec.Command(bin, append([]string{"mkfs", "-qF", "-L", "new", "--from", src, img}, how...)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rnd.IntN(40)) * time.Millisecond)
		cmd.Process.Signal([]syscall.Signal{syscall.SIGKILL, syscall.SIGINT}[n/2%2])
		err := cmd.Wait()
		r := e4kit("label", img)
		label := strings.TrimSpace(r.stdout)
		switch {
		case r.code != 0 && strings.Contains(r.stderr, "not an ext"):
			label = "none"
		case r.code != 0:
			t.Fatal(r)
		default:
			testimages.Fsck(t, img)
		}
		if err == nil && label != "new" {
			t.Errorf("build %d ended well, and the image is %s", n, label)
		}
		counts[label]++
	}
	t.Log(counts)
}

// TestProcess_mkfsTooLarge: what goes wrong with the file that has no name yet
// is told of the name that it was to have, and nothing is left.
func TestProcess_mkfsTooLarge(t *testing.T) {
	dir := testimages.Scratch(t)
	for _, form := range []string{"img", "img.zst"} {
		img := filepath.Join(dir, "made."+form)
		out, err := exec.Command("sh", "-c", `ulimit -f 1024 && exec "$@"`, "sh", program(t), "mkfs", img, "1G").CombinedOutput()
		if want := "e4kit: " + img + ": file too large\n"; err == nil || string(out) != want {
			t.Errorf("%s: %v, %q, not %q", form, err, out, want)
		}
	}
	if left := tree(t, dir); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

// TestMkfs_interruptedBefore: an image is whole as long as the one that is to
// take its place is not begun.
func TestMkfs_interruptedBefore(t *testing.T) {
	t.Chdir(t.TempDir())
	makeSources(t)
	if r := e4kit("mkfs", "-q", "old.img", "8M"); r.code != 0 {
		t.Fatal(r)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := world{ctx: ctx}.run("mkfs", "-F", "--from", "dir", "old.img")
	if r.code != exitInterrupted {
		t.Error(r)
	}
	// It was not even begun.
	if r := e4kit("ls", "old.img"); r.code != 0 {
		t.Error(r)
	}
	ctx, cancel = context.WithCancel(context.Background())
	e := newTestEnv(ctx, &cancelling{3, cancel}, new(bytes.Buffer), new(bytes.Buffer))
	if code := run(e, []string{"mkfs", "-F", "--from", "-", "old.img"}); code != exitInterrupted {
		t.Errorf("status %d", code)
	}
	if r := (world{ctx: ctx}).run("mkfs", "--from", "dir", "new.img"); r.code != exitInterrupted {
		t.Error(r)
	}
	if _, err := os.Stat("new.img"); err == nil {
		t.Error("an interrupted build made new.img")
	}
}

// TestMkfs_busy: what somebody uses is refused, also with --force.
func TestMkfs_busy(t *testing.T) {
	t.Chdir(t.TempDir())
	if r := e4kit("mkfs", "-q", "a.img", "8M"); r.code != 0 {
		t.Fatal(r)
	}
	img, err := device.Open("a.img", device.Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	r := e4kit("mkfs", "-F", "a.img")
	img.Close()
	if r.code != exitFailed || !strings.Contains(r.stderr, "locked") {
		t.Error(r)
	}
	if r := e4kit("mkfs", "-F", "a.img"); r.code != 0 {
		t.Error(r)
	}
}

// TestMkfs_mounted: a mounted file and a mounted device are refused, and a
// device is made a file system in otherwise.
func TestMkfs_mounted(t *testing.T) {
	testimages.RequireLoop(t)
	dir := testimages.Scratch(t)
	img := filepath.Join(dir, "a.img")
	if r := e4kit("mkfs", "-q", img, "16M"); r.code != 0 {
		t.Fatal(r)
	}
	testimages.Fsck(t, img)
	out, err := exec.Command("losetup", "-f", "--show", img).Output()
	if err != nil {
		t.Fatal(err)
	}
	loop := strings.TrimSpace(string(out))
	detach := func() { exec.Command("losetup", "-d", loop).Run() }
	defer func() { detach() }()
	if r := e4kit("mkfs", "-F", img); r.code != exitFailed || !strings.Contains(r.stderr, loop) {
		t.Errorf("attached to %s: %v", loop, r)
	}
	if r := e4kit("mkfs", loop); r.code != exitFailed || !strings.Contains(r.stderr, "ext4 file system") {
		t.Errorf("%s: %v", loop, r)
	}
	if r := e4kit("mkfs", "-F", loop, "17M"); r.code != exitFailed || !strings.Contains(r.stderr, "room") {
		t.Errorf("%s: %v", loop, r)
	}
	if r := e4kit("mkfs", "-F", "--free", "20M", loop); r.code != exitFailed || strings.Contains(r.stderr, "incomplete") {
		t.Errorf("%s: %v", loop, r)
	}
	if r := e4kit("label", loop); r.code != 0 {
		t.Errorf("what was refused has changed %s: %v", loop, r)
	}
	if r := e4kit("mkfs", "-F", "-L", "second", loop); r.code != 0 || !strings.Contains(r.stdout, "second") {
		t.Errorf("%s: %v", loop, r)
	}
	mnt := t.TempDir()
	if out, err := exec.Command("mount", loop, mnt).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{loop, img} {
		if r := e4kit("mkfs", "-F", name); r.code != exitFailed || !strings.Contains(r.stderr, "mounted on") {
			t.Errorf("%s: %v", name, r)
		}
	}
	if out, err := exec.Command("umount", mnt).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	detach()
	testimages.Fsck(t, img)
}

// TestMkfs_reproducible: the same content gives the same bytes, whatever the
// clock and the times of access say, and wherever it lies.
func TestMkfs_reproducible(t *testing.T) {
	var first []byte
	for n := range 3 {
		t.Chdir(t.TempDir())
		makeSources(t)
		when := time.Unix(1_700_000_000, 123)
		os.Remove("dir/link")
		for _, name := range []string{"dir/sub", "dir/file", "dir"} {
			if err := os.Chtimes(name, when.Add(time.Duration(n)*time.Hour), when); err != nil {
				t.Fatal(err)
			}
		}
		r := e4kit("mkfs", "-q", "--reproducible", "--from", "dir", "a.img", "8M")
		if r.code != 0 {
			t.Fatal(r)
		}
		data, err := os.ReadFile("a.img")
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			first = data
		} else if !bytes.Equal(first, data) {
			t.Errorf("build %d differs", n)
		}
		t.Chdir("/")
	}
	t.Chdir(t.TempDir())
	makeSources(t)
	w := world{env: map[string]string{"SOURCE_DATE_EPOCH": "1000000000"}}
	for _, name := range []string{"a.img", "b.img"} {
		if r := w.run("mkfs", "-q", "--from", "dir", name, "8M"); r.code != 0 {
			t.Fatal(r)
		}
	}
	a, _ := os.ReadFile("a.img")
	b, _ := os.ReadFile("b.img")
	if !bytes.Equal(a, b) || len(a) != 8<<20 {
		t.Error("two builds with SOURCE_DATE_EPOCH differ")
	}
	if r := e4kit("stat", "-c", "%Y %Z", "a.img:/file"); r.stdout != "1000000000 1000000000\n" {
		t.Errorf("times are not clamped: %v", r)
	}
	for _, bad := range []string{"x", "-1", "1.5", "99999999999"} {
		w := world{env: map[string]string{"SOURCE_DATE_EPOCH": bad}}
		if r := w.run("mkfs", "c.img", "8M"); r.code != exitUsage || !strings.Contains(r.stderr, "SOURCE_DATE_EPOCH") {
			t.Errorf("%q: %v", bad, r)
		}
	}
}
