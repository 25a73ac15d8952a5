package pax

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
)

// TestHeader reads headers back with Go's reader.
func TestHeader(t *testing.T) {
	long := strings.Repeat("dir/", 80) + "name"
	for _, tt := range []struct {
		name string
		h    header
	}{
		{"plain", header{name: "a/b", mode: 0o644, mtime: time.Unix(1700000000, 0), kind: TypeSymlink, link: "c"}},
		{"100 bytes", header{name: strings.Repeat("n", 100), mtime: time.Unix(0, 0), kind: TypeSymlink, link: strings.Repeat("l", 100)}},
		{"long", header{name: long, mtime: time.Unix(1, 2), kind: TypeSymlink, link: long}},
		{"UTF-8", header{name: "Überblick", mtime: time.Unix(5, 0), kind: TypeSymlink, link: "żółw"}},
		{"newline", header{name: "a\nb", mtime: time.Unix(5, 0), kind: TypeSymlink, link: "c\nd"}},
		{"large owner", header{name: "a", uid: 1<<32 - 1, gid: 1 << 21, mtime: time.Unix(5, 0), kind: TypeSymlink, link: "c"}},
		{"before 1970", header{name: "a", mtime: time.Unix(-5, 250000000), kind: TypeSymlink, link: "c"}},
		{"just before 1970", header{name: "a", mtime: time.Unix(-1, 999999999), kind: TypeSymlink, link: "c"}},
		{"2446", header{name: "a", mtime: time.Unix(15032385535, 1), kind: TypeSymlink, link: "c"}},
		{"device", header{name: "a", mtime: time.Unix(5, 0), kind: TypeChar, major: 4095, minor: 1048575}},
		{"fifo", header{name: "a", mtime: time.Unix(5, 0), kind: TypeFIFO}},
		{"setuid directory", header{name: "a/", mode: 0o7755, mtime: time.Unix(5, 0), kind: TypeDir}},
		{"hard link", header{name: "a", mtime: time.Unix(5, 0), kind: TypeLink, link: long}},
		{"xattr", header{name: "a", mtime: time.Unix(5, 0), kind: TypeFIFO, records: []record{{"SCHILY.xattr.user.x", strings.Repeat("v", 980)}}}},
	} {
		b := tt.h.bytes()
		if len(b)%blockSize != 0 {
			t.Errorf("%s: %d bytes", tt.name, len(b))
		}
		got, err := tar.NewReader(io.MultiReader(bytes.NewReader(b), bytes.NewReader(make([]byte, 1024)))).Next()
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		h := tt.h
		if got.Name != h.name || got.Linkname != h.link || uint32(got.Mode) != h.mode || got.Uid != int(h.uid) ||
			got.Gid != int(h.gid) || !got.ModTime.Equal(h.mtime) || got.Typeflag != h.kind ||
			uint32(got.Devmajor) != h.major || uint32(got.Devminor) != h.minor {
			t.Errorf("%s: %+v, want %+v", tt.name, got, h)
		}
		for _, r := range h.records {
			if got.PAXRecords[r.key] != r.value {
				t.Errorf("%s: %s is %q", tt.name, r.key, got.PAXRecords[r.key])
			}
		}
	}
}

// TestRecord_length: the length counts its own digits, also where they grow.
func TestRecord_length(t *testing.T) {
	for n := range 2000 {
		s := record{"k", strings.Repeat("v", n)}.String()
		length, _, _ := strings.Cut(s, " ")
		if length != decimal(int64(len(s))) {
			t.Fatalf("value of %d bytes: length %s of %d", n, length, len(s))
		}
	}
}

func TestPaxTime(t *testing.T) {
	for _, tt := range []struct {
		sec, ns int64
		want    string
	}{
		{0, 0, "0"}, {1, 5, "1.000000005"}, {1, 500000000, "1.5"}, {-1, 0, "-1"}, {-1, 500000000, "-0.5"},
		{-2, 250000000, "-1.75"}, {-5, 1, "-4.999999999"},
	} {
		if got := paxTime(time.Unix(tt.sec, tt.ns)); got != tt.want {
			t.Errorf("%d.%09d: %s, want %s", tt.sec, tt.ns, got, tt.want)
		}
	}
}

