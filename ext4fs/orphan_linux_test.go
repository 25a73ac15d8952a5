package ext4fs

import (
	"fmt"
	"os"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// TestOrphans_ofKernel: what the kernel noted as orphans is cleaned up.
func TestOrphans_ofKernel(t *testing.T) {
	testimages.RequireLoop(t)
	for _, format := range orphanFormats {
		t.Run(format.name, func(t *testing.T) {
			path := formatFile(t, 32<<20, format.args...)
			testimages.WithMount(t, path, "", func(dir string) {
				for k := range 40 {
					name := fmt.Sprintf("%s/file%d", dir, k)
					file, err := os.Create(name)
					if err != nil {
						t.Fatal(err)
					}
					defer file.Close()
					if _, err := file.WriteAt(make([]byte, 1000*k), 5000); err != nil {
						t.Fatal(err)
					}
					if err := file.Sync(); err != nil {
						t.Fatal(err)
					}
					if err := os.Remove(name); err != nil {
						t.Fatal(err)
					}
				}
				if err := testimages.ShutdownFlushed(dir); err != nil {
					t.Fatal(err)
				}
			})
			dev := loadRAM(t, path)
			f := openWrite(t, dev)
			if o := f.Recovered().Orphans; o.Deleted != 40 || len(o.Bad) != 0 {
				t.Errorf("orphans: %+v", o)
			}
			closeWrite(t, f)
			fsckDevice(t, dev)
		})
	}
}

// TestOrphans_forKernel: the kernel cleans up what this package noted.
func TestOrphans_forKernel(t *testing.T) {
	testimages.RequireLoop(t)
	for _, format := range orphanFormats {
		t.Run(format.name, func(t *testing.T) {
			dev := formatRAM(t, 32<<20, format.args...)
			f := openWrite(t, dev)
			free := f.live.alloc.Counts()
			makeOrphans(t, f, 40)
			path := saveRAM(t, crashed(t, f, dev))
			testimages.WithMount(t, path, "", func(string) {})
			testimages.Fsck(t, path)
			after := openWrite(t, loadRAM(t, path))
			if now := after.live.alloc.Counts(); now != free {
				t.Errorf("free: %+v, was %+v", now, free)
			}
			closeWrite(t, after)
			closeWrite(t, f)
		})
	}
}
