package mount_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var churnRounds = flag.Int("churn-mount", 400, "rounds of TestLeaks, of some 80 system calls each")

// Nothing is left of what came and went, neither in the server nor in the image.
func TestLeaks(t *testing.T) {
	rounds := *churnRounds
	if testing.Short() {
		rounds = min(rounds, 120)
	}
	s := start(t, fresh(t, 64<<20), "")
	s.timer.Reset(patience + time.Duration(rounds)*100*time.Millisecond)
	churn(t, s.dir, rounds/4)
	warm := s.settled()
	churn(t, s.dir, rounds-rounds/4)
	end := s.settled()
	t.Logf("%d rounds: %+v and then %+v", rounds, warm, end)
	// Readers that the load has called keep their ways to the device.
	const readers = 32
	if end.goroutines > warm.goroutines || end.files > warm.files || end.devices > readers+1 || end.heap > warm.heap+(2<<20) {
		t.Errorf("it grows: %+v and then %+v", warm, end)
	}
	if end.devices == 0 {
		t.Error("/proc does not show what the server has open")
	}
	if end.resident > 200<<20 {
		t.Errorf("the server had %d bytes", end.resident)
	}
	s.stop()
	if got := manifest(t, s.img); len(got) != 2 {
		t.Errorf("left:\n%s", got)
	}
}

// settled counts when the kernel has told what it has forgotten, and the
// readers that nobody needs any more are gone.
func (s *served) settled() possessions {
	s.t.Helper()
	last := s.count()
	for end := time.Now().Add(5 * time.Second); ; {
		time.Sleep(50 * time.Millisecond)
		p := s.count()
		if p.nodes == 1 && p.handles == 0 && p.goroutines == last.goroutines {
			return p
		}
		if time.Now().After(end) {
			s.t.Errorf("the kernel has forgotten everything, but there are %+v", p)
			return p
		}
		last = p
	}
}

// churn makes, uses and removes files in several goroutines. One directory is
// changed by all.
func churn(t *testing.T, dir string, rounds int) {
	t.Helper()
	shared := dir + "/shared"
	must(t, "mkdir", os.Mkdir(shared, 0o755))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			d := fmt.Sprintf("%s/c%d", dir, w)
			rng := rand.New(rand.NewPCG(3, uint64(w)))
			for i := range rounds / 4 {
				err := churnNames(d, i)
				if err == nil {
					err = churnData(d, i)
				}
				if err == nil {
					err = churnShared(shared, rng)
				}
				if err == nil {
					err = os.RemoveAll(d)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	must(t, "remove", os.RemoveAll(shared))
}

// churnNames makes a directory and changes names in it.
func churnNames(d string, i int) error {
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
	err = errors.Join(os.Rename(d+"/f", d+"/g"), os.Symlink("g", d+"/l"), os.Link(d+"/g", d+"/h"),
		os.Mkdir(d+"/d", 0o700), os.Rename(d+"/h", d+"/d/h"), os.Link(d+"/d/h", d+"/i"), os.Rename(d+"/i", d+"/g"),
		unix.Mkfifo(d+"/p", 0o600), unix.Renameat2(unix.AT_FDCWD, d+"/p", unix.AT_FDCWD, d+"/l", unix.RENAME_EXCHANGE))
	if err != nil {
		return err
	}
	if _, err := os.ReadFile(d + "/p"); err != nil { // the link now
		return err
	}
	if list, err := os.ReadDir(d); err != nil || len(list) != 5 {
		return fmt.Errorf("%d names, %w", len(list), err)
	}
	if i%2 == 0 {
		f.Close()
	}
	return nil
}

// churnData changes what files hold, also such as have no name any more.
func churnData(d string, i int) error {
	f, err := os.OpenFile(d+"/data", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	fd := int(f.Fd())
	if _, err = f.WriteAt(make([]byte, 30000), int64(i%7)*5000); err != nil {
		return err
	}
	err = errors.Join(f.Truncate(20000), unix.Fsetxattr(fd, "user.a", make([]byte, i%300), 0), unix.Fsetxattr(fd, "user.b", nil, 0),
		unix.Fremovexattr(fd, "user.b"), unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, 60000), os.Chmod(d+"/data", 0o640),
		os.Chtimes(d+"/data", time.Unix(1, 0), time.Unix(2, 0)))
	if err != nil {
		return err
	}
	if i%3 != 0 {
		if err := os.Remove(d + "/data"); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(make([]byte, 9000), 40000); err != nil {
		return err
	}
	if i%50 == 0 {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	tmp, err := unix.Open(d, unix.O_TMPFILE|unix.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	_, err = unix.Write(tmp, make([]byte, 5000))
	if i%2 == 0 {
		err = errors.Join(err, unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", tmp), unix.AT_FDCWD, d+"/t", unix.AT_SYMLINK_FOLLOW))
	}
	return errors.Join(err, unix.Close(tmp))
}

// churnShared changes a directory that others change as well, so that most of it
// may fail, and lists it.
func churnShared(d string, rng *rand.Rand) error {
	for range 4 {
		a, b := d+"/"+name(rng.IntN(40)), d+"/"+name(rng.IntN(40))
		var err error
		switch rng.IntN(4) {
		case 0, 1:
			err = os.WriteFile(a, []byte("content"), 0o644)
		case 2:
			err = os.Remove(a)
		case 3:
			err = os.Rename(a, b)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	list, err := os.Open(d)
	if err != nil {
		return err
	}
	defer list.Close()
	for {
		some, err := list.Readdir(10) // which asks for the attributes of each
		if len(some) == 0 {
			if err == io.EOF {
				err = nil
			}
			return err
		}
	}
}
