package testimages

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// envVictim makes the test binary mount an image and wait to be killed.
const envVictim = "E4KIT_TEST_VICTIM"

func TestKeeper_cleansUpAfterKill(t *testing.T) {
	if os.Getenv(envVictim) != "" {
		victim(t)
		return
	}
	RequireLoop(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestKeeper_cleansUpAfterKill$", "-test.v")
	cmd.Env = append(os.Environ(), envVictim+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dir := ""
	for lines := bufio.NewScanner(out); dir == "" && lines.Scan(); {
		if _, rest, ok := strings.Cut(lines.Text(), "mounted at "); ok {
			dir = rest
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	if dir == "" {
		t.Fatal("the child mounted nothing")
	}
	top := filepath.Dir(dir)
	for end := time.Now().Add(10 * time.Second); exists(top); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s is still there", top)
		}
	}
	for _, file := range []string{"/proc/self/mounts", "/proc/self/mountinfo"} {
		if b, err := os.ReadFile(file); err != nil || strings.Contains(string(b), top) {
			t.Errorf("%s still tells of %s (%v)", file, top, err)
		}
	}
	backing, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range backing {
		if name, err := os.ReadFile(b); err == nil && strings.Contains(string(name), top) {
			t.Errorf("%s still holds %s", b, name)
		}
	}
}

func victim(t *testing.T) {
	img := filepath.Join(Scratch(t), "victim.img")
	Mkfs(t, img, 8*mib)
	WithMount(t, img, "", func(dir string) {
		fmt.Println("mounted at " + dir)
		time.Sleep(time.Minute) // killed long before
	})
}
