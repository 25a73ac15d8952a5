package testimages

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// Names of the files that [MakeDemo] writes.
const (
	DemoImage    = "demo.img.gz"
	DemoManifest = "demo.manifest"
	DemoSums     = "SHA256SUMS"
)

const demoSize = 24 * 1024 * 1024

// MakeDemo makes the demo image in the folder out: a small tree with some of
// everything, compressed, and two descriptions of it taken through the kernel.
func MakeDemo(out string) error {
	dir, err := scratchDir("demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	img := filepath.Join(dir, "demo.img")
	if err := MakeFS(img, demoSize, "-b", "4096", "-L", "e4kit-demo", "-J", "size=4", "-N", "1024"); err != nil {
		return err
	}
	if err := Mounted(img, "nodelalloc", fillDemo); err != nil {
		return err
	}
	// Where it was mounted says more of this machine than of the image.
	distrust(img)
	if _, err := run("tune2fs", "-M", "/mnt", img); err != nil {
		return err
	}
	if err := Check(img); err != nil {
		return err
	}
	var tree Manifest
	err = Mounted(img, "ro", func(dir string) error {
		tree, err = ManifestDir(dir)
		return err
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, DemoManifest), []byte(tree.String()), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, DemoSums), []byte(tree.sums()), 0o644); err != nil {
		return err
	}
	return compress(filepath.Join(out, DemoImage), img)
}

// sums returns the regular files of m as sha256sum prints them, with paths
// relative to the root.
func (m Manifest) sums() string {
	var b strings.Builder
	for _, line := range m {
		f := strings.Split(line, " ")
		sum, whole := strings.CutPrefix(f[8], "sha256:")
		if f[1] == "f" && whole && !strings.Contains(f[0], `\`) {
			fmt.Fprintf(&b, "%s  %s\n", sum, strings.TrimPrefix(f[0], "/"))
		}
	}
	return b.String()
}

// compress writes the file from as gzip.
func compress(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	z, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := io.Copy(z, in); err != nil {
		return err
	}
	return z.Close()
}

// DemoPath finds the folder that holds the demo image, from any package of the
// project.
func DemoPath() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		demo := filepath.Join(dir, "testimages", "demo")
		if _, err := os.Stat(filepath.Join(demo, DemoImage)); err == nil {
			return demo, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no testimages/demo/%s above the working folder", DemoImage)
		}
	}
}

var demoWords = strings.Fields(`block inode extent group bitmap journal commit folder name leaf node index hash
	seed table entry count size flag link owner mode time root path tree walk read the of a to and is in for`)

// prose returns n bytes of text that depend on seed and compress well: lines
// of a small stock in random order.
func prose(seed uint64, n int) []byte {
	stock := rand.New(rand.NewPCG(1, 1))
	var lines []string
	for range 48 {
		line := ""
		for len(line) < 60 {
			line += demoWords[stock.IntN(len(demoWords))] + " "
		}
		lines = append(lines, line[:len(line)-1]+"\n")
	}
	rng := rand.New(rand.NewPCG(seed, 2))
	var b []byte
	for len(b) < n {
		b = append(b, lines[rng.IntN(len(lines))]...)
	}
	return b[:n]
}
