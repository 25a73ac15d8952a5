package dump

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenValues are structures of the demo image, by the name of their golden
// files.
func goldenValues(t *testing.T, im *Image) map[string][]Value {
	t.Helper()
	must := func(v Value, err error) Value {
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	inodeOf := func(path string) disk.InodeNum {
		i, err := im.FS().LookupNoFollow(path)
		if err != nil {
			t.Fatal(err)
		}
		return i.Number()
	}
	ctx := context.Background()
	m := map[string][]Value{
		"super":     {im.Super()},
		"group":     {must(im.Group(0))},
		"freespace": {must(im.FreeSpace(ctx))},
		"orphans":   {must(im.Orphans())},
		"root":      {must(im.Inode(disk.RootInode))},
		"journal":   {must(im.JournalSuper())},
	}
	blocks, inodes, err := im.Bitmaps(0)
	if err != nil {
		t.Fatal(err)
	}
	m["bitmaps"] = []Value{blocks, inodes}
	for v, err := range im.Dir(disk.RootInode) {
		m["dir"] = append(m["dir"], must(v, err))
	}
	for v, err := range im.Journal() {
		if must(v, err); len(m["log"]) < 12 {
			m["log"] = append(m["log"], v)
		}
	}
	m["block"] = []Value{must(im.Block(disk.BlockNum(le.Uint32(m["root"][0].(*Inode).RawBlock[20:]))))}
	for i, err := range im.FS().Inodes() {
		if err != nil {
			t.Fatal(err)
		}
		sets, err := im.Xattrs(i.Number())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sets {
			if len(m["xattr"]) < 3 {
				m["xattr"] = append(m["xattr"], s)
			}
		}
		if i.Flags().Has(disk.FlagIndex) && m["htree"] == nil {
			for v, err := range im.Htree(i.Number()) {
				m["htree"] = append(m["htree"], must(v, err))
			}
		}
	}
	m["lost+found"] = []Value{must(im.Inode(inodeOf("/lost+found")))}
	var stats ExtentStats
	for s, err := range Scan(ctx, im, ScanOptions{Verify: true}, func(s *ExtentStats, f *File) { s.Add(f) }) {
		if err != nil {
			t.Fatal(err)
		}
		stats.Merge(s)
	}
	paths, err := im.Paths(ctx, stats.Worst())
	if err != nil {
		t.Fatal(err)
	}
	m["summary"] = []Value{im.Summary(&stats, paths)}
	return m
}

// TestGolden compares text and JSON of the demo image with what they were. go
// test -run Golden -update writes them anew.
func TestGolden(t *testing.T) {
	for name, values := range goldenValues(t, openDemo(t)) {
		var text, js bytes.Buffer
		enc := json.NewEncoder(&js)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", " ")
		for _, v := range values {
			if err := v.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			if err := enc.Encode(v); err != nil {
				t.Fatal(err)
			}
		}
		golden(t, name+".txt", text.Bytes())
		golden(t, name+".json", js.Bytes())
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			at := func(list []string) string {
				if i < len(list) {
					return list[i]
				}
				return "(the end)"
			}
			t.Errorf("%s, line %d:\n got %s\nwant %s", name, i+1, at(g), at(w))
			return
		}
	}
}
