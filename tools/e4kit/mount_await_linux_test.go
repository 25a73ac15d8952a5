package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// testMountAgain: what umount(2) leaves to a server that still has the image open
// does not keep the next mount from it, which waits; a mount that is there does.
func testMountAgain(t *testing.T, l *mountLab) { l.again(l.img) }

// testMountDeviceAgain is the same with a block device that is none for the kernel.
func testMountDeviceAgain(t *testing.T, l *mountLab) { l.again(l.loop()) }

func (l *mountLab) again(image string) {
	t := l.t
	t.Helper()
	mount := []string{"mount", "-o", "noblkdev", image, l.dir}
	l.must(mount...)
	l.write("a", "content")
	var st mountStatus
	if err := json.Unmarshal([]byte(l.must("status", "--json", l.dir)), &st); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if r := l.run("mount", "-o", "noblkdev", image, t.TempDir()); r.code != exitFailed || !strings.Contains(r.stderr, "is locked by process "+itoa(int64(st.PID))) {
		t.Errorf("mounted twice: %v", r)
	}
	if d := time.Since(began); d > maxServerEnd/2 {
		t.Errorf("refused after %v", d)
	}
	// The server is slow to see that nothing is mounted any more.
	if err := syscall.Kill(st.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	safety := time.AfterFunc(maxServerEnd/2, func() { syscall.Kill(st.PID, syscall.SIGCONT) })
	defer safety.Stop()
	if err := unmountDir(context.Background(), l.dir, false); err != nil {
		t.Fatal(err)
	}
	done := make(chan result, 1)
	go func() { done <- l.run(mount...) }()
	select {
	case r := <-done:
		t.Errorf("the mount did not wait: %v", r)
		syscall.Kill(st.PID, syscall.SIGCONT)
		return
	case <-time.After(300 * time.Millisecond):
	}
	if err := syscall.Kill(st.PID, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.code != 0 || r.stderr != "" {
		t.Fatalf("mounted again: %v", r)
	}
	if b, err := os.ReadFile(filepath.Join(l.dir, "a")); string(b) != "content" {
		t.Errorf("%q, %v", b, err)
	}
	// Any number of times, without anybody waiting in between.
	for range 5 {
		if err := unmountDir(context.Background(), l.dir, false); err != nil {
			t.Fatal(err)
		}
		l.must(mount...)
	}
	l.must("umount", l.dir)
}
