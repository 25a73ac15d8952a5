package tree

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// paths of a tree, as a sorted walk gives them.
func walkPaths(tr *Tree, id ID, path string) (all []string) {
	for _, e := range tr.Entries(id) {
		all = append(all, path+e.Name)
		all = append(all, walkPaths(tr, e.ID, path+e.Name+"/")...)
	}
	return all
}

func TestFromFS_map(t *testing.T) {
	at := time.Unix(1_700_000_000, 5)
	fsys := fstest.MapFS{
		"dir/file":   {Data: []byte("hello"), Mode: 0o640, ModTime: at},
		"dir/set":    {Mode: 0o755 | fs.ModeSetuid | fs.ModeSticky},
		"link":       {Data: []byte("dir/file"), Mode: fs.ModeSymlink | 0o777},
		"empty":      {Mode: fs.ModeDir | 0o700},
		"not/wanted": {},
	}
	tr, err := Load(context.Background(), Options{Time: UnixTime(77, 0), Exclude: []string{"/not"}}, FS(fsys))
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if got := walkPaths(tr, Root, ""); !slices.Equal(got, []string{"dir", "dir/file", "dir/set", "empty", "link"}) {
		t.Errorf("%q", got)
	}
	get := func(path string) *Node {
		id, ok := tr.LookupPath(path)
		if !ok {
			t.Fatal(path)
		}
		return tr.Node(id)
	}
	f := get("dir/file")
	if f.Mode != disk.ModeRegular|0o640 || f.Mtime != TimeOf(at) || f.Size != 5 {
		t.Errorf("%+v", f)
	}
	if n := get("dir/set"); n.Mode != disk.ModeRegular|disk.ModeSetuid|disk.ModeSticky|0o755 || n.Mtime != UnixTime(77, 0) {
		t.Errorf("%+v", n)
	}
	id, _ := tr.LookupPath("link")
	if tr.Target(id) != "dir/file" || tr.Node(id).Size != 8 {
		t.Errorf("target %q", tr.Target(id))
	}
	id, _ = tr.LookupPath("dir/file")
	if b, err := tr.ReadFile(context.Background(), id, 100); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	delete(fsys, "dir/file")
	if _, err := tr.Open(id); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("gone: %v", err)
	}
	fsys["dir/file"] = &fstest.MapFile{Data: []byte("hi"), Mode: 0o644}
	if _, err := tr.ReadFile(context.Background(), id, 100); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("shorter: %v", err)
	}
}

// TestFromFS_zip reads compressed members, which cannot seek, back and forth.
func TestFromFS_zip(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 10000)
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f := must(w.Create("dir/file"))
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := must(zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len())))
	tr, err := Load(context.Background(), Options{}, FS(r))
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	id, ok := tr.LookupPath("dir/file")
	if !ok {
		t.Fatal("not there")
	}
	file, err := tr.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, at := range []int{0, 100000, 50000, 159990, 3} {
		p := make([]byte, 100)
		n, err := file.ReadAt(p, int64(at))
		want := content[at:min(at+100, len(content))]
		if !bytes.Equal(p[:n], want) || (n < 100) != (err == io.EOF) {
			t.Errorf("at %d: %d, %v", at, n, err)
		}
	}
	if _, err := file.ReadAt(make([]byte, 1), int64(len(content))); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// TestFromFS_asFromDir compares os.DirFS with the directory itself.
func TestFromFS_asFromDir(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(dir+"/a/b", 0o750), os.WriteFile(dir+"/a/f", []byte("x"), 0o600),
		os.Link(dir+"/a/f", dir+"/a/b/g"), os.Chmod(dir+"/a", 0o711),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	a, err := Load(context.Background(), Options{NoXattrs: true}, FS(os.DirFS(dir)))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := Load(context.Background(), Options{NoXattrs: true}, Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if x, y := lines(a), lines(b); !slices.Equal(x, y) {
		t.Errorf("%q, %q", x, y)
	}
	for id := range ID(a.Len()) {
		x, y := a.Node(id), b.Node(id)
		if x.Mtime != y.Mtime || x.Links != y.Links || x.Size != y.Size || x.Ctime != y.Ctime {
			t.Errorf("%s: %+v, %+v", a.Path(id), x, y)
		}
	}
}
