package dump

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
)

// corpusTime bounds the dump of one image. The images are of a few MiB.
const corpusTime = 30 * time.Second

// TestCorpus_dumpsDamagedImages dumps everything of every damaged image: no
// panic, no hang, and everything can be written as text and as JSON.
func TestCorpus_dumpsDamagedImages(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(testimages.Corpus(t), "*.img.gz"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no images: %v", err)
	}
	opened := 0
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".img.gz"), func(t *testing.T) {
			im, err := Open(device.NewMemory(unpack(t, name)), nil)
			if err != nil {
				if !errors.Is(err, ext4fs.ErrNotExt4) {
					t.Errorf("not opened: %v", err)
				}
				return
			}
			opened++
			dumpHostile(t, im, bounds{400, 300}, corpusTime)
			raw, err := Open(device.NewMemory(unpack(t, name)), &ext4fs.Options{NoReplay: true})
			if err != nil {
				t.Fatalf("without replay: %v", err)
			}
			dumpHostile(t, raw, bounds{400, 300}, corpusTime)
		})
	}
	if opened < len(names)*9/10 {
		t.Errorf("only %d of %d images have anything to show", opened, len(names))
	}
}

// dumpHostile dumps everything of an image that is not to be trusted.
func dumpHostile(t testing.TB, im *Image, b bounds, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	everything(ctx, im, b, func(v Value) {
		if err := v.WriteText(io.Discard); err != nil {
			t.Errorf("%T: %v", v, err)
		}
		if _, err := json.Marshal(v); err != nil {
			t.Errorf("%T: %v", v, err)
		}
	}, func(err error) {
		if err.Error() == "" {
			t.Errorf("%T without text", err)
		}
	})
	if ctx.Err() != nil {
		t.Errorf("not done after %v", limit)
	}
}

func unpack(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
