package inject_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/inject"
	"github.com/e4kit/e4kit/testimages"
)

// archive makes a tar stream; a member without a type is a file with its name
// as content.
func archive(t testing.TB, members ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range members {
		data := ""
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
			data = h.Name
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		h.Size = int64(len(data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, data)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func dirOf(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }

func linkOf(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
}

func hardOf(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}
}

// small makes an image with a directory "in" to unpack into, and things outside
// that must stay as they are.
func small(t *testing.T) string {
	t.Helper()
	img := filepath.Join(t.TempDir(), "small.img")
	testimages.Mkfs(t, img, 16<<20)
	edit(t, img, func(fsys *ext4fs.FS) {
		for _, err := range []error{
			fsys.MkdirAll("in", 0o755), fsys.MkdirAll("outside", 0o755),
			fsys.WriteFile("outside/file", []byte("mine"), 0o644), fsys.WriteFile("passwd", []byte("mine"), 0o644),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	return img
}

// listing is every path of the image with its kind and content.
func listing(t *testing.T, fsys *ext4fs.FS) []string {
	t.Helper()
	var list []string
	err := fsys.Walk(context.Background(), root(t, fsys), "", func(e *ext4fs.WalkEntry) error {
		if e.Err != nil {
			return e.Err
		}
		text := "/" + strings.TrimPrefix(e.Path(), "/")
		switch {
		case e.Depth == 0 || text == "/lost+found":
			return nil
		case e.Inode.IsSymlink():
			target, _ := e.Inode.Readlink()
			text += " -> " + target
		case e.Inode.IsRegular():
			data := make([]byte, e.Inode.Size())
			if _, err := e.Inode.ReadAt(data, 0); err != nil && err != io.EOF {
				return err
			}
			text += " = " + string(data)
		default:
			text += "/"
		}
		list = append(list, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// TestUntar_hostile: whatever an archive says, nothing outside of the target
// changes.
func TestUntar_hostile(t *testing.T) {
	const outside = "/outside/|/outside/file = mine|/passwd = mine"
	for _, tt := range []struct {
		name    string
		members []tar.Header
		want    string // below /in
		failed  int64
	}{
		{"absolute", []tar.Header{{Name: "/passwd"}}, "/in/passwd = /passwd", 0},
		{"dot dot", []tar.Header{{Name: "../passwd"}, {Name: "a/../../passwd"}, {Name: "ok"}}, "/in/ok = ok", 2},
		{"dot dot alone", []tar.Header{dirOf(".."), {Name: "x"}}, "/in/x = x", 1},
		{"link to root", []tar.Header{linkOf("a", "/"), {Name: "a/passwd"}}, "/in/a -> /|/in/passwd = a/passwd", 0},
		{"link up", []tar.Header{linkOf("a", "../outside"), dirOf("outside"), {Name: "a/file"}},
			"/in/a -> ../outside|/in/outside/|/in/outside/file = a/file", 0},
		{"link up to nothing", []tar.Header{linkOf("a", "../outside"), {Name: "a/file"}},
			"/in/a -> ../outside|/in/outside/|/in/outside/file = a/file", 0},
		{"links in a circle", []tar.Header{linkOf("a", "b"), linkOf("b", "a"), {Name: "a/file"}}, "/in/a -> b|/in/b -> a", 1},
		{"link over directory", []tar.Header{dirOf("d"), {Name: "d/x"}, linkOf("d", "/outside"), {Name: "d/file"}},
			"/in/d/|/in/d/file = d/file|/in/d/x = d/x", 1},
		{"link over empty directory", []tar.Header{dirOf("d"), linkOf("d", "/outside"), {Name: "d/file"}},
			"/in/d -> /outside|/in/outside/|/in/outside/file = d/file", 0},
		{"write through link", []tar.Header{linkOf("a", "../passwd"), {Name: "a"}}, "/in/a = a", 0},
		{"hard link outside", []tar.Header{hardOf("a", "../passwd"), hardOf("b", "/passwd")}, "", 2},
		{"hard link through link", []tar.Header{linkOf("l", ".."), hardOf("a", "l/passwd")}, "/in/l -> ..", 1},
		{"hard link", []tar.Header{{Name: "a"}, hardOf("b", "./a")}, "/in/a = a|/in/b = a", 0},
		{"parent is a file", []tar.Header{{Name: "a"}, {Name: "a/b"}}, "/in/a = a", 1},
		{"long name", []tar.Header{{Name: strings.Repeat("n", 256)}, {Name: "ok"}}, "/in/ok = ok", 1},
		{"no name", []tar.Header{dirOf("./"), {Name: "ok"}}, "/in/ok = ok", 0},
		{"twice", []tar.Header{{Name: "a"}, {Name: "./a"}}, "/in/a = ./a", 0},
		{"file over directory", []tar.Header{dirOf("a"), {Name: "a/b"}, {Name: "a"}}, "/in/a/|/in/a/b = a/b", 1},
		{"directory over file", []tar.Header{{Name: "a"}, dirOf("a"), {Name: "a/b"}}, "/in/a/|/in/a/b = a/b", 0},
		{"link to itself", []tar.Header{{Name: "a"}, hardOf("a", "a")}, "/in/a = a", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			img := small(t)
			edit(t, img, func(fsys *ext4fs.FS) {
				o := inject.TarOptions{}
				o.Error = func(path string, err error) { t.Logf("%s: %v", path, err) }
				r, err := inject.Untar(context.Background(), bytes.NewReader(archive(t, tt.members...)), mkdir(t, fsys, "in"), o)
				if err != nil || r.Failed != tt.failed {
					t.Errorf("%+v, %v; want %d failed", r, err, tt.failed)
				}
				want := strings.Split("/in/|"+outside, "|")
				if tt.want != "" {
					want = append(want, strings.Split(tt.want, "|")...)
				}
				slices.Sort(want)
				if got := listing(t, fsys); !slices.Equal(got, want) {
					t.Errorf("there is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			})
		})
	}
}

// TestUntar_damaged: streams that end early or are none give an error, and what
// came before is there.
func TestUntar_damaged(t *testing.T) {
	good := archive(t, tar.Header{Name: "aaaa"}, tar.Header{Name: "b"}, tar.Header{Name: "c"})
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	zw.Write(good)
	zw.Close()
	flipped := bytes.Clone(good)
	flipped[1024+10] ^= 1
	for _, tt := range []struct {
		name  string
		data  []byte
		files int64
	}{
		{"cut in a header", good[:1024+100], 1},
		{"cut in data", good[:512+2], 0},
		{"no archive", bytes.Repeat([]byte("no archive "), 1000), 0},
		{"checksum", flipped, 1},
		{"gzip cut", z.Bytes()[:z.Len()/2], -1},
		{"gzip damaged", append(bytes.Clone(z.Bytes()[:20]), make([]byte, 100)...), -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			img := small(t)
			edit(t, img, func(fsys *ext4fs.FS) {
				r, err := inject.Untar(context.Background(), bytes.NewReader(tt.data), mkdir(t, fsys, "in"), inject.TarOptions{})
				if err == nil && r.Failed == 0 {
					t.Error("no error")
				}
				if tt.files >= 0 && r.Files != tt.files {
					t.Errorf("%d files, want %d (%v)", r.Files, tt.files, err)
				}
			})
		})
	}
}

// endless is a source that is never at its end.
type endless struct {
	n    int
	stop func()
}

func (e *endless) Read(p []byte) (int, error) {
	if e.n++; e.n == 5 {
		e.stop()
	}
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// TestJob_cancelled: a copy that is cancelled in the middle of a file leaves
// nothing of it, and the old one where there was one.
func TestJob_cancelled(t *testing.T) {
	img := small(t)
	edit(t, img, func(fsys *ext4fs.FS) {
		before := listing(t, fsys)
		space, err := fsys.Space()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"new", "passwd"} {
			ctx, cancel := context.WithCancel(context.Background())
			job := inject.New(fsys, inject.Options{})
			job.AddReader(&endless{stop: cancel}, -1, "endless", inject.Place{Dir: root(t, fsys), Name: name, Path: "/" + name})
			if r, err := job.Run(ctx); !errors.Is(err, context.Canceled) || r.Files != 0 {
				t.Errorf("%+v, %v", r, err)
			}
		}
		if got := listing(t, fsys); !slices.Equal(got, before) {
			t.Errorf("there is %q, before was %q", got, before)
		}
		if err := fsys.Sync(context.Background()); err != nil {
			t.Fatal(err)
		}
		if now, _ := fsys.Space(); now.Free != space.Free || now.InodesFree != space.InodesFree {
			t.Errorf("space %+v, before %+v", now, space)
		}
	})
}

// TestJob_noSpace: what does not fit is not there, and the job ends.
func TestJob_noSpace(t *testing.T) {
	img := small(t)
	edit(t, img, func(fsys *ext4fs.FS) {
		var failed []string
		job := inject.New(fsys, inject.Options{Error: func(path string, err error) {
			failed = append(failed, path)
			if !errors.Is(err, ext4fs.ErrNoSpace) {
				t.Errorf("%s: %v", path, err)
			}
		}})
		for n, size := range []int64{3 << 20, 2 << 20, 40 << 20, 1 << 10} {
			name := string(rune('a' + n))
			job.AddReader(io.LimitReader(zeroes{}, size), size, name, inject.Place{Dir: root(t, fsys), Name: name, Path: "/" + name})
		}
		r, err := job.Run(context.Background())
		if !errors.Is(err, ext4fs.ErrNoSpace) || r.Files != 2 || len(failed) != 1 {
			t.Errorf("%+v, %v, failed %q", r, err, failed)
		}
		if got := listing(t, fsys); len(got) != 6 {
			t.Errorf("there is %d files", len(got))
		}
		job = inject.New(fsys, inject.Options{})
		job.AddReader(io.LimitReader(zeroes{}, 40<<20), -1, "unknown", inject.Place{Dir: root(t, fsys), Name: "unknown", Path: "/unknown"})
		if r, err := job.Run(context.Background()); !errors.Is(err, ext4fs.ErrNoSpace) || r.Files != 0 {
			t.Errorf("%+v, %v", r, err)
		}
		if _, err := fsys.Stat("unknown"); err == nil {
			t.Error("a part is there")
		}
		if err := fsys.WriteFile("later", []byte("fits"), 0o644); err != nil {
			t.Error(err)
		}
	})
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 1
	}
	return len(p), nil
}

// TestUntar_attributes: what PAX headers carry is kept.
func TestUntar_attributes(t *testing.T) {
	mtime := time.Date(1969, 12, 31, 23, 59, 59, 123456789, time.UTC)
	data := archive(t, tar.Header{
		Name: "f", Mode: 0o4755, Uid: 3000000, Gid: 70000, ModTime: mtime, Format: tar.FormatPAX,
		PAXRecords: map[string]string{
			"SCHILY.xattr.user.a": "val\x00ue", "LIBARCHIVE.xattr.user.b": "AQI=", "RHT.security.selinux": "label",
			"SCHILY.acl.access": "user::rwx\nuser:ada:r--:1000\ngroup::r-x\nmask::r-x\nother::---\n",
		},
	})
	img := small(t)
	edit(t, img, func(fsys *ext4fs.FS) {
		o := inject.TarOptions{Options: everything(t)}
		if r, err := inject.Untar(context.Background(), bytes.NewReader(data), mkdir(t, fsys, "in"), o); err != nil || r.Files != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		i, err := fsys.Lookup("in/f")
		if err != nil {
			t.Fatal(err)
		}
		st := i.Stat()
		if st.UID != 3000000 || st.GID != 70000 || !st.Mtime.Equal(mtime) || st.RawMode&0o7777 != 0o4750 {
			t.Errorf("%+v", st)
		}
		var names []string
		attrs, err := i.Xattrs()
		for _, a := range attrs {
			names = append(names, a.Name+"="+string(a.Value))
		}
		if err != nil || len(names) != 4 || names[0] != "security.selinux=label" || names[2] != "user.a=val\x00ue" || names[3] != "user.b=\x01\x02" {
			t.Errorf("%q, %v", names, err)
		}
	})
}

// TestUntar_lostACL: without its ACL, which has a name that nobody knows, a file
// gives its group what the ACL gave it, not the mask that its mode has.
func TestUntar_lostACL(t *testing.T) {
	data := archive(t, tar.Header{
		Name: "f", Mode: 0o2770, Format: tar.FormatPAX,
		PAXRecords: map[string]string{"SCHILY.acl.access": "user::rwx\nuser:nobody-here:rwx\ngroup::r--\nmask::rwx\nother::---\n"},
	})
	img := small(t)
	edit(t, img, func(fsys *ext4fs.FS) {
		o := inject.TarOptions{Options: everything(t)}
		warned := 0
		o.Warn = func(string, error) { warned++ }
		if r, err := inject.Untar(context.Background(), bytes.NewReader(data), mkdir(t, fsys, "in"), o); err != nil || r.Files != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		i, err := fsys.Lookup("in/f")
		if err != nil {
			t.Fatal(err)
		}
		if attrs, err := i.Xattrs(); err != nil || len(attrs) != 0 || i.Stat().RawMode&0o7777 != 0o2740 || warned != 1 {
			t.Errorf("mode %o, attributes %v, %v, %d warnings", i.Stat().RawMode, attrs, err, warned)
		}
	})
}
