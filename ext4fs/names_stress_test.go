package ext4fs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
)

// stressErrors may come up where many change the same names.
var stressErrors = []error{
	syscall.EEXIST, syscall.ENOENT, syscall.ENOTDIR, syscall.EISDIR, syscall.ENOTEMPTY, syscall.EINVAL, syscall.EPERM, syscall.EBUSY, syscall.ELOOP,
}

// stressStep does something at random.
func stressStep(f *FS, rng *rand.Rand) error {
	path := func() string {
		p := string(rune('a' + rng.IntN(4)))
		for rng.IntN(3) > 0 {
			p += "/" + string(rune('a'+rng.IntN(4)))
		}
		return p
	}
	p, q := path(), path()
	switch rng.IntN(14) {
	case 0, 1, 2:
		return f.MkdirAll(p, 0o755)
	case 3, 4:
		return f.WriteFile(p, []byte(q), 0o644)
	case 5:
		return f.Symlink(q, p)
	case 6:
		return f.Link(p, q)
	case 7:
		return f.Remove(p)
	case 8, 9, 10:
		flags := []RenameFlags{0, 0, RenameNoReplace, RenameExchange, RenameWhiteout}[rng.IntN(5)]
		return f.RenameWith(p, q, flags)
	case 11:
		file, err := f.OpenFile(p, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		return errors.Join(f.Remove(p), file.Close())
	case 12:
		_, err := f.ReadDir(p)
		return err
	}
	if rng.IntN(10) == 0 {
		return f.RemoveAll(p)
	}
	return nil
}

func TestNamesStress(t *testing.T) {
	for _, args := range [][]string{{"-b", "1024"}, {"-O", "inline_data,orphan_file"}} {
		dev := formatRAM(t, 32<<20, args...)
		f := openWrite(t, dev)
		steps := 1500
		if testing.Short() {
			steps = 200
		}
		var group sync.WaitGroup
		for g := range 8 {
			rng := rand.New(rand.NewPCG(uint64(g), 3))
			group.Go(func() {
				for range steps {
					err := stressStep(f, rng)
					known := err == nil
					for _, e := range stressErrors {
						known = known || errors.Is(err, e)
					}
					if !known {
						t.Error(err)
						return
					}
					if rng.IntN(200) == 0 {
						if err := f.Sync(context.Background()); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		group.Wait()
		closeWrite(t, f)
		fsckDevice(t, dev)
	}
}

// TestNamesStress_parallel: what is done in different directories does not get
// mixed up.
func TestNamesStress_parallel(t *testing.T) {
	dev := formatRAM(t, 64<<20, "-N", "20000", "-b", "1024")
	f := openWrite(t, dev)
	const workers, files = 8, 500
	var group sync.WaitGroup
	for g := range workers {
		group.Go(func() {
			dir := fmt.Sprintf("dir%d", g)
			if err := f.Mkdir(dir, 0o755); err != nil {
				t.Error(err)
				return
			}
			for k := range files {
				name := fmt.Sprintf("%s/file%d", dir, k)
				err := f.WriteFile(name, []byte(name), 0o644)
				if err == nil && k%2 == 0 {
					err = f.Rename(name, name+"-new")
				}
				if err == nil && k%5 == 0 {
					err = f.Link("lost+found/../"+dir+"/file1", name+"-link")
				}
				if err != nil && k > 1 {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	for g := range workers {
		for k := range files {
			name := fmt.Sprintf("dir%d/file%d", g, k)
			want := name
			if k%2 == 0 {
				name += "-new"
			}
			if b, err := f.ReadFile(name); err != nil || string(b) != want {
				t.Fatalf("%s: %q %v", name, b, err)
			}
		}
	}
	closeWrite(t, f)
	fsckDevice(t, dev)
}
