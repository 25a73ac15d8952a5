package ext4fs

import (
	"math/rand/v2"
	"os"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// TestAttrs_readFaults: a read that fails leaves all as it was, or the file
// system can be changed no more; what is on disk is sound either way.
func TestAttrs_readFaults(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	path := formatFile(t, 8<<20, "-b", "1024", "-O", "ea_inode,quota,project", "-N", "256")
	base := newAttrModel(t, loadRAM(t, path), 5)
	for range 250 {
		base.step()
	}
	base.must(base.fs.Close())
	saved := saveRAM(t, base.dev)
	failed, aborted := 0, 0
	for n := range rounds {
		dev := loadRAM(t, saved)
		fw := testimages.NewFaultWriter(dev)
		f, err := Open(fw, &Options{Write: true, CommitInterval: -1, CacheBytes: 32 << 10})
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(uint64(n), 8))
		for range 12 {
			before, err := attrsText(f)
			if err != nil {
				t.Fatal(err)
			}
			fw.Inject(testimages.Fault{Ops: testimages.FaultRead, Nth: 1 + rng.IntN(4), Count: 1 + rng.IntN(2)})
			err = faultyStep(f, rng)
			fw.Heal()
			if err == nil {
				continue
			}
			failed++
			if !f.Writable() {
				aborted++
				break
			}
			if after, terr := attrsText(f); terr != nil || after != before {
				t.Fatalf("round %d: half a change was left by %v (%v):\n%s\n%s", n, err, terr, before, after)
			}
		}
		if err := f.Close(); err == nil || f.live.journal.Err() == nil {
			fsckDevice(t, dev)
			continue
		}
		if f, err = Open(dev, &Options{Write: true}); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		fsckAborted(t, dev)
	}
	t.Logf("%d changes failed, %d for good", failed, aborted)
}

// fsckAborted has an image judged whose journal was aborted and which was opened
// again since.
func fsckAborted(t *testing.T, dev device.Device) {
	t.Helper()
	path := saveRAM(t, dev)
	defer os.Remove(path)
	testimages.FsckAborted(t, path)
}

// faultyStep makes one change, or fails.
func faultyStep(f *FS, rng *rand.Rand) error {
	root, err := f.Root()
	if err != nil {
		return err
	}
	n, err := root.Lookup(string([]byte{'f', '0' + byte(rng.IntN(10))}))
	if err != nil {
		return nil
	}
	i, err := f.Inode(n)
	if err != nil {
		return nil
	}
	key := []string{"user.a", "trusted.bc", "security.d"}[rng.IntN(3)]
	switch rng.IntN(5) {
	case 0:
		return i.RemoveXattr(key)
	case 1:
		return i.SetAttr(&SetAttr{Valid: AttrUID | AttrMode | AttrProject, UID: uint32(rng.IntN(90)), Mode: 0o640, Project: 3})
	case 2:
		_, err := root.Create(string([]byte{'n', 'a' + byte(rng.IntN(26))}), &NewNode{
			Mode: disk.ModeRegular, Xattrs: []Xattr{{key, testimages.Content(rng.Uint64N(3), 3000)}},
		})
		return err
	}
	size := rng.IntN(4000)
	return i.SetXattr(key, testimages.Content(uint64(size), size), 0)
}
