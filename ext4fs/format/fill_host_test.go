package format

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/tree"
	"github.com/e4kit/e4kit/testimages"
)

// TestWrite_largeFiles copies files of the host that take several batches, with
// and without a digest, to a file and to memory. Some change on the way.
func TestWrite_largeFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := map[string][]byte{
		"large":  testimages.Content(1, 20<<20+123),
		"batch":  testimages.Content(2, 8<<20),
		"middle": testimages.Content(3, 1<<20+1),
		"small":  testimages.Content(4, 5000),
		"grows":  testimages.Content(5, 9<<20),
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tr := tree.New()
	if err := tree.FromDir(t.Context(), tr, tree.Root, dir, &tree.Options{}); err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	f, err := os.OpenFile(filepath.Join(dir, "grows"), os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.Write([]byte("more"))
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	for _, reproducible := range []bool{false, true} {
		var warned []string
		var last ProgressInfo
		o := Options{
			Size: SizeAuto, Zeroed: true, Reproducible: reproducible,
			Warn: func(path string, err error) { warned = append(warned, path+": "+err.Error()) },
			Progress: func(p ProgressInfo) {
				if p.Files < last.Files || p.Bytes < last.Bytes || p.TotalBytes != last.TotalBytes && last.TotalBytes != 0 {
					t.Errorf("progress %+v after %+v", p, last)
				}
				last = p
			},
		}
		img, j := writeImage(t, o, tr)
		if len(warned) != 1 || !strings.HasPrefix(warned[0], "/grows: ") {
			t.Errorf("warnings %q", warned)
		}
		if last.Files != last.TotalFiles || last.Bytes != last.TotalBytes || last.Files != 5 {
			t.Errorf("progress ends at %+v", last)
		}
		last = ProgressInfo{}
		w := device.NewRAM(j.Size())
		if _, err := j.Write(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		d, err := device.Open(img, device.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		for _, dev := range []device.Device{d, w} {
			fsys, err := ext4fs.Open(dev, nil)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range files {
				got, err := fsys.ReadFile(name)
				if err != nil || string(got) != string(want) {
					t.Errorf("%s: %d bytes differ from %d: %v", name, len(got), len(want), err)
				}
			}
			if err := fsys.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
