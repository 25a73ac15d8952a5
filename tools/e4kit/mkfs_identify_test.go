package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
)

func TestIdentify(t *testing.T) {
	const size = 1 << 20
	for _, s := range signatures {
		d := device.NewRAM(size)
		if _, err := d.WriteAt([]byte(s.magic), s.off); err != nil {
			t.Fatal(err)
		}
		if got, err := identify(d); err != nil || got != s.name {
			t.Errorf("%q at %d: %q, want %q (%v)", s.magic, s.off, got, s.name, err)
		}
	}
	for _, tt := range []struct {
		size, at int64
		data     string
		want     string
	}{
		{size, 0, "", ""},
		{0, 0, "", ""},
		{1, 0, "x", "unknown data"},
		{100, 99, "x", "unknown data"},
		{size, size - 1, "x", "unknown data"},
		{size, 67 << 10, "x", "unknown data"},
		{size, 512 << 10, "in the middle", ""},
		{70 << 10, 69 << 10, "x", "unknown data"},
		{size, 1024 + 0x38, "\x53\xef", "an ext2 file system, UUID 00000000-0000-0000-0000-000000000000"},
		{size, size - 65536, "\xfc\x4e\x2b\xa9", "a member of a Linux RAID"},
		{size, size - 8192, "\xfc\x4e\x2b\xa9", "a member of a Linux RAID"},
		{size, 4096, "\xfc\x4e\x2b\xa9", "a member of a Linux RAID"},
	} {
		d := device.NewRAM(tt.size)
		if _, err := d.WriteAt([]byte(tt.data), tt.at); err != nil {
			t.Fatal(err)
		}
		if got, err := identify(d); err != nil || got != tt.want {
			t.Errorf("%d bytes, %q at %d: %q, want %q (%v)", tt.size, tt.data, tt.at, got, tt.want, err)
		}
	}
}

// TestIdentify_real asks about what real programs make.
func TestIdentify_real(t *testing.T) {
	testimages.RequireTool(t, "mke2fs")
	dir := t.TempDir()
	img := filepath.Join(dir, "img")
	ask := func() string {
		t.Helper()
		m, err := device.Open(img, device.Options{NoContainers: true, Partition: "@0"})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		what, err := identify(m)
		if err != nil {
			t.Fatal(err)
		}
		return what
	}
	testimages.Mkfs(t, img, 8<<20, "-t", "ext3", "-L", "some label", "-U", "0a1b2c3d-1111-4222-8333-444455556666")
	if got, want := ask(), `an ext3 file system "some label", UUID 0a1b2c3d-1111-4222-8333-444455556666`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	os.Remove(img)
	testimages.Mkfs(t, img, 8<<20, "-O", "journal_dev", "-b", "4096")
	if got := ask(); !strings.HasPrefix(got, "an external journal, UUID ") {
		t.Errorf("%q", got)
	}
	for _, tt := range []struct {
		prog  string
		args  []string
		stdin string
		want  string
	}{
		{"sfdisk", []string{"-q", "-X", "gpt", img}, ",1M\n,1M\n", "a GPT partition table with 2 partitions"},
		{"sfdisk", []string{"-q", "-X", "dos", img}, ",1M\n", "an MBR partition table with 1 partition"},
		{"mkswap", []string{img}, "", "swap space"},
	} {
		prog, err := exec.LookPath(tt.prog)
		if err != nil {
			continue
		}
		if err := os.WriteFile(img, make([]byte, 8<<20), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(prog, tt.args...)
		cmd.Stdin = strings.NewReader(tt.stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", tt.prog, err, out)
		}
		if got := ask(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.prog, got, tt.want)
		}
	}
}

// TestNewFile: a file is not there before it is published, and not afterwards
// if it is dropped; that with a temporary name behaves the same.
func TestNewFile(t *testing.T) {
	for _, named := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "file")
		create := func() *newFile {
			t.Helper()
			n, err := createNew(path)
			if err != nil {
				t.Fatal(err)
			}
			if named && n.temp == "" {
				n.drop()
				f, err := os.CreateTemp(dir, tempPrefix+"*")
				if err != nil {
					t.Fatal(err)
				}
				n = &newFile{f: f, path: path, temp: f.Name()}
			}
			if _, err := n.f.WriteString("content"); err != nil {
				t.Fatal(err)
			}
			return n
		}
		n := create()
		if _, err := os.Stat(path); err == nil {
			t.Error("it is there before it is published")
		}
		n.drop()
		if left := tree(t, dir); len(left) > 0 {
			t.Errorf("dropped, it leaves %q", left)
		}
		n = create()
		if err := n.publish(false); err != nil {
			t.Fatal(err)
		}
		n.drop()
		n = create()
		if err := n.publish(false); err == nil || !strings.Contains(err.Error(), "exists") {
			t.Errorf("published over a file: %v", err)
		}
		n.f.WriteString(" and more")
		if err := n.publish(true); err != nil {
			t.Fatal(err)
		}
		n.drop()
		if data, err := os.ReadFile(path); string(data) != "content and more" {
			t.Errorf("%q, %v", data, err)
		}
		if left := tree(t, dir); len(left) != 1 {
			t.Errorf("left %q", left)
		}
	}
	if _, err := createNew(filepath.Join(t.TempDir(), "no", "such", "folder")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("in a folder that is not there: %v", err)
	}
}
