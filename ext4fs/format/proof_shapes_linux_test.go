package format_test

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/format"
	"github.com/e4kit/e4kit/ext4fs/tree"
	"github.com/e4kit/e4kit/testimages"
)

// pattern is a file whose bytes tell where they are, with the given parts.
type pattern struct {
	size  int64
	spans []tree.Span
}

func (p pattern) Open() (tree.File, error)      { return p, nil }
func (p pattern) Spans() ([]tree.Span, error)   { return p.spans, nil }
func (p pattern) Close() error                  { return nil }
func (p pattern) Host() (*os.File, int64, bool) { return nil, 0, false }
func (p pattern) at(off int64) byte             { return byte(off>>9)*7 + byte(off) | 1 }
func (p pattern) ReadAt(b []byte, off int64) (int, error) {
	for i := range b {
		if off+int64(i) >= p.size {
			return i, io.EOF
		}
		b[i] = p.at(off + int64(i))
	}
	return len(b), nil
}

func add(t *testing.T, tr *tree.Tree, dir tree.ID, name string, mode uint16) tree.ID {
	t.Helper()
	id, err := tr.Add(dir, name, tree.Node{Mode: mode})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func addPattern(t *testing.T, tr *tree.Tree, name string, p pattern) {
	t.Helper()
	id := add(t, tr, tree.Root, name, disk.ModeRegular|0o644)
	tr.Node(id).Size = p.size
	if err := tr.SetContent(id, p); err != nil {
		t.Fatal(err)
	}
}

// open opens an image that e2fsck calls clean.
func open(t *testing.T, img string) *ext4fs.FS {
	t.Helper()
	testimages.Fsck(t, img)
	fsys, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fsys.Close(); err != nil {
			t.Error(err)
		}
	})
	return fsys
}

// TestProof_directories makes directories that need an index of every height,
// and one of more directories than a link count holds.
func TestProof_directories(t *testing.T) {
	testimages.RequireTool(t, "e2fsck", "debugfs")
	tests := []struct {
		name   string
		names  int
		length int
		mode   uint16
		o      format.Options
		levels int // of the index; 0 for none
	}{
		{"one block", 20, 20, disk.ModeRegular, format.Options{}, 0},
		{"one level", 3000, 20, disk.ModeRegular, format.Options{}, 1},
		{"two levels", 20_000, 100, disk.ModeRegular, format.Options{BlockSize: 1024}, 2},
		{"three levels", 60_000, 250, disk.ModeRegular, format.Options{BlockSize: 1024, Features: []string{"large_dir"}}, 3},
		{"no index", 3000, 20, disk.ModeRegular, format.Options{Features: []string{"^dir_index"}}, 0},
		{"directories", 66_000, 10, disk.ModeDir, format.Options{BlockSize: 1024, InodeSize: 128}, 2},
		{"directories, few links", 64_000, 10, disk.ModeDir, format.Options{BlockSize: 1024, InodeSize: 128, Features: []string{"^dir_nlink"}}, 2},
		{"inline", 3, 10, disk.ModeRegular, format.Options{Features: []string{"inline_data"}}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if testing.Short() && tt.names > 5000 {
				t.Skip("large")
			}
			t.Parallel()
			tr := tree.New()
			dir := add(t, tr, tree.Root, "names", disk.ModeDir|0o755)
			for i := range tt.names {
				name := fmt.Sprintf("%d-", i)
				add(t, tr, dir, name+strings.Repeat("n", max(tt.length-len(name), 0)), tt.mode|0o755)
			}
			tt.o.Size, tt.o.Zeroed = format.SizeAuto, true
			img := build(t, tt.o, tr)
			fsys := open(t, img)
			list, err := fsys.ReadDir("names")
			if err != nil || len(list) != tt.names {
				t.Fatalf("%d names, %v", len(list), err)
			}
			checkIndex(t, fsys, img, tt.levels)
		})
	}
}

// checkIndex looks at the height of the index of /names, and looks names up by
// it.
func checkIndex(t *testing.T, fsys *ext4fs.FS, img string, levels int) {
	t.Helper()
	i, err := fsys.Lookup("/names")
	if err != nil {
		t.Fatal(err)
	}
	if got := i.Flags().Has(disk.FlagIndex); got != (levels > 0) {
		t.Errorf("the directory has an index: %v", got)
	}
	if levels == 0 {
		return
	}
	out := testimages.Debugfs(t, img, "htree /names")
	if want := fmt.Sprintf("Indirect levels: %d", levels-1); !strings.Contains(out, want) {
		line, _, _ := strings.Cut(out[max(strings.Index(out, "Indirect levels"), 0):], "\n")
		t.Errorf("no %q, but %q", want, line)
	}
}

