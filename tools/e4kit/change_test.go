package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/testimages"
)

// inCopy makes a folder with a copy of the demo image, w.img, the working
// directory.
func inCopy(t *testing.T) {
	t.Helper()
	dir, err := demo()
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	if err := testimages.CopyFile(filepath.Join(work, "w.img"), filepath.Join(dir, "demo.img")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(work)
	t.Cleanup(func() {
		if err := testimages.Check("w.img"); err != nil && !testing.Short() && haveTool("e2fsck") {
			t.Errorf("the image is damaged: %v", err)
		}
	})
}

func haveTool(name string) bool {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/sbin", "/usr/sbin") {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// changeScripts are command lines that are run one after the other on a copy
// of the demo image.
var changeScripts = []struct{ name, script string }{
	{"change-mkdir", `mkdir -v w.img:/srv/a w.img:/etc
mkdir -pv -m 750 w.img:/srv/x/y/z
mkdir --json -v 'w.img:/home/*/new'
mkdir w.img:/no/x w.img:/tmp/x
mkdir -m q w.img:/q
mkdir w.img
mkdir --dry-run -p w.img:/p/q/r
mkdir w.img:<2>/byinode
ls -ld w.img:/srv/a w.img:/srv/x/y/z w.img:/home/ada/new w.img:/byinode`},
	{"change-rm", `rm -v w.img:/etc/fstab w.img:/nope
rm w.img:/usr w.img:/ w.img:/usr/.
rm -rv --json w.img:/usr/include
rm -r --dry-run w.img:/home
rm -rf w.img:/home 'w.img:/no*'
rm w.img:<12>
rm
rmdir -pv w.img:/usr/share
rmdir -v w.img:/home
rmdir w.img:/etc/passwd
rm --no-journal w.img:/etc/passwd
rm nothing.img:/x
rm text:/x
ls w.img w.img:/usr`},
	{"change-mv-ln", `mv -v w.img:/etc/fstab w.img:/etc/fstab.old
mv w.img:/etc w.img:/etc/in
mv w.img:/etc/shadow w.img:/nope/x
mv --exchange -v w.img:/etc/fstab.old w.img:/etc/passwd
mv w.img:/etc/passwd v.img:/x
mv -T -t w.img:/x w.img:/y
ln -v w.img:/etc/shadow w.img:/etc/hard
ln w.img:/etc w.img:/etc2
ln -sv ../some/where w.img:/etc/soft
ln -s x w.img:/etc/soft
ln -sfv x w.img:/etc/soft
ln -s a b w.img:/tmp
ls -l w.img:/etc w.img:/tmp`},
	{"change-attrs", `chmod -v u=rw,go= w.img:/etc/passwd
chmod -v -x+X w.img:/usr/bin/awk
chmod 9 w.img:/etc/passwd
chmod 600
chown -v ada:games w.img:/etc/passwd
chown -v ada: w.img:/etc/passwd
chown -v 7 w.img:/etc/passwd
chown nobody-here w.img:/etc/passwd
touch -v -d '2020-02-30' w.img:/x
touch -v -d '2020-02-03 04:05:06.7 +0200' w.img:/x
touch -a -m w.img:/etc/shadow
touch -t 12 w.img:/x
stat -c '%n %a %u:%g %y' w.img:/etc/passwd w.img:/etc/shadow w.img:/x
chattr -V +id w.img:/x
chattr +Q w.img:/x
chattr w.img:/x
rm w.img:/x
chattr -i w.img:/x
chattr -p 7 w.img:/x
setfattr -n user.note -v "hi" --verbose w.img:/x
setfattr -n nonsense -v x w.img:/x
setfattr -x user.none w.img:/x
setfattr -n user.bin -v 0xzz w.img:/x
xattr w.img:/x
setfacl --verbose -m u:ada:rw,g:9:r w.img:/x
setfacl -m u:nobody-here:rw w.img:/x
setfacl -d -m u:ada:rw w.img:/x
setfacl w.img:/x
acl w.img:/x
mknod -v -m 600 w.img:/dev/loop9 b 7 9
mknod w.img:/dev/bad c 1
mknod w.img:/dev/bad q
mknod w.img:/dev/bad c 4096 1`},
	{"change-sizes", `truncate -v -s 100 w.img:/etc/fstab
truncate -v -s +1M w.img:/new
truncate -s w.img:/new
truncate w.img:/new
truncate -s 1 w.img:/etc
truncate -s /0 w.img:/new
truncate -s 17T w.img:/new
fallocate -v -l 64K -o 4K w.img:/alloc
fallocate -v -p -l 8K w.img:/alloc
fallocate -v -d w.img:/alloc
fallocate -c -l 100 w.img:/alloc
fallocate -l 1T w.img:/alloc
fallocate -p -z -l 1 w.img:/alloc
fallocate w.img:/alloc
stat -c '%n %s %b' w.img:/etc/fstab w.img:/new w.img:/alloc`},
	{"change-label", `label w.img
label -v w.img "root fs"
label --json w.img
label w.img 12345678901234567
label w.img:/x y
label --json w.img ''
uuid -v w.img 01234567-89ab-cdef-0123-456789abcdef
uuid w.img
uuid w.img --json clear
uuid w.img 0123
recover w.img
recover --json w.img
recover nothing.img text`},
	{"change-cp", `cp -v one two w.img:/tmp
cp one w.img:/tmp/three
cp one two w.img:/tmp/three
cp dir w.img:/tmp
cp -r --json dir w.img:/tmp
cp -rv dir/. w.img:/tmp/content
cp -v --owner ada:7 --chmod u=rw,go= one w.img:/home/ada/mine
cp --owner nobody-here one w.img:/x
cp one missing w.img:/tmp
cp one w.img:/no/where
cp one w.img:/tmp/
cp one w.img:/nope/
cp -n two w.img:/tmp/one
cp w.img w.img:/tmp
cp -rv --dry-run dir w.img:/var
cp -r w.img:/etc w.img:/etc/in
cp --owner 1 one two
cp - w.img:/tmp
cp one one w.img:/tmp
ls -lR w.img:/tmp w.img:/home/ada/mine`},
}

// TestGoldenChange runs the scripts, each on a fresh copy.
func TestGoldenChange(t *testing.T) {
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range changeScripts {
		t.Run(s.name, func(t *testing.T) {
			inCopy(t)
			makeSources(t)
			var b strings.Builder
			for line := range strings.Lines(s.script) {
				line = strings.TrimSuffix(line, "\n")
				fmt.Fprintf(&b, "$ e4kit %s\n%v", line, e4kit(words(strings.ReplaceAll(line, `"`, "'"))...))
			}
			checkGolden(t, home, s.name, b.String())
		})
	}
}

// makeSources makes host files to copy.
func makeSources(t *testing.T) {
	t.Helper()
	for _, err := range []error{
		os.WriteFile("one", []byte("content of one\n"), 0o644), os.WriteFile("two", []byte("two\n"), 0o600),
		os.WriteFile("text", []byte(strings.Repeat("no file system\n", 300)), 0o644),
		os.MkdirAll("dir/sub", 0o755), os.WriteFile("dir/file", []byte("file\n"), 0o644), os.Symlink("file", "dir/link"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestCp_stdinIntoImage copies standard input of any length.
func TestCp_stdinIntoImage(t *testing.T) {
	inCopy(t)
	for _, size := range []int{0, 1, 200 << 10, 3 << 20} {
		content := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		if r := (world{stdin: content}).run("cp", "-", "w.img:/srv/in"); r.code != 0 || r.stderr != "" {
			t.Fatal(r)
		}
		if got := e4kit("cat", "w.img:/srv/in").stdout; got != content {
			t.Errorf("%d bytes, want %d", len(got), size)
		}
	}
}

// cancelling is standard input that has the command interrupted.
type cancelling struct {
	left   int
	cancel func()
}

func (c *cancelling) Read(p []byte) (int, error) {
	if c.left--; c.left == 0 {
		c.cancel()
	}
	return len(p), nil
}

// TestCp_interruptedIntoImage: an interrupted copy leaves no part of a file, a
// clean image, status 130 and a word about what was done.
func TestCp_interruptedIntoImage(t *testing.T) {
	inCopy(t)
	ctx, cancel := context.WithCancel(context.Background())
	var stdout, stderr strings.Builder
	e := newTestEnv(ctx, &cancelling{4, cancel}, &stdout, &stderr)
	code := run(e, []string{"cp", "-", "w.img:/etc/passwd"})
	if code != exitInterrupted || !strings.Contains(stderr.String(), "interrupted after 0 files") {
		t.Errorf("status %d, %q", code, stderr.String())
	}
	if want, got := e4kit("cat", filepath.Join(demoDir, "demo.img")+":/etc/passwd"), e4kit("cat", "w.img:/etc/passwd"); got != want {
		t.Errorf("the old file is not what it was: %v", got)
	}
}

// TestRecover_crashImages recovers images that lost power: the kernel's tree is
// there, and a second recovery finds nothing to do.
func TestRecover_crashImages(t *testing.T) {
	testimages.RequireLoop(t)
	dir := testimages.Scratch(t)
	for seed := range uint64(6) {
		c, err := testimages.CrashImage(dir, 1000+seed)
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"recover", "--json", c.Path}
		if c.Journal != "" {
			args = append(args, "--journal", c.Journal)
		}
		r := e4kit(args...)
		if r.code != 0 || c.Dirty && !strings.Contains(r.stdout, `"needed":true`) {
			t.Errorf("%s: %v", c.How, r)
			continue
		}
		again := e4kit(args...)
		if again.code != 0 || !strings.Contains(again.stdout, `"needed":false,"transactions":0,"blocks":0,"fast_commits":0,"orphans_deleted":0`) {
			t.Errorf("%s: the second time: %v", c.How, again)
		}
		if err := testimages.Check(c.Path); err != nil {
			t.Errorf("%s: %v", c.How, err)
		}
	}
}

// TestWrite_refused: what cannot be written is refused with its name.
func TestWrite_refused(t *testing.T) {
	inCopy(t)
	fsys, err := ext4fs.OpenFile("w.img", &ext4fs.Options{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	r := e4kit("touch", "w.img:/x")
	if r.code != exitFailed || !strings.Contains(r.stderr, "locked by") && !strings.Contains(r.stderr, "in use") {
		t.Error(r)
	}
	if err := fsys.Close(); err != nil {
		t.Fatal(err)
	}
	// A second open in one command is the same image.
	if r := e4kit("cp", "./w.img:/etc/fstab", "w.img:/etc/fstab2"); r.code != 0 {
		t.Error(r)
	}
	if err := os.Chmod("w.img", 0o444); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		if r := e4kit("touch", "w.img:/x"); r.code != exitFailed {
			t.Error(r)
		}
	}
}

// words splits a command line at blanks, but in single quotes.
func words(line string) []string {
	var list []string
	for n, part := range strings.Split(line, "'") {
		if n%2 == 1 {
			list = append(list, part)
			continue
		}
		list = append(list, strings.Fields(part)...)
	}
	return list
}
