package mount_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/testimages"
)

var kills = flag.Int("kills", 0, "kill the server that many times, instead of a few")

// killsPerImage is how often the server of one image is killed, which fills it.
const killsPerImage = 10

// A server killed under load leaves an image that its journal makes whole, with
// every file whose fsync came back. With -kills it is a campaign.
func TestKilled(t *testing.T) {
	testimages.RequireTool(t, "e2fsck")
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	if *kills > 0 {
		rounds = *kills
	}
	rng := rand.New(rand.NewPCG(5, 5))
	kept := 0
	for n := 0; n < rounds; n += killsPerImage {
		kept += killImage(t, rng, uint64(n), min(killsPerImage, rounds-n))
		if t.Failed() {
			break
		}
	}
	t.Logf("%d kills, %d promises looked up", rounds, kept)
}

// killImage kills the server of one image that many times. It returns how many
// promises were looked up.
func killImage(t *testing.T, rng *rand.Rand, seed uint64, rounds int) (kept int) {
	img := fresh(t, 128<<20)
	defer os.Remove(img)
	var p promises // all of them hold to the end
	for round := range rounds {
		s := start(t, img, "") // which recovers what the round before left
		var wg sync.WaitGroup
		for w := range 3 {
			wg.Go(func() {
				p.load(s.dir, fmt.Sprintf("w%d-%d", round, w), (seed+uint64(round))*10+uint64(w))
			})
		}
		time.Sleep(time.Duration(80+rng.IntN(400)) * time.Millisecond)
		if rng.IntN(3) == 0 { // while it closes the image
			must(t, "unmount", unix.Unmount(s.dir, unix.MNT_DETACH))
			time.Sleep(time.Duration(rng.IntN(1500)) * time.Microsecond)
		}
		s.kill()
		wg.Wait()
		kept += len(p.kept)
		p.judge(t, img, fmt.Sprintf("kill %d", seed+uint64(round)))
		if rng.IntN(3) == 0 { // while it recovers the image
			s := spawnAt(t, img, s.dir, "")
			time.Sleep(time.Duration(rng.IntN(40000)) * time.Microsecond)
			s.kill()
			p.judge(t, img, fmt.Sprintf("kill %d, and again", seed+uint64(round)))
		}
	}
	s := start(t, img, "")
	s.stop()
	return kept
}

// judge has e2fsck and e4kit recover copies of what a kill has left.
func (p *promises) judge(t *testing.T, img, when string) {
	t.Helper()
	theirs, ours := testimages.Copy(t, img), testimages.Copy(t, img)
	defer os.Remove(theirs)
	defer os.Remove(ours)
	if err := testimages.JudgeCrash(theirs); err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	p.check(t, theirs, when)
	fsys, err := ext4fs.OpenFile(ours, &ext4fs.Options{Write: true})
	if err == nil {
		err = fsys.Close()
	}
	if err == nil {
		err = testimages.Check(ours)
	}
	if err != nil {
		t.Fatalf("%s: recovery by e4kit: %v", when, err)
	}
	p.check(t, ours, when)
}

// promises are files whose content fsync has said to be on the image.
type promises struct {
	mu   sync.Mutex
	kept map[string]string // path in the image: content
}

// load works in a new directory of a mount until the server is gone. On a full
// image it takes back promises.
func (p *promises) load(top, sub string, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	dir := top + "/" + sub
	if os.Mkdir(dir, 0o755) != nil || syncDir(top) != nil {
		return
	}
	for i := 0; ; i++ {
		path := dir + "/" + name(i)
		content := string(testimages.Content(seed+uint64(i), rng.IntN(40000)))
		err := store(path, content, i%3 != 0)
		switch {
		case errors.Is(err, unix.ENOSPC) && p.takeBack(top):
			continue
		case err != nil:
			return
		}
		if i%3 == 0 { // promised by no one
			if i > 9 && rng.IntN(2) == 0 && os.Remove(path) != nil {
				return
			}
			continue
		}
		p.mu.Lock()
		if p.kept == nil {
			p.kept = map[string]string{}
		}
		p.kept[sub+"/"+name(i)] = content
		p.mu.Unlock()
	}
}

// store makes a file appear with its content, durably if wanted.
func store(path, content string, durable bool) error {
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil && durable {
		err = syncDir(filepath.Dir(path))
	}
	return err
}

// takeBack removes some file that was promised; false if there is none.
func (p *promises) takeBack(top string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for path := range p.kept {
		delete(p.kept, path)
		return os.Remove(top+"/"+path) == nil
	}
	return false
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
func (p *promises) check(t *testing.T, img, when string) {
	t.Helper()
	if len(p.kept) == 0 {
		t.Errorf("%s: no fsync came back", when)
	}
	fsys, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	broken := 0
	for path, content := range p.kept {
		got, err := fsys.ReadFile(path)
		if err == nil && string(got) == content {
			continue
		}
		if broken++; broken <= 5 {
			t.Errorf("%s: %s: %d bytes of %d, %v", when, path, len(got), len(content), err)
		}
	}
	if broken > 0 {
		t.Errorf("%s: %d of %d promises are broken", when, broken, len(p.kept))
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
