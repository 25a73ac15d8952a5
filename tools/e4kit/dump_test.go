package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dumpGolden are the command lines of dump, extents and freespace on the demo
// image.
var dumpGolden = []goldenCase{
	golden("dump-super", "dump", "super", "demo.img"),
	golden("dump-super-json", "dump", "super", "--json", "demo.img"),
	golden("dump-super-backup-none", "dump", "super", "--backup", "1", "demo.img"),
	golden("dump-super-backup-list", "dump", "super", "demo.img", "--backup", "list"),
	golden("dump-super-backup-bad", "dump", "super", "--backup", "x", "demo.img"),
	golden("dump-groups", "dump", "groups", "demo.img"),
	golden("dump-groups-long", "dump", "groups", "-l", "demo.img"),
	golden("dump-groups-json", "dump", "groups", "--json", "demo.img"),
	golden("dump-group", "dump", "group", "0", "demo.img"),
	golden("dump-group-image-first", "dump", "group", "demo.img", "0x0"),
	golden("dump-group-none", "dump", "group", "7", "demo.img"),
	golden("dump-group-no-number", "dump", "group", "demo.img", "demo.img"),
	golden("dump-inode", "dump", "inode", "demo.img:<11>"),
	golden("dump-inode-path", "dump", "inode", "demo.img:/bin"),
	golden("dump-inode-number", "dump", "inode", "11", "demo.img", "--json"),
	golden("dump-inode-glob", "dump", "inode", "demo.img:/dev/*"),
	golden("dump-inode-partly", "dump", "inode", "demo.img:/nope", "demo.img:<99999>", "demo.img:<1>"),
	golden("dump-block", "dump", "block", "0", "demo.img"),
	golden("dump-block-owner", "dump", "block", "--owner", "5", "demo.img"),
	golden("dump-block-bitmap", "dump", "block", "4", "demo.img", "--json"),
	golden("dump-block-none", "dump", "block", "99999", "demo.img"),
	golden("dump-bitmap", "dump", "bitmap", "0", "demo.img"),
	golden("dump-dir", "dump", "dir", "demo.img:/"),
	golden("dump-dir-json", "dump", "dir", "--json", "demo.img:/etc"),
	golden("dump-dir-file", "dump", "dir", "demo.img:/etc/passwd"),
	golden("dump-htree-none", "dump", "htree", "demo.img:/etc"),
	golden("dump-htree", "dump", "htree", "demo.img:<48>"),
	golden("dump-xattr", "dump", "xattr", "demo.img:<18>", "demo.img:<324>"),
	golden("dump-xattr-json", "dump", "xattr", "demo.img:<324>", "--json"),
	golden("dump-journal", "dump", "journal", "demo.img"),
	golden("dump-mmp-none", "dump", "mmp", "demo.img"),
	golden("dump-orphans", "dump", "orphans", "demo.img"),
	golden("dump-what", "dump", "demo.img"),
	golden("dump-missing", "dump", "super", "nothing.img"),
	golden("dump-not-ext4", "dump", "super", "text"),
	golden("extents", "extents", "demo.img:/var/log/messages", "demo.img:/bin"),
	golden("extents-json", "extents", "--json", "demo.img:/var/lib/disk.img"),
	golden("extents-tree", "extents", "--tree", "demo.img:/var/log/messages"),
	golden("extents-tree-json", "extents", "--tree", "--json", "demo.img:/var/log/messages"),
	golden("extents-summary", "extents", "-a", "--summary", "demo.img"),
	golden("extents-summary-json", "extents", "--all", "--summary", "--json", "demo.img"),
	golden("extents-file-summary", "extents", "--summary", "demo.img:/var/log/*"),
	golden("extents-file-summary-json", "extents", "--summary", "--json", "demo.img:/var/log/*"),
	golden("extents-nothing", "extents", "demo.img"),
	golden("extents-map", "extents", "--map", "demo.img:/var/log/messages"),
	onTerminal("extents-map-terminal", "extents", "--map", "demo.img"),
	golden("extents-map-json", "extents", "--map", "--json", "demo.img:/bin"),
	golden("extents-partly", "extents", "demo.img:/nope", "demo.img:/etc"),
	golden("freespace", "freespace", "demo.img"),
	golden("freespace-json", "freespace", "--json", "demo.img"),
	golden("freespace-missing", "freespace", "nothing.img", "demo.img"),
}

