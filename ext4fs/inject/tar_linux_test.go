package inject_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/inject"
	"github.com/e4kit/e4kit/ext4fs/pax"
	"github.com/e4kit/e4kit/testimages"
)

// TestUntar_GNU unpacks what GNU tar makes of a tree in its formats, compressed
// and not, and compares what the kernel shows.
func TestUntar_GNU(t *testing.T) {
	testimages.RequireTool(t, "tar", "gzip", "zstd", "xz", "bzip2")
	src, all := source(t)
	some := func(dir string) testimages.Manifest { return kernelTree(t, src, "tree/"+dir) }
	testimages.WithMount(t, src, "ro", func(dir string) {
		for _, tt := range []struct {
			name string
			args []string
			dir  string
		}{
			{"pax", []string{"--format=pax", "-S", "--xattrs", "--xattrs-include=*", "--acls"}, ""},
			{"pax-0.1", []string{"--format=pax", "--sparse-version=0.1", "-S", "--zstd"}, "holes"},
			{"pax-0.0", []string{"--format=pax", "--sparse-version=0.0", "-S", "-z"}, "holes"},
			{"gnu", []string{"--format=gnu", "-S", "-J"}, "holes"},
			{"gnu-links", []string{"--format=gnu", "-j"}, "links"},
			{"oldgnu", []string{"--format=oldgnu", "-S"}, "holes"},
			{"ustar", []string{"--format=ustar"}, "special"},
			{"v7", []string{"--format=v7"}, "many"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				if _, err := os.Stat(filepath.Join(dir, "tree", tt.dir)); err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(testimages.Scratch(t), "x.tar")
				args := append([]string{"-c", "--numeric-owner", "-f", file, "-C", filepath.Join(dir, "tree", tt.dir)}, tt.args...)
				testimages.Run(t, "tar", append(args, ".")...)
				want := all
				if tt.dir != "" {
					want = some(tt.dir)
				}
				got := untarred(t, file)
				if tt.dir == "special" { // GNU tar has neither sockets nor links of devices
					want, got = want.Without("/socket").Drop("NLINK"), got.Drop("NLINK")
				}
				if tt.name != "pax" && tt.name != "pax-0.1" && tt.name != "pax-0.0" {
					want, got = want.Drop("MTIME"), got.Drop("MTIME") // whole seconds
				}
				if diff := testimages.Diff(want.Drop("XATTRS"), got.Drop("XATTRS")); tt.dir != "" && diff != "" {
					t.Error(diff)
				}
				if diff := testimages.Diff(comparable(want), comparable(got)); tt.dir == "" && diff != "" {
					t.Error(diff)
				}
			})
		}
	})
}

// comparable leaves out what GNU tar does not carry: links between devices, and
// the numbers of ACLs, which it writes as names of the host.
func comparable(m testimages.Manifest) testimages.Manifest {
	return slices.DeleteFunc(withoutSockets(m), func(line string) bool {
		return strings.HasPrefix(line, "/acl/") || strings.HasPrefix(line, "/special/null")
	})
}

// withoutSockets: tar has no such type.
func withoutSockets(m testimages.Manifest) testimages.Manifest {
	var out testimages.Manifest
	for _, line := range m {
		if !bytes.Contains([]byte(line), []byte(" s 0")) {
			out = append(out, line)
		}
	}
	return out
}

func untarred(t *testing.T, file string) testimages.Manifest {
	t.Helper()
	img := filepath.Join(testimages.Scratch(t), "target.img")
	testimages.Mkfs(t, img, 256<<20)
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	edit(t, img, func(fsys *ext4fs.FS) {
		o := everything(t)
		o.Warn = func(path string, err error) { t.Logf("%s: %v", path, err) }
		r, err := inject.Untar(context.Background(), in, mkdir(t, fsys, "copy"), inject.TarOptions{Options: o})
		if err != nil || r.Failed != 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
	return kernelTree(t, img, "copy")
}

// TestUntar_own: what package pax writes comes back as it was.
func TestUntar_own(t *testing.T) {
	src, want := source(t)
	fsys, err := ext4fs.OpenFile(src, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	i, err := fsys.Lookup("/tree")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(testimages.Scratch(t), "own.tar")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := pax.NewWriter(fsys, out, pax.Options{})
	if err := w.Add(context.Background(), i, ".", "/tree"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := testimages.Diff(withoutSockets(want), withoutSockets(untarred(t, file))); diff != "" {
		t.Error(diff)
	}
}
