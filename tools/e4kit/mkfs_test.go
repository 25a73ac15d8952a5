package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// fixedIDs make an image that is the same each time, with the clock of tests.
const fixedIDs = "-U 0a1b2c3d-1111-4222-8333-444455556666 -E hash_seed=0f0e0d0c-1111-4222-8333-444455556666"

// mkfsScripts are command lines that are run one after the other in a folder
// with the files of makeSources. FIXED stands for fixedIDs.
var mkfsScripts = []struct{ name, script string }{
	{"mkfs", `mkfs FIXED disk.img 8M
info disk.img
ls -la disk.img
mkfs disk.img
mkfs FIXED -F disk.img -t ext2 -L boot -m 0 -I 128 -v
mkfs --json FIXED -F disk.img
mkfs -q FIXED small.img 512s
mkfs FIXED -b 4096 four.img 1024
mkfs FIXED -n new.img 1T
mkfs -n --json -O bigalloc,quota new.img 64G FIXED
mkfs new.img
mkfs dir
mkfs text
mkfs --dry-run text
mkfs disk.img:/x 1M
mkfs no/such/folder.img 1M
ls small.img`},
	{"mkfs-from", `mkfs FIXED --from dir --owner 0:0 --no-xattrs dir.img
stat -c STAT dir.img:/ dir.img:/file dir.img:/link dir.img:/sub
mkfs FIXED --from dir --no-xattrs --owner 7:8 --chmod go-rwx --exclude sub --exclude link min.img min
ls min.img
stat -c STAT min.img:/ min.img:/file
mkfs FIXED --from dir --from one more.img 8M
mkfs FIXED --from missing more.img
mkfs FIXED --from dir --from text more.img
mkfs FIXED --from dir --no-xattrs --json free.img auto --free 1M
mkfs FIXED --from dir --from - --from - more.img
mkfs FIXED --from oci:dir more.img
mkfs FIXED --from docker-archive:one:tag more.img
mkfs FIXED --devtable devs table.img 4M
ls -l table.img:/dev
mkfs --devtable baddevs table2.img 4M
mkfs --devtable missing table2.img 4M
mkfs FIXED --from dir tight.img 64K
mkfs FIXED --from big --no-xattrs tight2.img 512K
mkfs FIXED --from big -N 20 tight2.img 4M
ls tight2.img`},
	{"mkfs-profile", `mkfs FIXED --profile u-boot -v boot.img 64M
mkfs FIXED --profile linux-2.6 --json old.img 16M
mkfs --profile grub -O inline_data grub.img 16M
mkfs --profile syslinux -b 16K grub.img 64M
mkfs --profile lilo grub.img 16M
mkfs --profile list
mkfs --profile list --json`},
	{"mkfs-output", `mkfs FIXED --from dir --partition gpt -L root gpt.img 8M
info gpt.img
mkfs FIXED --from dir --partition mbr --json mbr.img 8M
mkfs FIXED --from dir a.simg 8M
mkfs FIXED --from dir a.img.zst 8M
mkfs -q FIXED --from dir --format gz a.z 8M
mkfs -q FIXED --from dir --partition gpt both.img.gz 8M
cat gpt.img:/file mbr.img:/file a.simg:/file a.img.zst:/file a.z:/file both.img.gz:/file
mkfs FIXED a.img.zst 8M
mkfs -q FIXED --force a.img.zst 8M
ls a.img.zst
mkfs -q FIXED --offset 1M off.img 8M
ls --offset 1M off.img
mkfs -q FIXED --offset 1M off.img 8M
mkfs -q FIXED --offset 16M off.img 4M
ls --offset 1M off.img
mkfs --offset 1M off.img.gz 8M
mkfs --partition mbr big.img 3T
mkfs FIXED -O journal_dev -b 4096 -L log journal.dev 8M
mkfs -q FIXED -b 4096 -J device=journal.dev --from dir ext.dev 16M
cat --journal journal.dev ext.dev:/file
mkfs -O journal_dev --from dir k.dev 8M
mkfs -O journal_dev k.dev min`},
	{"mkfs-usage", `mkfs
mkfs a b c
mkfs - 1M
mkfs x 0
mkfs x 1x
mkfs x 12Q
mkfs x -5
mkfs x 9999999999T
mkfs -t ext5 x 1M
mkfs -T nonsense x 1M
mkfs -b 1000 x 1M
mkfs -b 131072 x 1M
mkfs -b -x x 1M
mkfs -b '' x 1M
mkfs -C 1 x 1M
mkfs -C 64K x 1M
mkfs -i 1 x 1M
mkfs -i many x 1M
mkfs -I 100 x 1M
mkfs -N 0 x 1M
mkfs -N 4294967296 x 1M
mkfs -m 51 x 1M
mkfs -m -1 x 1M
mkfs -m x x 1M
mkfs -L 12345678901234567 x 1M
mkfs -U nonsense x 1M
mkfs -O nonsense x 1M
mkfs -O ^extent x 1M
mkfs -E nonsense x 1M
mkfs -E stride=x x 1M
mkfs -J nonsense x 1M
mkfs -J size=x x 1M
mkfs -J device=missing x 1M
mkfs -J device=text x 1M
mkfs -g 7 x 1M
mkfs -G 3 x 1M
mkfs -e explode x 1M
mkfs -o beos x 1M
mkfs --free 10% x 1M
mkfs --free 100% x auto
mkfs --free 98% --from dir x
mkfs --free some x auto
mkfs --include [a x 1M
mkfs --exclude [a x 1M
mkfs --owner nobody x 1M
mkfs --uid-map 1:2:x x 1M
mkfs --gid-map 1 x 1M
mkfs --chmod u+q x 1M
mkfs --selinux missing x 1M
mkfs --platform linux x 1M
mkfs --owner 1:2 x 1M
mkfs --exclude a x 1M
mkfs --platform linux/ x 1M
mkfs --platform linux/arm/v7/hf x 1M
mkfs --from oci: x 1M
mkfs --format qcow2 x 1M
mkfs --partition 1 x 1M
mkfs --offset x x 1M
mkfs --offset 1M --partition gpt x 1M
mkfs --nonsense x 1M
mkfs --no-journal x 1M
mkfs --json -O nonsense x 1M`},
}

