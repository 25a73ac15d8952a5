package ext4fs_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/testimages"
)

var updateSeeds = flag.Bool("update-seeds", false, "make the seed images of the fuzz targets anew")

// TestSeeds_update makes the small images that fuzz targets harm.
func TestSeeds_update(t *testing.T) {
	if !*updateSeeds {
		t.Skip("only with -update-seeds")
	}
	fill := func(dir string) error {
		for n := range 60 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("a-file-with-a-long-name-%03d", n)), nil, 0o644); err != nil {
				return err
			}
		}
		if err := os.Symlink("data", filepath.Join(dir, "fast")); err != nil {
			return err
		}
		if err := os.Symlink(strings.Repeat("./", 50)+"data", filepath.Join(dir, "slow")); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "inline"), []byte("a few bytes"), 0o600); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "data"), bytes.Repeat([]byte("data"), 5000), 0o600)
	}
	base := []string{"-b", "1024", "-N", "128", "-m", "0"}
	args := map[string][]string{
		"ext4":     {"-O", "^has_journal,^resize_inode,inline_data,ea_inode,dir_index"},
		"ext2":     {"-t", "ext2", "-O", "^resize_inode"},
		"bigalloc": {"-O", "^has_journal,^resize_inode,bigalloc", "-C", "4096"},
		"casefold": {"-O", "^has_journal,^resize_inode,casefold", "-E", "encoding=utf8"},
		"dirty":    {"-O", "^resize_inode", "-J", "size=1"},
		"encrypt":  {"-O", "^has_journal,^resize_inode,encrypt"},
		"fast":     {"-O", "^resize_inode,fast_commit", "-J", "size=1"},
	}
	for _, name := range seedNames {
		img := filepath.Join(testimages.Scratch(t), name+".img")
		size := int64(512 << 10)
		if name == "dirty" || name == "fast" {
			size = 4 << 20
		}
		testimages.Mkfs(t, img, size, append(append([]string(nil), base...), args[name]...)...)
		switch name {
		case "casefold":
			testimages.DebugfsWrite(t, img, "mkdir folded", "sif folded flags 0x40080000", "cd folded", "mkdir HELLO", "mkdir Strasse")
		case "dirty":
			testimages.WithMount(t, img, "", func(dir string) {
				if err := fill(dir); err != nil {
					t.Fatal(err)
				}
				if err := testimages.ShutdownFlushed(dir); err != nil {
					t.Fatal(err)
				}
			})
		case "fast":
			testimages.WithMount(t, img, "commit=600", func(dir string) {
				if err := errors.Join(fill(dir), fastCommit(dir), testimages.Shutdown(dir)); err != nil {
					t.Fatal(err)
				}
			})
		default:
			testimages.WithMount(t, img, "", func(dir string) {
				if err := fill(dir); err != nil {
					t.Fatal(err)
				}
			})
		}
		raw, err := os.ReadFile(img)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
		z.Write(raw)
		z.Close()
		if err := os.MkdirAll("testdata/seeds", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(seedPath(name), out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// fastCommit commits all that there is, and leaves some changes to fast
// commits.
func fastCommit(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return err
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	for n := range 5 {
		f, err := os.Create(path(fmt.Sprintf("fast%d", n)))
		if err != nil {
			return err
		}
		_, err = f.Write(bytes.Repeat([]byte("fast"), 700*n))
		err = errors.Join(err, os.Link(f.Name(), f.Name()+"-link"), os.Remove(path(fmt.Sprintf("a-file-with-a-long-name-%03d", n))), f.Sync(), f.Close())
		if err != nil {
			return err
		}
	}
	return nil
}
