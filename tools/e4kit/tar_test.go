package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// TestTar_GNU unpacks a stream with GNU tar and compares the tree with what
// the kernel said of the image.
func TestTar_GNU(t *testing.T) {
	testimages.RequireRoot(t)
	testimages.RequireTool(t, "tar")
	inDemo(t)
	dir := testimages.Scratch(t)
	file := filepath.Join(t.TempDir(), "demo.tar")
	if r := e4kit("tar", "-o", file, "demo.img"); r.code != 0 || r.stderr != "" {
		t.Fatal(r)
	}
	testimages.Run(t, "tar", "-x", "-p", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-f", file, "-C", dir)
	compareDemo(t, dir)
}

// TestTar_Go reads a stream with Go's reader.
func TestTar_Go(t *testing.T) {
	inDemo(t)
	r := e4kit("tar", "demo.img:/usr", "demo.img:/var/lib/disk.img", "demo.img:/srv")
	if r.code != 0 || r.stderr != "" {
		t.Fatal(r.stderr)
	}
	if again := e4kit("tar", "demo.img:/usr", "demo.img:/var/lib/disk.img", "demo.img:/srv"); again.stdout != r.stdout {
		t.Error("the second stream differs")
	}
	if len(r.stdout)%10240 != 0 {
		t.Errorf("length %d", len(r.stdout))
	}
	seen := map[string]*tar.Header{}
	in := tar.NewReader(strings.NewReader(r.stdout))
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		seen[h.Name] = h
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse {
			continue
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatalf("%s: %v", h.Name, err)
		}
		path := h.Name
		if path == "disk.img" {
			path = "var/lib/disk.img"
		}
		if want := e4kit("cat", "demo.img:/"+path).stdout; string(data) != want {
			t.Errorf("%s: %d bytes differ from %d", h.Name, len(data), len(want))
		}
	}
	if h := seen["usr/bin/zcat"]; h == nil || h.Typeflag != tar.TypeLink || h.Linkname != "usr/bin/gunzip" {
		t.Errorf("usr/bin/zcat: %+v", h)
	}
	if h := seen["usr/bin/ping"]; h == nil || h.PAXRecords["SCHILY.xattr.security.capability"] == "" || h.ModTime.Nanosecond() == 0 {
		t.Errorf("usr/bin/ping: %+v", h)
	}
	if h := seen["srv/shared/"]; h == nil || !strings.HasPrefix(h.PAXRecords["SCHILY.acl.default"], "user::rwx,user:1000:rwx,") {
		t.Errorf("srv/shared/: %+v", h)
	}
	if h := seen["disk.img"]; h == nil || h.PAXRecords["GNU.sparse.major"] != "1" {
		t.Errorf("disk.img is not sparse: %+v", h)
	}
}

func TestTar_output(t *testing.T) {
	inDemo(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "out.tar")
	r := e4kit("tar", "--json", "--output", file, "--prefix", "top/", "demo.img:/etc/.")
	if r.code != 0 || r.stdout != `{"members":4,"bytes":620}`+"\n" {
		t.Error(r)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in := tar.NewReader(bytes.NewReader(data))
	var got []string
	for h, err := in.Next(); err == nil; h, err = in.Next() {
		got = append(got, h.Name)
	}
	if want := "top/ top/fstab top/passwd top/shadow"; strings.Join(got, " ") != want {
		t.Errorf("members %q, want %q", got, want)
	}
	// A failure leaves no file.
	if r := e4kit("tar", "-o", filepath.Join(dir, "no", "x.tar"), "demo.img:/etc"); r.code != exitFailed {
		t.Error(r)
	}
	if got := tree(t, dir); len(got) != 1 {
		t.Errorf("there is %q", got)
	}
	if r := (world{outTTY: true}).run("tar", "demo.img:/etc"); r.code != exitUsage {
		t.Error(r)
	}
}
