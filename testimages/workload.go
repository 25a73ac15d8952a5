package testimages

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

const (
	mib = 1 << 20
	gib = 1 << 30
)

// Workload is an image for benchmarks. Images are large, so they are built
// once and kept on the disk, see [WorkloadImage].
type Workload struct {
	Name string
	What string
	Size int64 // of the image; most of it is a hole
	Mkfs []string
	// Path names what a benchmark works on, inside the image.
	Path string

	mountOpts string
	fill      func(dir string) error
}

// Workloads lists the images that benchmarks use.
func Workloads() []Workload {
	return []Workload{
		{Name: "root", What: "a root file system: 52,443 names, 1 GiB", Size: 3 * gib, Mkfs: []string{"-N", "70000"}, Path: "/", fill: fillRoot},
		{Name: "small", What: "100,000 files of 0 to 16 KiB", Size: 2 * gib, Mkfs: []string{"-N", "110000"}, Path: "/files", fill: fillSmall},
		{Name: "file", What: "one file of 1 GiB", Size: 2 * gib, Mkfs: []string{"-N", "1024"}, Path: "/file", fill: fillFile},
		{Name: "extents", What: "a file of 2 GiB in 131,072 extents", Size: 5 * gib, Mkfs: []string{"-N", "1024"}, Path: "/file", fill: fillExtents},
		{Name: "names", What: "200,000 names in one directory", Size: gib, Mkfs: []string{"-N", "210000"}, Path: "/names", fill: fillDirectory},
		{Name: "sparse", What: "300,000 files on 256 GiB", Size: 256 * gib, Mkfs: []string{"-E", "lazy_itable_init=1"}, Path: "/",
			mountOpts: "noinit_itable", fill: fillSparse},
	}
}

// FindWorkload returns the workload of that name.
func FindWorkload(t testing.TB, name string) Workload {
	t.Helper()
	for _, w := range Workloads() {
		if w.Name == name {
			return w
		}
	}
	t.Fatalf("no workload %q", name)
	return Workload{}
}

// WorkloadImage returns the image of the workload, and builds it if it is not
// there: minutes the first time. Images stay in the folder that E4KIT_BENCH_DIR
// names, by default e4kit-bench in the user's cache folder; they take 9 GiB
// together. Mount them read-only: after a change the next run has to ask
// e2fsck, which takes long.
func WorkloadImage(t testing.TB, name string) string {
	t.Helper()
	w := FindWorkload(t, name)
	RequireLoop(t)
	img, err := BuildWorkload(w)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// BuildWorkload is [WorkloadImage] for programs.
func BuildWorkload(w Workload) (string, error) {
	dir, err := workloadDir()
	if err != nil {
		return "", err
	}
	img := filepath.Join(dir, w.Name+".img")
	unlock, err := lockFile(img + ".lock") // other packages may want it at the same time
	if err != nil {
		return "", err
	}
	defer unlock()
	if known, err := os.ReadFile(img + ".sound"); err == nil && string(known) == soundMark(w, img) {
		trust(img)
		return img, nil
	}
	if err := w.build(img); err != nil {
		return "", fmt.Errorf("workload %s: %w", w.Name, err)
	}
	return img, os.WriteFile(img+".sound", []byte(soundMark(w, img)), 0o644)
}

func workloadDir() (string, error) {
	dir := os.Getenv(EnvBenchDir)
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(cache, "e4kit-bench")
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// soundMark identifies a finished image: what it is, and that nobody wrote to
// it since.
func soundMark(w Workload, img string) string {
	s, _ := stampOf(img)
	return fmt.Sprintf("%s; mke2fs %q; %d bytes; %d\n", w.What, w.Mkfs, s.size, s.time.UnixNano())
}

func (w Workload) build(img string) error {
	tmp := img + ".new"
	defer os.Remove(tmp)
	if err := MakeFS(tmp, w.Size, w.Mkfs...); err != nil {
		return err
	}
	if err := Mounted(tmp, w.mountOpts, w.fill); err != nil {
		return err
	}
	if err := Check(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, img); err != nil {
		return err
	}
	trust(img)
	return nil
}

// Warm reads the data of the file, so that it lies in the page cache.
func Warm(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	buf := make([]byte, mib)
	for off := int64(0); off < fi.Size(); off += int64(len(buf)) {
		at, more := nextData(f, off)
		if !more {
			return nil
		}
		off = at
		if _, err := f.ReadAt(buf, off); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	return nil
}
