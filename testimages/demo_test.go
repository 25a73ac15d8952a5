package testimages

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestDemoImage_matchesItsManifest keeps the files of the demonstration
// together: the image is clean and its tree, through the kernel, is the one
// that the manifest and the digests tell.
func TestDemoImage_matchesItsManifest(t *testing.T) {
	dir, err := DemoPath()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, DemoManifest))
	if err != nil {
		t.Fatal(err)
	}
	want := ParseManifest(string(text))
	sums, err := os.ReadFile(filepath.Join(dir, DemoSums))
	if err != nil {
		t.Fatal(err)
	}
	if string(sums) != want.sums() {
		t.Error("the digests are not those of the manifest")
	}
	img := unpack(t, filepath.Join(dir, DemoImage))
	Fsck(t, img)
	WithMount(t, img, "ro", func(dir string) {
		if err := SameManifest(want, dir); err != nil {
			t.Error(err)
		}
	})
}

func unpack(t *testing.T, packed string) string {
	t.Helper()
	in, err := os.Open(packed)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	img := filepath.Join(Scratch(t), "demo.img")
	if err := os.WriteFile(img, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return img
}
