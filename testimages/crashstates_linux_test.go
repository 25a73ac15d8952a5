package testimages

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
)

// The judge lets the journal and the orphans of a crashed image be, and nothing
// else.
func TestJudgeCrash(t *testing.T) {
	RequireLoop(t)
	dir := Scratch(t)
	d, err := NewDumper(filepath.Join(dir, "state.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	seen := 0
	for seed := uint64(0); seed < 6; seed++ {
		c, err := CrashImage(dir, seed)
		if err != nil {
			t.Fatal(err)
		}
		if c.Journal != "" {
			continue
		}
		ram := loadFile(t, c.Path)
		if err := d.Judge(ram); err != nil {
			t.Errorf("%s: %v", c.How, err)
		}
		recovered, err := d.Load()
		if err != nil {
			t.Fatal(err)
		}
		if err := d.CheckClean(recovered); err != nil {
			t.Error(err)
		}
		if dirty, err := NeedsRecovery(d.Path()); err != nil || dirty {
			t.Errorf("not recovered, %v", err)
		}
		seen++
	}
	if seen == 0 {
		t.Error("nothing judged")
	}
}

func loadFile(t *testing.T, path string) *device.RAM {
	t.Helper()
	m, err := device.Open(path, device.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ram, err := device.LoadRAM(m)
	if err != nil {
		t.Fatal(err)
	}
	return ram
}

// What preening would repair in silence is found: a wrong count, an error flag,
// a lost bit.
func TestJudgeCrash_findsDamage(t *testing.T) {
	RequireLoop(t)
	img := filepath.Join(Scratch(t), "base.img")
	Mkfs(t, img, 8*mib)
	if err := Mounted(img, "", func(dir string) error {
		return os.WriteFile(dir+"/file", make([]byte, 100_000), 0o644)
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, command, says string }{
		{"none", "stat /", ""},
		{"group count", "set_bg 0 free_blocks_count 5; set_bg 0 checksum calc", "Free blocks count wrong"},
		{"bitmap", "freeb 300 1", "bitmap differences"},
		{"links", "sif /file links_count 2", "ref count"},
		{"error flag", "ssv state 3", "more than to recover"},
		{"not clean", "ssv state 0", "more than to recover"},
	} {
		t.Run(c.name, func(t *testing.T) {
			twin := Copy(t, img)
			DebugfsWrite(t, twin, strings.Split(c.command, "; ")...)
			err := JudgeCrash(twin)
			if c.says == "" && err == nil {
				return
			}
			if err == nil || c.says == "" || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if strings.HasPrefix(c.says, "more") != errors.Is(err, errMoreThanRecovery) {
				t.Errorf("%v", err)
			}
		})
	}
}