// TestProof_largeFiles makes files of more blocks, and of more pieces, than
// one extent or one node of extents holds.
func TestProof_largeFiles(t *testing.T) {
	testimages.RequireTool(t, "e2fsck")
	var pieces []tree.Span
	for i := range int64(3000) {
		pieces = append(pieces, tree.Span{Off: i * 8192, Len: 1024})
	}
	const gib = 1 << 30
	for _, o := range []format.Options{
		{BlockSize: 1024}, {BlockSize: 4096}, {BlockSize: 1024, Type: "ext3"}, {BlockSize: 1024, Features: []string{"bigalloc"}, ClusterSize: 4096},
	} {
		t.Run(fmt.Sprintf("%s-%d%v", o.Type, o.BlockSize, o.Features), func(t *testing.T) {
			t.Parallel()
			tr := tree.New()
			addPattern(t, tr, "long", pattern{size: 70<<20 + 5})
			addPattern(t, tr, "pieces", pattern{size: 3000 * 8192, spans: pieces})
			addPattern(t, tr, "end", pattern{size: 9*gib + 1, spans: []tree.Span{{Off: 9 * gib, Len: 1}}})
			addPattern(t, tr, "hole", pattern{size: 3 * gib, spans: []tree.Span{}})
			o.Size, o.Zeroed = format.SizeAuto, true
			fsys := open(t, build(t, o, tr))
			samePatterns(t, fsys, tr)
			if o.BlockSize != 4096 {
				return // backups of the superblock lie closer together than the file is long
			}
			i, err := fsys.Lookup("/long")
			if err != nil {
				t.Fatal(err)
			}
			got, err := fileRuns(i)
			want := dataMap{i.Size(), []blockRange{{0, i.Size()}}}.runs(int64(o.BlockSize), 1)
			if err != nil || got.runs > want.runs {
				t.Errorf("%d extents, %d would do; %v", got.runs, want.runs, err)
			}
		})
	}
}

// samePatterns reads the files at and around their parts.
func samePatterns(t *testing.T, fsys *ext4fs.FS, tr *tree.Tree) {
	t.Helper()
	for _, e := range tr.Entries(tree.Root) {
		n := tr.Node(e.ID)
		spans, err := tr.Spans(e.ID)
		if err != nil {
			t.Fatal(err)
		}
		if spans == nil {
			spans = []tree.Span{{Off: 0, Len: n.Size}}
		}
		i, err := fsys.Lookup("/" + e.Name)
		if err != nil || i.Size() != n.Size {
			t.Fatalf("%s: size %d, %v", e.Name, i.Size(), err)
		}
		for _, s := range spans {
			got := make([]byte, s.Len)
			want := make([]byte, s.Len)
			if _, err := i.ReadAt(got, s.Off); err != nil && err != io.EOF {
				t.Fatal(err)
			}
			pattern{size: n.Size}.ReadAt(want, s.Off)
			if string(got) != string(want) {
				t.Fatalf("%s: other content at %d", e.Name, s.Off)
			}
		}
	}
}

// TestProof_refuses asks for what no file system can hold: it says so before
// it writes.
func TestProof_refuses(t *testing.T) {
	links := tree.New()
	file := add(t, links, tree.Root, "file", disk.ModeRegular|0o644)
	for i := range 65_000 {
		if err := links.Link(tree.Root, fmt.Sprintf("link-%d", i), file); err != nil {
			t.Fatal(err)
		}
	}
	attrs := tree.New()
	attrs.SetXattrs(add(t, attrs, tree.Root, "file", disk.ModeRegular|0o644), []tree.Xattr{{Name: "user.big", Value: make([]byte, 5000)}})
	huge := tree.New()
	addPattern(t, huge, "file", pattern{size: 17 << 40, spans: []tree.Span{}})
	old := tree.New()
	addPattern(t, old, "file", pattern{size: 5 << 40, spans: []tree.Span{}})
	full := tree.New()
	addPattern(t, full, "file", pattern{size: 100 << 20})
	dirs := tree.New()
	for i := range 65_000 {
		add(t, dirs, tree.Root, fmt.Sprint(i), disk.ModeDir|0o755)
	}
	for _, tt := range []struct {
		name string
		tr   *tree.Tree
		o    format.Options
	}{
		{"too many links", links, format.Options{Size: format.SizeAuto}},
		{"too much in an attribute", attrs, format.Options{Size: format.SizeAuto}},
		{"a file beyond extents", huge, format.Options{Size: format.SizeAuto}},
		{"a file beyond block maps", old, format.Options{Size: format.SizeAuto, Type: "ext3"}},
		{"no room", full, format.Options{Size: 100 << 20}},
		{"no inodes", dirs, format.Options{Size: 1 << 30, Inodes: 1000}},
		{"too many directories", dirs, format.Options{Size: format.SizeAuto, Features: []string{"^dir_nlink"}}},
	} {
		_, err := format.Plan(t.Context(), tt.o, tt.tr)
		if err == nil {
			t.Errorf("%s: no error", tt.name)
			continue
		}
		t.Logf("%s: %v", tt.name, err)
	}
}
