package mount_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/testimages"
)

// A server killed under load leaves an image that its journal makes whole, with
// every file whose fsync came back.
func TestKilled(t *testing.T) {
	testimages.RequireTool(t, "e2fsck")
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	img := fresh(t, 128<<20)
	rng := rand.New(rand.NewPCG(5, 5))
	for round := range rounds {
		s := start(t, img, "") // which recovers what the round before left
		var p promises
		var wg sync.WaitGroup
		for w := range 3 {
			wg.Go(func() { p.load(fmt.Sprintf("%s/w%d-%d", s.dir, round, w), uint64(round*10+w)) })
		}
		time.Sleep(time.Duration(80+rng.IntN(400)) * time.Millisecond)
		s.kill()
		wg.Wait()
		crashed := testimages.Copy(t, img)
		if err := testimages.JudgeCrash(crashed); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		p.check(t, crashed, s.dir)
	}
	s := start(t, img, "")
	s.stop()
}

// promises are files whose content fsync has said to be on the image.
type promises struct {
	mu   sync.Mutex
	kept map[string]string // path: content
}

// load works in a new directory until the server is gone.
func (p *promises) load(dir string, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	if os.Mkdir(dir, 0o755) != nil || syncDir(dir+"/..") != nil {
		return
	}
	for i := 0; ; i++ {
		path := dir + "/" + name(i)
		content := string(testimages.Content(seed+uint64(i), rng.IntN(40000)))
		f, err := os.Create(path + ".new")
		if err != nil {
			return
		}
		_, err = f.WriteString(content)
		if err == nil && i%3 != 0 {
			err = f.Sync()
		}
		if cerr := f.Close(); err != nil || cerr != nil {
			return
		}
		if os.Rename(path+".new", path) != nil {
			return
		}
		if i%3 == 0 { // promised by no one
			if i > 9 && rng.IntN(2) == 0 && os.Remove(path) != nil {
				return
			}
			continue
		}
		if syncDir(dir) != nil {
			return
		}
		p.mu.Lock()
		if p.kept == nil {
			p.kept = map[string]string{}
		}
		p.kept[path] = content
		p.mu.Unlock()
	}
}

func syncDir(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fsync(fd)
}

// check looks the promised files up in an image.
func (p *promises) check(t *testing.T, img, dir string) {
	t.Helper()
	if len(p.kept) == 0 {
		t.Error("no fsync came back")
	}
	fsys, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	broken := 0
	for path, content := range p.kept {
		got, err := fsys.ReadFile(path[len(dir)+1:])
		if err == nil && string(got) == content {
			continue
		}
		if broken++; broken <= 5 {
			t.Errorf("%s: %d bytes of %d, %v", path[len(dir):], len(got), len(content), err)
		}
	}
	if broken > 0 {
		t.Errorf("%d of %d promises are broken", broken, len(p.kept))
	}
}

// What was written but not synced is on the image after an unmount of any kind.
func TestEnds(t *testing.T) {
	for what, end := range map[string]func(s *served) error{
		"umount":          func(s *served) error { return unix.Unmount(s.dir, 0) },
		"lazy":            func(s *served) error { return unix.Unmount(s.dir, unix.MNT_DETACH) },
		"asked":           func(s *served) error { return s.in.Close() },
		"while in use":    endInUse,
		"fusermount3 -uz": func(s *served) error { testimages.Run(s.t, "fusermount3", "-uz", s.dir); return nil },
	} {
		t.Run(what, func(t *testing.T) {
			if what == "fusermount3 -uz" {
				testimages.RequireTool(t, "fusermount3")
			}
			s := start(t, fresh(t, 32<<20), "")
			content := testimages.Content(1, 3<<20)
			must(t, "write", os.WriteFile(s.path("f"), content, 0o644))
			must(t, "end", end(s))
			s.ended()
			fsys, err := ext4fs.OpenFile(s.img, nil)
			must(t, "open", err)
			defer fsys.Close()
			if got, err := fsys.ReadFile("f"); err != nil || string(got) != string(content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

// endInUse unmounts lazily under an open file that is written afterwards.
func endInUse(s *served) error {
	f, err := os.OpenFile(s.path("g"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Unmount(s.dir, 0); err != unix.EBUSY {
		return fmt.Errorf("unmount in use: %v", err)
	}
	if err := unix.Unmount(s.dir, unix.MNT_DETACH); err != nil {
		return err
	}
	_, err = f.WriteString("after the name is gone")
	return err
}

// Nothing is left of what came and went.
func TestLeaks(t *testing.T) {
	rounds := 500
	if testing.Short() {
		rounds = 150
	}
	s := start(t, fresh(t, 64<<20), "")
	churn(t, s.dir, rounds/3)
	goroutines, fds, heap := s.count()
	churn(t, s.dir, rounds)
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		g, f, h := s.count()
		if g <= goroutines+10 && f <= fds+16 && h <= heap+(8<<20) {
			break
		}
		if time.Now().After(end) {
			t.Errorf("goroutines %d and then %d, descriptors %d and %d, heap %d and %d", goroutines, g, fds, f, heap, h)
			break
		}
	}
	s.stop()
	if got := manifest(t, s.img); len(got) != 2 {
		t.Errorf("left:\n%s", got)
	}
}

// churn makes, uses and removes files in several goroutines.
func churn(t *testing.T, dir string, rounds int) {
	t.Helper()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			d := fmt.Sprintf("%s/c%d", dir, w)
			for i := 0; i < rounds; i++ {
				if err := churnOnce(d, i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func churnOnce(d string, i int) error {
	if err := os.Mkdir(d, 0o755); err != nil {
		return err
	}
	f, err := os.Create(d + "/f")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 1000*(i%20))); err != nil {
		return err
	}
	if err := os.Rename(d+"/f", d+"/g"); err != nil {
		return err
	}
	if err := os.Symlink("g", d+"/l"); err != nil {
		return err
	}
	if _, err := os.ReadFile(d + "/l"); err != nil {
		return err
	}
	if list, err := os.ReadDir(d); err != nil || len(list) != 2 {
		return fmt.Errorf("%d names, %w", len(list), err)
	}
	if i%2 == 0 {
		f.Close()
	}
	return os.RemoveAll(d)
}
