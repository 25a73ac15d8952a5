package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// mkfsImage makes an image with the files of a map and returns its path.
func mkfsImage(t *testing.T, files map[string]string, args ...string) string {
	t.Helper()
	src := t.TempDir()
	for name, text := range files {
		path := filepath.Join(src, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	img := filepath.Join(t.TempDir(), "img")
	testimages.Mkfs(t, img, 8<<20, append([]string{"-b", "1024", "-d", src}, args...)...)
	return img
}

// edit changes the bytes of an image.
func edit(t *testing.T, img string, f func(b []byte)) {
	t.Helper()
	b, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	f(b)
	if err := os.WriteFile(img, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOpen_unsupported(t *testing.T) {
	img := mkfsImage(t, nil, "-O", "^metadata_csum")
	edit(t, img, func(b []byte) { b[1024+0x60+1] |= 0x10 }) // dirdata
	r := e4kit("ls", img)
	if r.code != exitUnsupported || !strings.Contains(r.stderr, "dirdata") {
		t.Error(r)
	}
	r = e4kit("ls", "--json", img)
	if r.code != exitUnsupported || !strings.Contains(r.stdout, `"kind":"unsupported","exit":5`) {
		t.Error(r)
	}
}

func TestOpen_checksum(t *testing.T) {
	img := mkfsImage(t, map[string]string{"good": "good", "bad": "bad"})
	stat := e4kit("stat", "-c", "%i", img+":/bad")
	if stat.code != 0 {
		t.Fatal(stat)
	}
	var broken bool
	edit(t, img, func(b []byte) {
		// The inode is found by its size and link count; one bit of its time
		// of change is flipped.
		for at := 2048; at+256 <= len(b); at += 256 {
			i := b[at:]
			if binary.LittleEndian.Uint16(i) == 0o100644 && binary.LittleEndian.Uint32(i[4:]) == 3 && i[26] == 1 {
				i[12] ^= 1
				broken = true
			}
		}
	})
	if !broken {
		t.Fatal("no inode found")
	}
	if r := e4kit("cat", img+":/bad"); r.code != exitCorrupt || !strings.Contains(r.stderr, ": /bad: checksum of inode is wrong") {
		t.Error(r)
	}
	if r := e4kit("cat", "--json", img+":/bad"); !strings.Contains(r.stdout, `"kind":"checksum","exit":4`) {
		t.Error(r)
	}
	if r := e4kit("cat", "--ignore-checksums", img+":/bad"); r.code != 0 || r.stdout != "bad" {
		t.Error(r)
	}
	for _, args := range [][]string{
		{"ls", "-l", img}, {"find", img, "-size", "1"}, {"du", img}, {"tree", img}, {"hash", img},
		{"cp", "-r", img + ":/", t.TempDir()}, {"tar", img}, {"xattr", "-R", img}, {"find", img, "-ls"},
	} {
		r := e4kit(args...)
		if r.code != exitPartly || strings.Count(r.stderr, "checksum of inode is wrong") != 1 || !strings.Contains(r.stderr, "/bad: ") {
			t.Errorf("%s: exit %d: %s", args[0], r.code, r.stderr)
		}
	}
	if r := e4kit("diff", img, img); r.code != exitPartly {
		t.Error(r)
	}
}

func TestOpen_partition(t *testing.T) {
	img := mkfsImage(t, map[string]string{"file": "content"})
	const start = 1 << 20
	b, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	disk := make([]byte, start+len(b))
	copy(disk[start:], b)
	entry := disk[446:]
	entry[4] = 0x83
	binary.LittleEndian.PutUint32(entry[8:], start/512)
	binary.LittleEndian.PutUint32(entry[12:], uint32(len(b)/512))
	copy(disk[510:], "\x55\xaa")
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, disk, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{{}, {"--partition", "1"}, {"--offset", "1M"}, {"--partition", "@1MiB"}} {
		if r := e4kit(append([]string{"cat", path + ":/file"}, flags...)...); r.code != 0 || r.stdout != "content" {
			t.Errorf("%q: %v", flags, r)
		}
	}
	for _, flags := range [][]string{{"--partition", "2"}, {"--offset", "0"}, {"--offset", "512"}} {
		if r := e4kit(append([]string{"cat", path + ":/file"}, flags...)...); r.code != exitFailed {
			t.Errorf("%q: %v", flags, r)
		}
	}
	if r := e4kit("info", path); !strings.Contains(r.stdout, "Partition:   1") {
		t.Error(r)
	}
}

func TestOpen_externalJournal(t *testing.T) {
	testimages.RequireLoop(t)
	image := testimages.BuildFull(t, testimages.Find(t, "dirty-external"))
	journal := testimages.JournalOf(image.Path)
	if r := e4kit("ls", image.Path); r.code == 0 || !strings.Contains(r.stderr, "journal") {
		t.Error(r)
	}
	replayed := e4kit("hash", "--sum", "--journal", journal, image.Path)
	if replayed.code != 0 {
		t.Error(replayed)
	}
	if r := e4kit("info", "--journal", journal, image.Path); r.code != 0 || !strings.Contains(r.stdout, "are shown as replayed") {
		t.Error(r)
	}
	if r := e4kit("ls", "--journal", journal, "--no-journal", image.Path); r.code != exitUsage {
		t.Error(r)
	}
}

func TestOpen_noJournal(t *testing.T) {
	testimages.RequireLoop(t)
	image := testimages.BuildFull(t, testimages.Find(t, "dirty"))
	with := e4kit("hash", image.Path)
	if with.code != 0 {
		t.Error(with.stderr)
	}
	without := e4kit("info", "--no-journal", image.Path)
	if without.code != 0 || strings.Contains(without.stdout, "are shown as replayed") || !strings.Contains(without.stdout, "needs recovery") {
		t.Error(without)
	}
}

// TestNames_terminal: names from an image cannot send commands to a terminal,
// and go unchanged into a pipe.
func TestNames_terminal(t *testing.T) {
	name := "a\x1b]0;x\x07b\nc\xff"
	img := mkfsImage(t, map[string]string{name: "x"})
	for _, args := range [][]string{
		{"ls", img}, {"ls", "-l", img}, {"ls", "-R", img}, {"tree", img}, {"find", img}, {"find", img, "-printf", "%p %f\n"},
		{"find", img, "-ls"}, {"du", "-a", img}, {"stat", img + ":/*b*"}, {"hash", img},
	} {
		tty := world{outTTY: true, errTTY: true, env: map[string]string{"NO_COLOR": "1"}}.run(args...)
		if unsafeBytes(tty.stdout+tty.stderr) || !strings.Contains(tty.stdout, `a\x1b]0;x\x07b`) {
			t.Errorf("%q on a terminal: %q %q", args, tty.stdout, tty.stderr)
		}
	}
	if r := e4kit("find", img, "-name", "a*"); r.stdout != "/"+name+"\n" {
		t.Errorf("%q", r.stdout)
	}
	r := e4kit("ls", "--json", img+":/a*")
	if !bytes.Contains([]byte(r.stdout), []byte(`"path_base64":`)) || strings.Count(r.stdout, "\n") != 1 {
		t.Errorf("%q", r.stdout)
	}
	if r := e4kit("cat", img+":/nothing\x1b[2J"); strings.Contains(r.stderr, "\x1b") {
		t.Errorf("%q", r.stderr)
	}
}

// unsafeBytes reports whether a terminal would act on something.
func unsafeBytes(s string) bool {
	return strings.Contains(s, "\x1b") || strings.Contains(s, "\x07") || strings.Contains(s, "\xff")
}
