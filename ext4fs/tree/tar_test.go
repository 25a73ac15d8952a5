package tree

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/pax"
)

// tarOf makes a tar stream. A member without a type is a file with its name as
// content.
func tarOf(t testing.TB, members ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range members {
		data := ""
		if h.Typeflag == 0 {
			h.Typeflag, data = tar.TypeReg, h.Name
			h.Size = int64(len(data))
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tdir(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o750} }
func tlink(name, to string) tar.Header {
	return tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink}
}
func thard(name, to string) tar.Header {
	return tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeLink}
}

// stream is a reader that cannot be read anywhere.
type stream struct{ io.Reader }

// content reads a whole file through File.
func content(t testing.TB, x *Tree, id ID) []byte {
	t.Helper()
	b, err := x.ReadFile(context.Background(), id, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// names lists a tree, one file a line, with what small files hold.
func names(t testing.TB, x *Tree) string {
	t.Helper()
	var list []string
	var walk func(dir ID, path string)
	walk = func(dir ID, path string) {
		for _, e := range x.Entries(dir) {
			n := x.Node(e.ID)
			switch {
			case n.IsDir():
				list = append(list, path+e.Name+"/")
				walk(e.ID, path+e.Name+"/")
			case n.IsSymlink():
				list = append(list, path+e.Name+" -> "+x.Target(e.ID))
			case n.IsRegular():
				list = append(list, path+e.Name+" = "+string(content(t, x, e.ID)))
			default:
				list = append(list, path+e.Name)
			}
		}
	}
	walk(Root, "")
	return strings.Join(list, "|")
}

// dump lists a tree with everything that is known of the files.
func dump(t testing.TB, x *Tree, o dumpOptions) []string {
	t.Helper()
	var list []string
	first := map[ID]string{}
	var walk func(id ID, path string)
	walk = func(id ID, path string) {
		n := x.Node(id)
		line := fmt.Sprintf("%s %06o %d:%d links %d", path, n.Mode, n.UID, n.GID, n.Links)
		if !o.noTimes {
			mtime := n.Mtime.Time()
			if o.seconds {
				mtime = mtime.Truncate(time.Second)
			}
			line += fmt.Sprintf(" mtime %d.%09d", mtime.Unix(), mtime.Nanosecond())
		}
		if n.IsDevice() {
			line += fmt.Sprintf(" dev %d:%d", n.Major, n.Minor)
		}
		if n.IsSymlink() {
			line += " -> " + x.Target(id)
		}
		if n.IsRegular() {
			line += fmt.Sprintf(" size %d sum %x", n.Size, sumOf(t, x, id))
		}
		if !o.noXattrs {
			for _, a := range x.Xattrs(id) {
				line += fmt.Sprintf(" %s=%x", a.Name, a.Value)
			}
		}
		if n.Links > 1 && first[id] != "" {
			line += " same as " + first[id]
		} else {
			first[id] = path
		}
		list = append(list, line)
		for _, e := range x.Entries(id) {
			walk(e.ID, path+"/"+e.Name)
		}
	}
	walk(Root, "")
	return list
}

type dumpOptions struct{ noTimes, seconds, noXattrs bool }

func sumOf(t testing.TB, x *Tree, id ID) []byte {
	t.Helper()
	f, err := x.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if n, err := io.Copy(h, io.NewSectionReader(f, 0, x.Node(id).Size)); err != nil || n != x.Node(id).Size {
		t.Fatalf("%s: %d bytes, %v", x.Path(id), n, err)
	}
	return h.Sum(nil)[:8]
}

func diff(want, got []string) string {
	var out []string
	for _, w := range want {
		if !slices.Contains(got, w) {
			out = append(out, "- "+w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			out = append(out, "+ "+g)
		}
	}
	if len(out) > 20 {
		out = append(out[:20], "...")
	}
	return strings.Join(out, "\n")
}

// loadAll makes a tree of sources, to be closed at the end of the test.
func loadAll(t testing.TB, o Options, sources ...Source) *Tree {
	t.Helper()
	x, err := Load(context.Background(), o, sources...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

// TestFromTar_hostile: whatever a stream says, it is an error or stays inside.
func TestFromTar_hostile(t *testing.T) {
	deep := strings.Repeat("d/", maxDepth+1) + "x"
	circle := []tar.Header{tlink("a", "b"), tlink("b", "a"), {Name: "a/file"}}
	var chain []tar.Header
	for i := range 45 {
		chain = append(chain, tlink(fmt.Sprint("l", i+1), fmt.Sprint("l", i)))
	}
	steps := []tar.Header{tdir("d"), tlink("l0", strings.Repeat("d/../", 800))}
	for i := range 20 {
		steps = append(steps, tlink(fmt.Sprint("l", i+1), fmt.Sprint("l", i)+"/"+strings.Repeat("d/../", 700)))
	}
	for _, tt := range []struct {
		name    string
		members []tar.Header
		want    string
		err     error
	}{
		{"absolute", []tar.Header{{Name: "/passwd"}}, "passwd = /passwd", nil},
		{"dot dot", []tar.Header{{Name: "../passwd"}}, "", pax.ErrDotDot},
		{"dot dot inside", []tar.Header{{Name: "a/../../passwd"}}, "", pax.ErrDotDot},
		{"dot dot directory", []tar.Header{tdir("..")}, "", pax.ErrDotDot},
		{"link to root", []tar.Header{tlink("a", "/"), {Name: "a/x"}}, "a -> /|x = a/x", nil},
		{"link up", []tar.Header{tlink("a", "../../out"), tdir("out"), {Name: "a/x"}}, "a -> ../../out|out/|out/x = a/x", nil},
		{"link up to nothing", []tar.Header{tlink("a", "../out"), {Name: "a/x"}}, "a -> ../out|out/|out/x = a/x", nil},
		{"circle", circle, "", ErrLoop},
		{"long chain", append(chain, tdir("l0"), tar.Header{Name: "l45/x"}), "", ErrLoop},
		{"long ways", append(steps, tar.Header{Name: "l20/x"}), "", ErrLoop},
		{"link over directory", []tar.Header{tdir("d"), {Name: "d/x"}, tlink("d", "/o"), {Name: "d/y"}}, "d -> /o|o/|o/y = d/y", nil},
		{"directory over link", []tar.Header{tdir("o"), tlink("d", "/o"), {Name: "d/y"}, tdir("d"), {Name: "d/z"}}, "d/|d/z = d/z|o/|o/y = d/y", nil},
		{"write through link", []tar.Header{tlink("a", "../passwd"), {Name: "a"}}, "a = a", nil},
		{"hard link outside", []tar.Header{thard("a", "../passwd")}, "", pax.ErrDotDot},
		{"hard link absolute", []tar.Header{{Name: "passwd"}, thard("a", "/passwd")}, "a = passwd|passwd = passwd", nil},
		{"hard link through link", []tar.Header{{Name: "x"}, tlink("l", ".."), thard("a", "l/x")}, "a = x|l -> ..|x = x", nil},
		{"hard link to nothing", []tar.Header{thard("a", "b")}, "", ErrNotExist},
		{"hard link below a file", []tar.Header{{Name: "b"}, thard("a", "b/c")}, "", ErrNotDir},
		{"hard link to directory", []tar.Header{tdir("b"), thard("a", "b")}, "", ErrIsDir},
		{"hard link to the top", []tar.Header{thard("a", "./")}, "", ErrIsDir},
		{"hard link to itself", []tar.Header{{Name: "a"}, thard("a", "./a")}, "a = a", nil},
		{"hard link to link", []tar.Header{tlink("l", "x"), thard("a", "l")}, "a -> x|l -> x", nil},
		{"parent is a file", []tar.Header{{Name: "a"}, {Name: "a/b"}}, "", ErrNotDir},
		{"long element", []tar.Header{{Name: strings.Repeat("n", 256)}}, "", ErrNameTooLong},
		{"longest element", []tar.Header{{Name: strings.Repeat("n", 255)}}, strings.Repeat("n", 255) + " = " + strings.Repeat("n", 255), nil},
		{"deep", []tar.Header{{Name: deep}}, "", ErrNameTooLong},
		{"file at the top", []tar.Header{{Name: "."}}, "", ErrNotDir},
		{"top", []tar.Header{tdir("./"), {Name: "./ok"}}, "ok = ./ok", nil},
		{"twice", []tar.Header{{Name: "a"}, {Name: "./a"}}, "a = ./a", nil},
		{"directory twice", []tar.Header{tdir("a"), {Name: "a/b"}, tdir("./a/")}, "a/|a/b = a/b", nil},
		{"file over directory", []tar.Header{tdir("a"), {Name: "a/b"}, {Name: "a"}}, "a = a", nil},
		{"directory over file", []tar.Header{{Name: "a"}, tdir("a"), {Name: "a/b"}}, "a/|a/b = a/b", nil},
		{"first of two names replaced", []tar.Header{{Name: "a"}, thard("b", "a"), {Name: "./a"}}, "a = ./a|b = a", nil},
		{"owner", []tar.Header{{Name: "a", Uid: -1, Format: tar.FormatGNU}}, "", pax.ErrOwner},
		{"device", []tar.Header{{Name: "a", Typeflag: tar.TypeChar, Devmajor: 4096}}, "", pax.ErrDevice},
		{"type", []tar.Header{{Name: "a", Typeflag: 'Z'}}, "", pax.ErrType},
		{"target", []tar.Header{tlink("a", strings.Repeat("x", 4096))}, "", ErrTarget},
		{"empty target", []tar.Header{{Name: "a", Typeflag: tar.TypeSymlink}}, "", ErrTarget},
		{"whiteouts are names", []tar.Header{{Name: "a"}, {Name: ".wh.a"}}, ".wh.a = .wh.a|a = a", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, err := Load(context.Background(), Options{}, TarReader(bytes.NewReader(tarOf(t, tt.members...))))
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Fatalf("%v, want %v", err, tt.err)
			}
			if err != nil {
				last := tt.members[len(tt.members)-1]
				if !strings.Contains(err.Error(), last.Name[:min(len(last.Name), 200)]) {
					t.Errorf("%v: does not name %q", err, last.Name)
				}
				return
			}
			defer x.Close()
			if got := names(t, x); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// TestFromTar_bombs: what costs an attacker little costs us little.
func TestFromTar_bombs(t *testing.T) {
	var devices []tar.Header
	for i := range 5000 {
		devices = append(devices, tar.Header{Name: fmt.Sprint("d", i), Typeflag: tar.TypeBlock, Devmajor: 8, Devminor: int64(i)})
	}
	_, err := Load(context.Background(), Options{MaxNodes: 1000}, TarReader(bytes.NewReader(tarOf(t, devices...))))
	if !errors.Is(err, ErrTooMany) {
		t.Errorf("devices: %v", err)
	}
	slash := tar.Header{Name: strings.Repeat("a/", 4000) + "x"}
	_, err = Load(context.Background(), Options{MaxNodes: 1000}, TarReader(bytes.NewReader(tarOf(t, slash))))
	if !errors.Is(err, ErrTooMany) {
		t.Errorf("directories: %v", err)
	}
	hole := sparseTar(math.MaxInt64, []pax.Span{{Off: 1 << 44, Len: 3}}, []byte("end"))
	x := loadAll(t, Options{}, TarReader(bytes.NewReader(hole)))
	id, _ := x.LookupPath("sparse")
	if spans, err := x.Spans(id); err != nil || fmt.Sprint(spans) != "[{17592186044416 3}]" || x.Node(id).Size != math.MaxInt64 {
		t.Errorf("holes: %v, %v", spans, err)
	}
	// 64 MiB of zeros cost nothing in the spool, and noise no more than allowed.
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	tw := tar.NewWriter(zw)
	tw.WriteHeader(&tar.Header{Name: "zeros", Size: 64 << 20, Mode: 0o600})
	io.CopyN(tw, zeroReader{}, 64<<20)
	tw.Close()
	zw.Close()
	x = loadAll(t, Options{MaxBytes: 64 << 10}, TarReader(bytes.NewReader(z.Bytes())))
	if id, _ := x.LookupPath("zeros"); x.Node(id).Size != 64<<20 || !bytes.Equal(content(t, x, id), make([]byte, 64<<20)) {
		t.Error("zeros are not zeros")
	}
	z.Reset()
	zw.Reset(&z)
	zw.Write(bytes.Repeat(tarOf(t, tar.Header{Name: "x"})[:1024], 1024))
	zw.Close()
	_, err = Load(context.Background(), Options{MaxBytes: 64 << 10}, TarReader(&z))
	if !errors.Is(err, device.ErrTooLarge) {
		t.Errorf("noise: %v", err)
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// sparseTar is an archive with one sparse file.
func sparseTar(size int64, pieces []pax.Span, data []byte) []byte {
	var text []string
	for _, p := range pieces {
		text = append(text, fmt.Sprintf("%d,%d", p.Off, p.Len))
	}
	var records string
	for _, kv := range []string{"GNU.sparse.size=" + fmt.Sprint(size), "GNU.sparse.map=" + strings.Join(text, ",")} {
		n := len(kv) + 2
		for len(fmt.Sprint(n))+len(kv)+2 != n {
			n++
		}
		records += fmt.Sprintf("%d %s\n", n, kv)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: "r", Typeflag: tar.TypeReg, Size: int64(len(records))})
	io.WriteString(w, records)
	w.WriteHeader(&tar.Header{Name: "sparse", Typeflag: tar.TypeReg, Size: int64(len(data)), Mode: 0o600})
	w.Write(data)
	w.Close()
	out := b.Bytes()
	out[156] = 'x'
	sum := 0
	copy(out[148:156], "        ")
	for _, c := range out[:512] {
		sum += int(c)
	}
	copy(out[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return out
}

// TestFromTar_forms: plain and compressed, from files, pipes and memory, the
// tree is the same.
func TestFromTar_forms(t *testing.T) {
	noise := make([]byte, 2<<20)
	for i := range noise {
		noise[i] = byte(i * i >> 7)
	}
	copy(noise[1<<20:], make([]byte, 1<<19)) // a hole in the spool
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i, size := range []int{0, 1, 511, 512, 513, 4096, len(noise)} {
		h := &tar.Header{Name: fmt.Sprint("f", i), Size: int64(size), Mode: 0o600, ModTime: time.Unix(5, 6), Format: tar.FormatPAX}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		w.Write(noise[:size])
	}
	w.Close()
	plain := slices.Concat(b.Bytes(), make([]byte, 8192))
	plain = append(plain, tarOf(t)[:0]...)
	forms := map[string][]byte{"plain": plain}
	for name, pack := range map[string]func(io.Writer) io.WriteCloser{
		"pzstd": func(w io.Writer) io.WriteCloser {
			w.Write([]byte{0x52, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}) // a frame to be skipped comes first
			z, _ := zstd.NewWriter(w)
			return z
		},
		"gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"zstd": func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z },
		"xz":   func(w io.Writer) io.WriteCloser { z, _ := xz.NewWriter(w); return z },
	} {
		var z bytes.Buffer
		zw := pack(&z)
		zw.Write(plain)
		zw.Close()
		forms[name] = z.Bytes()
	}
	want := dump(t, loadAll(t, Options{}, TarReader(bytes.NewReader(plain))), dumpOptions{})
	if len(want) != 8 {
		t.Fatalf("%q", want)
	}
	for name, data := range forms {
		file := filepath.Join(t.TempDir(), "x.tar")
		if err := os.WriteFile(file, slices.Concat([]byte("before"), data), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.Seek(6, io.SeekStart)
		pr, pw := io.Pipe()
		go func() { pw.Write(data); pw.Close() }()
		at := bytes.NewReader(slices.Concat([]byte("before"), data))
		at.Seek(6, io.SeekStart)
		for kind, r := range map[string]io.Reader{"file": f, "memory": at, "pipe": pr, "stream": stream{bytes.NewReader(data)}} {
			x := loadAll(t, Options{TempDir: t.TempDir()}, TarReader(r))
			if d := diff(want, dump(t, x, dumpOptions{})); d != "" {
				t.Errorf("%s, %s:\n%s", name, kind, d)
			}
			id, _ := x.LookupPath("f6")
			c, err := x.Open(id)
			if err != nil {
				t.Fatal(err)
			}
			host, off, ok := c.Host()
			if ok == (name == "plain" && kind == "memory") {
				t.Errorf("%s, %s: host file %v", name, kind, ok)
			}
			if ok {
				got := make([]byte, len(noise))
				if _, err := host.ReadAt(got, off); err != nil || !bytes.Equal(got, noise) {
					t.Errorf("%s, %s: the host file has something else at %d, %v", name, kind, off, err)
				}
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestFromTar_damaged: streams that end early or are none are errors, and
// leave nothing behind.
func TestFromTar_damaged(t *testing.T) {
	good := tarOf(t, tar.Header{Name: "aaaa"}, tar.Header{Name: "b"}, tar.Header{Name: "c"})
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	zw.Write(good)
	zw.Close()
	flipped := bytes.Clone(good)
	flipped[1024+10] ^= 1
	trailer := bytes.Clone(z.Bytes())
	trailer[len(trailer)-5] ^= 1
	for _, tt := range []struct {
		name string
		data []byte
		err  error
	}{
		{"cut in a header", good[:1024+100], io.ErrUnexpectedEOF},
		{"cut in data", good[:512+2], io.ErrUnexpectedEOF},
		{"cut in padding", good[:512+20], io.ErrUnexpectedEOF},
		{"empty", nil, io.ErrUnexpectedEOF},
		{"no archive", bytes.Repeat([]byte("no archive "), 1000), pax.ErrHeader},
		{"checksum", flipped, pax.ErrHeader},
		{"gzip cut", z.Bytes()[:z.Len()/2], io.ErrUnexpectedEOF},
		{"gzip trailer", trailer, disk.ErrCorrupt},
		{"gzip damaged", append(bytes.Clone(z.Bytes()[:20]), make([]byte, 100)...), disk.ErrCorrupt},
	} {
		dir := t.TempDir()
		for _, r := range []io.Reader{bytes.NewReader(tt.data), stream{bytes.NewReader(tt.data)}} {
			if _, err := Load(context.Background(), Options{TempDir: dir}, TarReader(r)); !errors.Is(err, tt.err) {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
			}
		}
		if list, err := os.ReadDir(dir); len(list) > 0 || err != nil {
			t.Errorf("%s: %v, %v left", tt.name, list, err)
		}
	}
	short := filepath.Join(t.TempDir(), "x.tar")
	if err := os.WriteFile(short, good, 0o600); err != nil {
		t.Fatal(err)
	}
	x := loadAll(t, Options{}, Tar(short))
	if err := os.Truncate(short, 512); err != nil {
		t.Fatal(err)
	}
	id, _ := x.LookupPath("aaaa")
	if _, err := x.ReadFile(context.Background(), id, 100); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an archive that was cut later: %v", err)
	}
}

// TestFromTar_cancelled: a stream that stands still does not hold up the end.
func TestFromTar_cancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	pr, pw := io.Pipe()
	data := tarOf(t, tar.Header{Name: "a"})
	go func() {
		pw.Write(bytes.Repeat(data[:1024], 4096))
		cancel()
	}()
	x := New()
	err := FromTar(ctx, x, Root, pr, &Options{})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	pw.Close()
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	// Not even when nothing has come yet.
	ctx, cancel = context.WithCancel(context.Background())
	pr, pw = io.Pipe()
	defer pw.Close()
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := Load(ctx, Options{}, TarReader(pr)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestFromTar_maxBytes: the bound is for all streams together.
func TestFromTar_maxBytes(t *testing.T) {
	data := tarOf(t, tar.Header{Name: "a"})
	source := func() Source { return TarReader(stream{bytes.NewReader(data)}) }
	o := Options{MaxBytes: 5 << 10} // a stream has 2 KiB
	loadAll(t, o, source())
	if _, err := Load(context.Background(), o, source(), source(), source()); !errors.Is(err, device.ErrTooLarge) {
		t.Error(err)
	}
}

// TestFromTar_attributes: what PAX headers carry is kept.
func TestFromTar_attributes(t *testing.T) {
	mtime, atime := time.Date(1969, 12, 31, 23, 59, 59, 123456789, time.UTC), time.Unix(7, 8).UTC()
	data := tarOf(t,
		tar.Header{Name: "f", Mode: 0o4755, Uid: 3000000, Gid: 70000, ModTime: mtime, AccessTime: atime, Format: tar.FormatPAX, PAXRecords: map[string]string{
			"SCHILY.xattr.user.a": "val\x00ue", "LIBARCHIVE.xattr.user.b": "AQI=", "RHT.security.selinux": "label", "SCHILY.xattr.system.foo": "x",
			"SCHILY.acl.access": "user::rwx\nuser:ada:r--:1000\ngroup::r-x\nmask::r-x\nother::---\n", "SCHILY.xattr.": "no name",
		}},
		tar.Header{Name: "l", Linkname: "x", Typeflag: tar.TypeSymlink, Format: tar.FormatPAX, PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b", "SCHILY.xattr.security.selinux": "s"}},
		tar.Header{Name: "d", Typeflag: tar.TypeDir, Mode: 0o755, Format: tar.FormatPAX, PAXRecords: map[string]string{
			"SCHILY.acl.access": "user::rwx,group::r-x,other::---", "SCHILY.acl.default": "user::rwx,group::r-x,other::---"}},
		tar.Header{Name: "big", Mode: 0o600, Format: tar.FormatPAX, PAXRecords: map[string]string{"SCHILY.xattr.user.big": strings.Repeat("x", 65537)}},
	)
	var warned []string
	x := loadAll(t, Options{Warn: func(path string, err error) { warned = append(warned, path+": "+err.Error()) }}, TarReader(bytes.NewReader(data)))
	id, _ := x.LookupPath("f")
	n := x.Node(id)
	if n.Mode != disk.ModeRegular|0o4750 || n.UID != 3000000 || n.GID != 70000 || !n.Mtime.Time().Equal(mtime) || !n.Atime.Time().Equal(atime) || n.Ctime != n.Mtime {
		t.Errorf("%+v", n)
	}
	got := func(path string) string {
		id, _ := x.LookupPath(path)
		var list []string
		for _, a := range x.Xattrs(id) {
			list = append(list, fmt.Sprintf("%s=%q", a.Name, a.Value))
		}
		return strings.Join(list, " ")
	}
	if s := got("f"); !strings.HasPrefix(s, `security.selinux="label" system.posix_acl_access="`) || !strings.HasSuffix(s, `user.a="val\x00ue" user.b="\x01\x02"`) {
		t.Error(s)
	}
	if s := got("l"); s != `security.selinux="s"` {
		t.Error(s)
	}
	if s := got("d"); !strings.HasPrefix(s, `system.posix_acl_default=`) {
		t.Error(s)
	}
	id, _ = x.LookupPath("d")
	if m := x.Node(id).Mode; m != disk.ModeDir|0o750 {
		t.Errorf("mode %o", m)
	}
	if len(warned) != 3 {
		t.Errorf("%q", warned)
	}
}

// TestFromTar_lostACL: without its ACL, which has a name that nobody knows, a
// file gives its group what the ACL gave it, not the mask that its mode has.
func TestFromTar_lostACL(t *testing.T) {
	acl := map[string]string{"SCHILY.acl.access": "user::rwx\nuser:nobody-here:rwx\ngroup::r--\nmask::rwx\nother::---\n"}
	data := tarOf(t, tar.Header{Name: "f", Mode: 0o2770, Format: tar.FormatPAX, PAXRecords: acl})
	warned := 0
	x := loadAll(t, Options{Warn: func(string, error) { warned++ }}, TarReader(bytes.NewReader(data)))
	id, _ := x.LookupPath("f")
	if m := x.Node(id).Mode; m != disk.ModeRegular|0o2740 || len(x.Xattrs(id)) != 0 || warned != 1 {
		t.Errorf("mode %o, attributes %v, %d warnings", m, x.Xattrs(id), warned)
	}
}

// TestFromTar_noXattrs: of a file that is left without its ACL the group keeps
// what the ACL gave it, which the mask, in the mode, bounds.
func TestFromTar_noXattrs(t *testing.T) {
	value := func(group, mask uint16) string {
		return string(disk.EncodeCallACL([]disk.ACLEntry{
			{Tag: disk.ACLUserObj, Perm: 6}, {Tag: disk.ACLUser, Perm: 7, ID: 1000}, {Tag: disk.ACLGroupObj, Perm: group},
			{Tag: disk.ACLMask, Perm: mask}, {Tag: disk.ACLOther, Perm: 1},
		}))
	}
	for _, tt := range []struct {
		key, value string
		mode, want uint16
	}{
		{"SCHILY.acl.access", "user::rwx\nuser:1000:rwx\ngroup::r--\nmask::rwx\nother::--x\n", 0o2771, 0o2741},
		{"SCHILY.acl.access", "user::rwx\nuser:nobody-here:rwx\ngroup::r--\nmask::rwx\nother::---\n", 0o2770, 0o2740},
		{"SCHILY.acl.access", "user::rwx\ngroup::r-x\nother::---\n", 0o750, 0o750},
		{"SCHILY.xattr.system.posix_acl_access", value(0, 7), 0o671, 0o601},
		{"SCHILY.xattr.system.posix_acl_access", value(6, 5), 0o651, 0o641},
		{"SCHILY.xattr.user.note", "n", 0o664, 0o664},
	} {
		h := tar.Header{Name: "f", Mode: int64(tt.mode), Format: tar.FormatPAX, PAXRecords: map[string]string{tt.key: tt.value}}
		x := loadAll(t, Options{NoXattrs: true}, TarReader(bytes.NewReader(tarOf(t, h))))
		id, _ := x.LookupPath("f")
		if m := x.Node(id).Mode; m != disk.ModeRegular|tt.want || len(x.Xattrs(id)) != 0 {
			t.Errorf("%s %q: mode %o, not %o; attributes %v", tt.key, tt.value, m, tt.want, x.Xattrs(id))
		}
	}
}

// TestFromTar_filter: a file that is left out is there for its other names.
func TestFromTar_filter(t *testing.T) {
	data := tarOf(t, tdir("a"), tar.Header{Name: "a/x"}, tdir("b"), thard("b/y", "a/x"), thard("b/z", "a/x"), tdir("c"), tar.Header{Name: "c/w"}, thard("c/v", "c/w"))
	x := loadAll(t, Options{Exclude: []string{"/a"}}, TarReader(bytes.NewReader(data)))
	if got, want := names(t, x), "b/|b/y = a/x|b/z = a/x|c/|c/v = c/w|c/w = c/w"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if id, _ := x.LookupPath("b/y"); x.Node(id).Links != 2 {
		t.Errorf("%d links", x.Node(id).Links)
	}
	x = loadAll(t, Options{Include: []string{"c/w"}}, TarReader(bytes.NewReader(data)))
	if got, want := names(t, x), "c/|c/w = c/w"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestFromTar_sparse reads across pieces and holes.
func TestFromTar_sparse(t *testing.T) {
	x := loadAll(t, Options{}, TarReader(bytes.NewReader(sparseTar(20, []pax.Span{{Off: 2, Len: 3}, {Off: 8, Len: 1}, {Off: 15, Len: 2}}, []byte("abcdef")))))
	id, _ := x.LookupPath("sparse")
	want := []byte("\x00\x00abc\x00\x00\x00d\x00\x00\x00\x00\x00\x00ef\x00\x00\x00")
	f, err := x.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	for off := range 21 {
		for n := range 22 {
			if n == 0 {
				continue
			}
			p := bytes.Repeat([]byte("?"), n)
			k, err := f.ReadAt(p, int64(off))
			end := min(off+n, 20)
			if !bytes.Equal(p[:k], want[off:end]) || (k < n) != (err == io.EOF) {
				t.Fatalf("%d at %d: %q, %v", n, off, p[:k], err)
			}
		}
	}
}

// FuzzFromTar: no panic, no hang, and the tree can be walked and read.
func FuzzFromTar(f *testing.F) {
	f.Add(tarOf(f, tar.Header{Name: "a"}, tdir("d"), tlink("d/l", "../.."), tar.Header{Name: "d/l/x"}, thard("h", "a")), true)
	f.Add(sparseTar(20, []pax.Span{{Off: 2, Len: 3}}, []byte("abc")), false)
	f.Add(tarOf(f, tar.Header{Name: "d/a"}, tar.Header{Name: "d/.wh.a"}, tar.Header{Name: "d/.wh..wh..opq"}), true)
	f.Fuzz(func(t *testing.T, data []byte, layers bool) {
		x := New()
		defer x.Close()
		x.max = 10000
		u, err := newUnpack(x, Root, &Options{})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if layers {
				u.beginLayer()
			}
			a := &archive{r: bytes.NewReader(data), size: int64(len(data))}
			u.archive(context.Background(), a)
		}
		seen := map[ID]uint32{}
		var walk func(id ID)
		walk = func(id ID) {
			for _, e := range x.Entries(id) {
				if seen[e.ID]++; x.Node(e.ID).IsDir() {
					walk(e.ID)
				}
			}
		}
		walk(Root)
		for id, names := range seen {
			n := x.Node(id)
			if n.Links != names {
				t.Fatalf("%s: %d names, Links %d", x.Path(id), names, n.Links)
			}
			if n.IsRegular() && n.Size < 1<<20 {
				content(t, x, id)
			}
			if _, err := x.Spans(id); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestJoined(t *testing.T) {
	for _, name := range []string{"", ".", "./", "/", "a", "./a", "a/", "./a/b/", "a//b", "a/./b", "/a", "//a", ".//a", "a/.", "././a", "...", ".a/b"} {
		names, _ := pax.SplitName(name)
		if got, want := joined(name, names), strings.Join(names, "/"); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
