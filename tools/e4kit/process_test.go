//go:build unix

package main

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/e4kit/e4kit/testimages"
)

// TestProcess_brokenPipe: nobody reads the output any more, which is no reason
// for a word.
func TestProcess_brokenPipe(t *testing.T) {
	bin := program(t)
	inDemo(t)
	cmd := exec.Command(bin, "find", "demo.img", "-printf", strings.Repeat("%p", 500))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	bufio.NewReader(out).ReadByte()
	out.Close()
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitPipe || stderr.Len() != 0 {
		t.Errorf("%v, says %q", err, stderr.String())
	}
}

// TestProcess_signal: SIGINT and SIGTERM end a copy with status 130, and every
// file that is there is whole.
func TestProcess_signal(t *testing.T) {
	testimages.RequireTool(t, "mke2fs")
	bin := program(t)
	src := t.TempDir()
	const size = 3 << 20
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	for _, name := range strings.Fields("a b c d e f g h i j k l m n o p q r s t") {
		if err := os.WriteFile(filepath.Join(src, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	img := filepath.Join(t.TempDir(), "img")
	testimages.Mkfs(t, img, 100<<20, "-d", src)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		interrupted := false
		for wait := 5 * time.Millisecond; wait < time.Second && !interrupted; wait += 5 * time.Millisecond {
			dest := t.TempDir()
			cmd := exec.Command(bin, "cp", "-a", img+":/", dest)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(wait)
			cmd.Process.Signal(sig)
			err := cmd.Wait()
			var exit *exec.ExitError
			if errors.As(err, &exit) && exit.ExitCode() == exitInterrupted {
				interrupted = len(tree(t, dest)) > 0
			} else if err == nil {
				break // it was too fast for the signal
			}
			checkWhole(t, dest, size)
		}
		if !interrupted {
			t.Logf("%v came too late or too early each time", sig)
		}
	}
}

func checkWhole(t *testing.T, dir string, size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil && (info.Size() != size || strings.HasPrefix(d.Name(), ".e4kit")) {
			t.Errorf("%s has %d bytes", path, info.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestProcess_fifo: a fifo or a device as destination is written into, not
// replaced.
func TestProcess_fifo(t *testing.T) {
	inDemo(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte)
	go func() {
		data, _ := os.ReadFile(fifo)
		got <- data
	}()
	r := e4kit("cp", "demo.img:/etc/fstab", fifo)
	if want := e4kit("cat", "demo.img:/etc/fstab").stdout; r.code != 0 || string(<-got) != want {
		t.Error(r)
	}
	if info, err := os.Lstat(fifo); err != nil || info.Mode().Type() != fs.ModeNamedPipe {
		t.Errorf("the fifo is gone: %v %v", info, err)
	}
	if r := e4kit("cp", "demo.img:/etc/fstab", os.DevNull); r.code != 0 {
		t.Error(r)
	}
}

// TestProcess_signalInto: a signal ends a copy into an image with status 130;
// every file in it is whole, and the image is clean.
func TestProcess_signalInto(t *testing.T) {
	testimages.RequireTool(t, "mke2fs", "e2fsck")
	bin := program(t)
	src := t.TempDir()
	const size = 3 << 20
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	for n := range 12 {
		if err := os.WriteFile(filepath.Join(src, string(rune('a'+n))), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for wait := 5 * time.Millisecond; wait < 60*time.Millisecond; wait += 9 * time.Millisecond {
		img := filepath.Join(t.TempDir(), "img")
		testimages.Mkfs(t, img, 64<<20)
		cmd := exec.Command(bin, "cp", "-a", src+"/.", img+":/")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(wait)
		cmd.Process.Signal(syscall.SIGINT)
		err := cmd.Wait()
		var exit *exec.ExitError
		// One that has not come to catching signals is killed by it.
		if err != nil && (!errors.As(err, &exit) || exit.Exited() && exit.ExitCode() != exitInterrupted) {
			t.Errorf("%v: %s", err, stderr.String())
		}
		testimages.Fsck(t, img)
		out := t.TempDir()
		if r := e4kit("cp", "-r", img+":/.", out); r.code != 0 {
			t.Error(r)
		}
		os.Remove(filepath.Join(out, "lost+found"))
		checkWhole(t, out, size)
	}
}
