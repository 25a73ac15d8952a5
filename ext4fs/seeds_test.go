package ext4fs_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// seedNames are the images in testdata/seeds, by which fuzz inputs choose
// their base.
var seedNames = []string{"ext4", "ext2", "bigalloc", "casefold", "dirty", "encrypt", "fast"}

func seedPath(name string) string { return filepath.Join("testdata", "seeds", name+".img.gz") }

var seeds sync.Map // name -> []byte

// seed returns a copy of a seed image.
func seed(t testing.TB, name string) []byte {
	t.Helper()
	raw, ok := seeds.Load(name)
	if !ok {
		raw, _ = seeds.LoadOrStore(name, readSeed(t, name))
	}
	return bytes.Clone(raw.([]byte))
}

func readSeed(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(seedPath(name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