func openTree(t *testing.T, dev func(device.Device) device.Device, fill func(dir string)) *ext4fs.FS {
	t.Helper()
	dir := t.TempDir()
	fill(dir)
	img := filepath.Join(t.TempDir(), "img")
	testimages.Mkfs(t, img, 8<<20, "-d", dir, "-b", "1024")
	b, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	fsys, err := ext4fs.Open(dev(device.NewMemory(b)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

func same(d device.Device) device.Device { return d }

// TestWriter_sparse: holes at each place, read back.
func TestWriter_sparse(t *testing.T) {
	const size = 1 << 20
	layouts := map[string][][2]int64{
		"none": {}, "start": {{0, 5000}}, "end": {{size - 3000, 3000}}, "middle": {{300000, 7}},
		"many": {{0, 1}, {100000, 4096}, {200000, 1}, {size - 1, 1}}, "all": {{0, size}},
	}
	fsys := openTree(t, same, func(dir string) {
		for name, pieces := range layouts {
			f, err := os.Create(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range pieces {
				f.WriteAt(bytes.Repeat([]byte("x"), int(p[1])), p[0])
			}
			f.Truncate(size)
			f.Close()
		}
	})
	for _, noSparse := range []bool{false, true} {
		var out bytes.Buffer
		w := NewWriter(fsys, &out, Options{NoSparse: noSparse})
		root, err := fsys.Root()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Add(context.Background(), root, ".", "/"), w.Close()); err != nil {
			t.Fatal(err)
		}
		if noSparse == (out.Len() < 5*size) {
			t.Errorf("NoSparse %v: %d bytes", noSparse, out.Len())
		}
		in := tar.NewReader(&out)
		for {
			h, err := in.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			pieces, ok := layouts[strings.TrimPrefix(h.Name, "./")]
			if !ok {
				continue
			}
			want := make([]byte, size)
			for _, p := range pieces {
				copy(want[p[0]:], bytes.Repeat([]byte("x"), int(p[1])))
			}
			got, err := io.ReadAll(in)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("NoSparse %v: %s: %d bytes, %v", noSparse, h.Name, len(got), err)
			}
		}
	}
}

// brokenDevice fails to read once it is armed.
type brokenDevice struct {
	device.Device
	armed *bool
}

func (d brokenDevice) ReadAt(p []byte, off int64) (int, error) {
	if *d.armed && off > 1<<20 {
		return 0, errors.New("bad sector")
	}
	return d.Device.ReadAt(p, off)
}

// TestWriter_unreadable: a file that cannot be read does not spoil the stream.
func TestWriter_unreadable(t *testing.T) {
	armed := false
	fsys := openTree(t, func(d device.Device) device.Device { return brokenDevice{d, &armed} }, func(dir string) {
		os.WriteFile(filepath.Join(dir, "a"), bytes.Repeat([]byte("a"), 3<<20), 0o644)
		os.WriteFile(filepath.Join(dir, "b"), nil, 0o644)
	})
	root, err := fsys.Root()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	failed := map[string]error{}
	w := NewWriter(fsys, &out, Options{Error: func(path string, err error) { failed[path] = err }})
	// The directory is read before the device breaks.
	for range root.Entries() {
	}
	armed = true
	if err := errors.Join(w.Add(context.Background(), root, "top", "/"), w.Close()); err != nil {
		t.Fatal(err)
	}
	if failed["/a"] == nil {
		t.Errorf("failures %v", failed)
	}
	in := tar.NewReader(&out)
	var names []string
	for h, err := in.Next(); err != io.EOF; h, err = in.Next() {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if _, err := io.Copy(io.Discard, in); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := strings.Join(names, " "), "top/ top/a top/b top/lost+found/"; got != want {
		t.Errorf("members %q, want %q", got, want)
	}
}

func TestWriter_cancelled(t *testing.T) {
	fsys := openTree(t, same, func(string) {})
	root, err := fsys.Root()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := NewWriter(fsys, io.Discard, Options{}).Add(ctx, root, ".", "/"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
