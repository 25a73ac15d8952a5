package xattr_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/xattr"
	"github.com/e4kit/e4kit/testimages"
)

// What the kernel's system calls say of every file in the matrix images that
// carry attributes is what the bytes say.
func TestXattr_kernel(t *testing.T) {
	for _, name := range []string{"ext4-1k", "ext3-4k", "ext3-256", "inode-128", "inode-1024-1k", "no-csum", "ea-inode", "ea-inode-1k", "inline-data"} {
		t.Run(name, func(t *testing.T) {
			img := testimages.Build(t, testimages.Find(t, name))
			if n := compare(t, img, "ro"); n < 10 {
				t.Errorf("%d attributes compared", n)
			}
		})
	}
}

// Names and values at the edges, written by the kernel.
func TestXattr_edges(t *testing.T) {
	testimages.RequireLoop(t)
	for bs, most := range map[string]int{"1024": 40_000, "4096": 65536} { // a small journal takes no more
		img := filepath.Join(testimages.Scratch(t), "edges.img")
		testimages.Mkfs(t, img, 16<<20, "-b", bs, "-O", "ea_inode")
		testimages.WithMount(t, img, "", func(dir string) { fillEdges(t, dir, most) })
		testimages.Fsck(t, img)
		if n := compare(t, img, "ro"); n < 40 {
			t.Errorf("block size %s: %d attributes compared", bs, n)
		}
	}
}

func fillEdges(t *testing.T, dir string, most int) {
	set := func(path, name string, value []byte) {
		t.Helper()
		if err := unix.Lsetxattr(path, name, value, 0); err != nil {
			t.Fatalf("%s: %s, %d bytes: %v", path, name, len(value), err)
		}
	}
	for i, size := range []int{0, 1, 2, 3, 4, 5, 40, 88, 89, 500, 968, 969, 1000, 4040, 4041, 20_000, most} {
		p := filepath.Join(dir, fmt.Sprintf("size-%d", size))
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		value := bytes.Repeat([]byte{byte(i + 1)}, size)
		set(p, "user.x", value)
		set(p, "trusted.caf\xc3\xa9\xff", value[:min(size, 9)])
		set(p, "security.e4kit", nil)
	}
	p := filepath.Join(dir, "names")
	if err := os.WriteFile(p, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 2, 3, 4, 5, 100, 250} {
		set(p, "user."+strings.Repeat("n", n), []byte{byte(n)})
	}
}

// compare mounts img and compares all files, and says how many attributes.
func compare(t *testing.T, img, opts string) (n int) {
	t.Helper()
	f, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	testimages.WithMount(t, img, opts, func(dir string) {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			var st unix.Stat_t
			if err := unix.Lstat(path, &st); err != nil {
				return err
			}
			in, err := f.Inode(disk.InodeNum(st.Ino))
			if err != nil {
				return err
			}
			n += compareFile(t, path, in)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	return n
}

func compareFile(t *testing.T, path string, in *ext4fs.Inode) int {
	t.Helper()
	attrs, err := in.RawXattrs()
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return 0
	}
	var names []string
	for _, a := range attrs {
		if !a.HashOK() {
			t.Errorf("%s: hash of %s: %+v", path, a.Name, a)
		}
		if a.Hidden() {
			continue
		}
		names = append(names, a.Name)
		value := a.Value
		if a.ValueInode != 0 {
			if value, err = in.XattrValue(&a); err != nil {
				t.Errorf("%s: %s: %v", path, a.Name, err)
				continue
			}
		}
		if a.Index == disk.XattrACLAccess || a.Index == disk.XattrACLDefault {
			value = callForm(t, value)
		}
		if want := get(t, path, a.Name); !bytes.Equal(value, want) {
			t.Errorf("%s: %s is %d bytes %.40x, want %d bytes %.40x", path, a.Name, len(value), value, len(want), want)
		}
	}
	want := list(t, path)
	slices.Sort(want)
	slices.Sort(names)
	if !slices.Equal(names, want) {
		t.Errorf("%s has %q, want %q", path, names, want)
	}
	return len(names)
}

// callForm takes an ACL from its form on disk to that of the system calls, and
// checks that the way back gives the same bytes.
func callForm(t *testing.T, value []byte) []byte {
	t.Helper()
	entries, err := disk.DecodeACL(value)
	if err == nil {
		err = disk.CheckACL(entries)
	}
	if err != nil || !bytes.Equal(disk.EncodeACL(entries), value) {
		t.Errorf("ACL %x: %v, %v", value, entries, err)
	}
	return disk.EncodeCallACL(entries)
}

func get(t *testing.T, path, name string) []byte {
	t.Helper()
	b := make([]byte, 70_000)
	n, err := unix.Lgetxattr(path, name, b)
	if err != nil {
		t.Errorf("%s: %s: %v", path, name, err)
		return nil
	}
	return b[:n]
}

func list(t *testing.T, path string) (names []string) {
	t.Helper()
	b := make([]byte, 70_000)
	n, err := unix.Llistxattr(path, b)
	if err != nil && !errors.Is(err, unix.ENOTSUP) {
		t.Errorf("%s: %v", path, err)
		return nil
	}
	for s := range strings.SplitSeq(string(b[:n]), "\x00") {
		if s != "" {
			names = append(names, s)
		}
	}
	return names
}

// The text of every ACL is what getfacl prints.
func TestACLText_getfacl(t *testing.T) {
	testimages.RequireTool(t, "getfacl", "setfacl")
	img := filepath.Join(testimages.Scratch(t), "acl.img")
	testimages.Mkfs(t, img, 8<<20)
	want := map[string]string{}
	acls := []string{"u:1000:rwx,m::r", "g:5:-wx,u:7:---,u:4000000000:r", "u::---,g::---,o::---,g:9:rwx,m::---", "o::rwx"}
	testimages.WithMount(t, img, "", func(dir string) {
		for i, acl := range acls {
			for _, mode := range []os.FileMode{0o644, 0o4710, 0o2775, 0o7000} {
				name := fmt.Sprintf("f %d %o\\", i, mode)
				p := filepath.Join(dir, name)
				if err := os.Mkdir(p, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := unix.Chmod(p, uint32(mode)); err != nil {
					t.Fatal(err)
				}
				testimages.Run(t, "setfacl", "-m", acl, p)
				testimages.Run(t, "setfacl", "-d", "-m", acl, p)
				out := testimages.Run(t, "getfacl", "--absolute-names", "-n", p)
				out = out[strings.Index(out, "\n"):]
				want[name] = out
			}
		}
	})
	f, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, text := range want {
		in, err := f.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		acl := func(attr string) []disk.ACLEntry {
			v, err := in.Xattr(attr)
			if err != nil {
				return nil
			}
			e, err := disk.DecodeCallACL(v)
			if err != nil {
				t.Error(err)
			}
			return e
		}
		st := in.Stat()
		got := xattr.ACLText(xattr.ACLFile{Path: name, UID: st.UID, GID: st.GID, Mode: st.Mode},
			acl("system.posix_acl_access"), acl("system.posix_acl_default"), xattr.Names{})
		if first := "# file: " + strings.ReplaceAll(name, `\`, `\\`); got != first+text {
			t.Errorf("%s: got\n%swant\n%s", name, got, first+text)
		}
	}
}
