package ext4fs_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
)

// corpusImage is what the corpus' index says of an image.
type corpusImage struct {
	Name string
	Kind string
	Tree struct {
		MustMatch bool `json:"must_match"`
	}
}

func corpusImages(t *testing.T) (string, []corpusImage) {
	t.Helper()
	dir := testimages.Corpus(t)
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index struct{ Images []corpusImage }
	if err := json.Unmarshal(raw, &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Images) == 0 {
		t.Fatal("the corpus is empty")
	}
	return dir, index.Images
}

// openCorpus opens a corpus image with its external journal, if it has one.
func openCorpus(t *testing.T, dir, name string, ignore bool) (*ext4fs.FS, error) {
	t.Helper()
	opts := &ext4fs.Options{IgnoreChecksums: ignore}
	if j := filepath.Join(dir, name+".journal.img.gz"); exists(j) {
		dev, err := device.Open(j, device.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dev.Close() })
		opts.Journal = dev
	}
	return ext4fs.OpenFile(filepath.Join(dir, name+".img.gz"), opts)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestCorpus_damagedImages opens and walks every damaged image, with and
// without checksums: whatever is there, it ends, and errors say what is wrong.
func TestCorpus_damagedImages(t *testing.T) {
	dir, images := corpusImages(t)
	for _, im := range images {
		for _, ignore := range []bool{false, true} {
			name := im.Name
			if ignore {
				name += "/nocsum"
			}
			t.Run(name, func(t *testing.T) {
				start := time.Now()
				fsys, err := openCorpus(t, dir, im.Name, ignore)
				if err != nil {
					if !clear(err) {
						t.Errorf("not a typed error: %v", err)
					}
					return
				}
				defer fsys.Close()
				walkAll(t, fsys, 20000)
				if d := time.Since(start); d > 30*time.Second {
					t.Errorf("took %v", d)
				}
			})
		}
	}
}

// clear reports whether an error says what kind of trouble an image has.
func clear(err error) bool {
	for _, kind := range []error{ext4fs.ErrCorrupt, ext4fs.ErrChecksum, ext4fs.ErrUnsupported, ext4fs.ErrNotExt4, ext4fs.ErrNoJournal, ext4fs.ErrWrongJournal} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// TestCorpus_cleanTrees compares the images that have nothing wrong with the
// listings that come with them.
func TestCorpus_cleanTrees(t *testing.T) {
	dir, images := corpusImages(t)
	compared := 0
	for _, im := range images {
		want := filepath.Join(dir, im.Name+".tree")
		if im.Kind != "clean" || !exists(want) {
			continue
		}
		t.Run(im.Name, func(t *testing.T) {
			fsys, err := openCorpus(t, dir, im.Name, false)
			if err != nil {
				t.Fatal(err)
			}
			defer fsys.Close()
			raw, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			// The listing shows an attribute of verity that Linux keeps to itself.
			text := regexp.MustCompile(`verity\.v=\w+`).ReplaceAllString(string(raw), "-")
			if d := testimages.Diff(testimages.ParseManifest(text), withoutMtime(manifest(t, fsys))); d != "" {
				t.Errorf("the tree differs:\n%s", d)
			}
		})
		compared++
	}
	if compared == 0 {
		t.Error("no image was compared")
	}
}

// withoutMtime takes the MTIME column out: the listings have none.
func withoutMtime(m testimages.Manifest) testimages.Manifest {
	out := make(testimages.Manifest, len(m))
	for n, line := range m {
		f := strings.Split(line, " ")
		out[n] = strings.Join(append(f[:7:7], f[8:]...), " ")
	}
	return out
}