// TestGoldenMkfs runs the scripts, each in a folder of its own.
func TestGoldenMkfs(t *testing.T) {
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range mkfsScripts {
		t.Run(s.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			makeSources(t)
			makeTables(t)
			var b strings.Builder
			for line := range strings.Lines(s.script) {
				line = strings.TrimSuffix(line, "\n")
				fmt.Fprintf(&b, "$ e4kit %s\n%v", line, e4kit(words(strings.NewReplacer("FIXED", fixedIDs, "STAT", "'%n %F %a %u:%g %s'").Replace(line))...))
			}
			checkGolden(t, home, s.name, b.String())
			checkFolder(t)
		})
	}
}

// makeTables adds what scripts about tables need.
func makeTables(t *testing.T) {
	t.Helper()
	if err := os.Mkdir("big", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"devs":     "# name type mode uid gid major minor start inc count\n/dev d 755 0 0 - - - - -\n/dev/null c 666 0 0 1 3 - - -\n/dev/tty c 620 0 5 4 0 0 1 3\n",
		"baddevs":  "/dev d 755 0 0 - - - - -\n/dev/null q 666 0 0 1 3 - - -\n",
		"big/file": strings.Repeat("0123456789abcdef", 40<<10),
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// checkFolder: nothing is left behind, and every image is clean.
func checkFolder(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, tempPrefix) {
			t.Errorf("%s was left behind", name)
		}
		if !strings.HasSuffix(name, ".img") || strings.Contains(name, "gpt") || strings.Contains(name, "mbr") ||
			strings.Contains(name, "off") || testing.Short() || !haveTool("e2fsck") {
			continue
		}
		if err := testimages.Check(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMkfs_keepDirectorySymlink lays a directory over a system whose lib leads
// to usr/lib.
func TestMkfs_keepDirectorySymlink(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"base/usr/lib", "over/lib/modules"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("usr/lib", "base/lib"); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{
		"--keep-directory-symlink": "/\n/lib\n/lost+found\n/usr\n/usr/lib\n/usr/lib/modules\n",
		"-q":                       "/\n/lib\n/lib/modules\n/lost+found\n/usr\n/usr/lib\n",
	} {
		if r := e4kit("mkfs", "-q", "-F", flag, "--from", "base", "--from", "over", "x.img", "1M"); r.code != 0 {
			t.Fatal(r)
		}
		if r := e4kit("find", "x.img:/"); r.stdout != want {
			t.Errorf("%s: %s", flag, r.stdout)
		}
	}
}
