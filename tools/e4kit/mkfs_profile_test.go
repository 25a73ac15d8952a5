package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/format"
	"github.com/e4kit/e4kit/testimages"
)

// TestProfile_images: each profile makes a clean image with features that its
// reader understands, from a small to a larger size, and empty ones too.
func TestProfile_images(t *testing.T) {
	t.Chdir(testimages.Scratch(t))
	makeSources(t)
	for _, p := range format.Profiles() {
		for _, args := range [][]string{{"auto"}, {"8M"}, {"600M"}, {"8M", "-b", "4096"}} {
			img := p.Name + ".img"
			r := e4kit(append([]string{"mkfs", "-q", "-F", "--profile", p.Name, "--from", "dir", img}, args...)...)
			if r.code != 0 {
				t.Errorf("%s %v: %v", p.Name, args, r)
				continue
			}
			if haveTool("e2fsck") {
				testimages.Fsck(t, img)
			}
			if r := e4kit("cat", img+":/file"); r.stdout != "file\n" {
				t.Errorf("%s %v: %v", p.Name, args, r)
			}
			os.Remove(img)
		}
	}
}

// TestProfile_grub asks GRUB's own reader, where it is installed, about the
// profile, and about features that the profile says it does not know.
func TestProfile_grub(t *testing.T) {
	testimages.RequireTool(t, "grub-fstest")
	dir := testimages.Scratch(t)
	t.Chdir(dir)
	makeSources(t)
	for n := range 300 {
		name := fmt.Sprintf("dir/sub/a file with a name that is rather long %d", n)
		if err := os.WriteFile(name, []byte(strings.Repeat(name, n)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	img := filepath.Join(dir, "a.img")
	same := func() error {
		out, err := exec.Command("grub-fstest", img, "cmp", "(loop0)/sub", filepath.Join(dir, "dir/sub")).CombinedOutput()
		if err != nil || len(out) > 0 {
			return fmt.Errorf("%v: %s", err, out)
		}
		return nil
	}
	for _, args := range []string{"", "-b 1024", "-b 4096", "-t ext2", "-t ext3", "-O meta_bg,^resize_inode", "-O ^64bit", "-I 1024", "-O mmp,quota"} {
		r := e4kit(append([]string{"mkfs", "-q", "-F", "--profile", "grub", "--from", "dir", img, "64M"}, words(args)...)...)
		if r.code != 0 {
			t.Errorf("%s: %v", args, r)
			continue
		}
		if err := same(); err != nil {
			t.Errorf("%s: GRUB reads something else: %v", args, err)
		}
	}
	for _, feature := range []string{"inline_data", "ea_inode", "casefold", "bigalloc"} {
		if r := e4kit("mkfs", "-q", "-F", "--from", "dir", "-O", feature, img, "64M"); r.code != 0 {
			t.Error(r)
			continue
		}
		if same() == nil {
			t.Errorf("GRUB reads an image with %s, which its profile denies", feature)
		}
	}
}