// TestExtents_allIsWhatSingleFilesGive compares the list of all files with
// those of the files one by one.
func TestExtents_allIsWhatSingleFilesGive(t *testing.T) {
	inDemo(t)
	all := e4kit("extents", "--all", "--json", "demo.img")
	if all.code != exitOK {
		t.Fatal(all)
	}
	byPath := map[string][]string{}
	var paths []string
	for line := range strings.Lines(all.stdout) {
		var x struct {
			Type, Path string
			Inode      int
		}
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			t.Fatal(err)
		}
		if x.Type != "" || x.Path == "" || strings.ContainsAny(x.Path, `*?[\`) {
			continue
		}
		if byPath[x.Path] == nil {
			paths = append(paths, x.Path)
		}
		byPath[x.Path] = append(byPath[x.Path], line)
	}
	if len(paths) < 200 {
		t.Fatalf("only %d paths", len(paths))
	}
	for _, p := range paths {
		one := e4kit("extents", "--json", "demo.img:"+p)
		if got := strings.Join(byPath[p], ""); one.code != exitOK || got != one.stdout {
			t.Errorf("%s: with --all\n%swithout\n%s", p, got, one.stdout)
		}
	}
}

// TestDump_rawIsTheBlock compares the bytes of blocks with those of the image.
func TestDump_rawIsTheBlock(t *testing.T) {
	inDemo(t)
	data, err := os.ReadFile("demo.img")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 5, 1626} {
		r := e4kit("dump", "block", "--raw", numberWord(n), "demo.img")
		if r.code != exitOK || r.stdout != string(data[n*4096:(n+1)*4096]) {
			t.Errorf("block %d: exit %d, %d bytes", n, r.code, len(r.stdout))
		}
	}
}

func numberWord(n int) string {
	b, _ := json.Marshal(n)
	return string(b)
}

// TestDump_goesOnAfterDamage breaks parts of the image and looks whether the
// rest is still shown, and the damage told by the exit status.
func TestDump_goesOnAfterDamage(t *testing.T) {
	inDemo(t)
	data, err := os.ReadFile("demo.img")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		off   int
		value byte
		args  []string
		code  int
		want  string
	}{
		{"superblock checksum", 1024 + 0x88, 0xff, []string{"dump", "super"}, exitOK, "BAD: stored"},
		{"blocks per group", 1024 + 0x23, 0xff, []string{"dump", "super"}, exitCorrupt, "Blocks per group"},
		{"superblock magic", 1024 + 0x38, 0, []string{"dump", "super"}, exitFailed, ""},
		{"root directory record", 5*4096 + 28, 0xff, []string{"dump", "dir", "2"}, exitCorrupt, "lost+found"},
		{"descriptor", 4096 + 0x0c, 0x77, []string{"dump", "group", "0"}, exitCorrupt, "free clusters in the descriptor"},
		{"superblock geometry", 1024 + 0x2a, 0xff, []string{"dump", "group", "0"}, exitCorrupt, ""},
		{"root inode", 36*4096 + 256 + 0x10, 0xff, []string{"dump", "inode", "2"}, exitOK, "BAD: stored"},
	} {
		broken := bytes.Clone(data)
		broken[c.off] ^= c.value
		if c.name == "superblock magic" {
			broken[c.off] = c.value
		}
		img := filepath.Join(t.TempDir(), "broken.img")
		if err := os.WriteFile(img, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		r := e4kit(append(c.args, img)...)
		if r.code != c.code || !strings.Contains(r.stdout, c.want) {
			t.Errorf("%s: exit %d, want %d and %q\n%.2000s%s", c.name, r.code, c.code, c.want, r.stdout, r.stderr)
		}
	}
}

func TestSVG_isWellFormedAndSmall(t *testing.T) {
	inDemo(t)
	name := filepath.Join(t.TempDir(), "map.svg")
	r := e4kit("extents", "--svg", name, "demo.img:/var/log/messages")
	if r.code != exitOK {
		t.Fatal(r)
	}
	svg, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(svg) > 64<<10 {
		t.Errorf("%d bytes", len(svg))
	}
	text, elements := svgText(t, svg)
	for _, want := range []string{"demo.img: /var/log/messages", "metadata", "journal", "free", "file"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the picture", want)
		}
	}
	if elements["path"] < 4 || bytes.Contains(svg, []byte("href")) {
		t.Errorf("elements %v", elements)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(name), ".e4kit*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if r := e4kit("extents", "--svg", filepath.Join(name, "no", "such"), "demo.img:/bin"); r.code != exitFailed {
		t.Errorf("a folder that is none: %v", r)
	}
}

// svgText reads a picture as XML and returns its texts and how many elements
// of each name it has.
func svgText(t *testing.T, svg []byte) (string, map[string]int) {
	t.Helper()
	var text strings.Builder
	elements := map[string]int{}
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return text.String(), elements
		}
		if err != nil {
			t.Fatal(err)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			elements[tok.Name.Local]++
		case xml.CharData:
			text.Write(tok)
			text.WriteByte('\n')
		}
	}
}

func TestJoinNames(t *testing.T) {
	for _, c := range []struct {
		names []string
		room  int
		want  string
	}{
		{[]string{"/a"}, 20, "/a"},
		{[]string{"/a", "/b"}, 20, "/a, /b"},
		{[]string{"/aaaaaaaa", "/bbbbbbbb", "/c"}, 12, "/aaaaaaaa and 2 more"},
		{[]string{"/a/very/long/path/of/a/file"}, 12, "…h/of/a/file"},
	} {
		if got := joinNames(c.names, c.room); got != c.want {
			t.Errorf("%q in %d: %q, want %q", c.names, c.room, got, c.want)
		}
	}
}

func TestDump_golden(t *testing.T) {
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	inDemo(t)
	for _, tt := range dumpGolden {
		t.Run(tt.name, func(t *testing.T) {
			w := tt.world
			checkGolden(t, home, tt.name, w.run(tt.args...).String())
		})
	}
}
