package xattr_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
	"github.com/e4kit/e4kit/ext4fs/xattr"
	"github.com/e4kit/e4kit/testimages"
)

// TestLay_oracle gives files attributes: the checker finds nothing, debugfs
// and the kernel list them, and the kernel changes them.
func TestLay_oracle(t *testing.T) {
	testimages.RequireTool(t, "mke2fs", "debugfs", "e2fsck")
	testimages.RequireLoop(t)
	for _, args := range [][]string{{"-b", "4096"}, {"-b", "1024", "-I", "128"}, {"-b", "1024", "-O", "^metadata_csum", "-I", "512"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) { layOracle(t, args) })
	}
}

func layLists() [][]xattr.Entry {
	entry := func(index disk.XattrIndex, name string, n int) xattr.Entry {
		return xattr.Entry{Index: index, Name: []byte(name), Value: testimages.Content(uint64(n), n)}
	}
	acl, _, _, err := xattr.NewEntry("system.posix_acl_access", disk.EncodeCallACL([]disk.ACLEntry{
		{Tag: disk.ACLUserObj, Perm: 6, ID: disk.ACLNoID}, {Tag: disk.ACLUser, Perm: 4, ID: 500}, {Tag: disk.ACLGroupObj, Perm: 4, ID: disk.ACLNoID},
		{Tag: disk.ACLMask, Perm: 4, ID: disk.ACLNoID}, {Tag: disk.ACLOther, Perm: 4, ID: disk.ACLNoID}}), 0o100644)
	if err != nil {
		panic(err)
	}
	small := []xattr.Entry{entry(disk.XattrUser, "name", 20)}
	large := []xattr.Entry{entry(disk.XattrUser, "large", 500), acl, entry(disk.XattrTrusted, "t\xc3\xa4\xff", 33), entry(disk.XattrSecurity, "label", 0), entry(disk.XattrUser, "a", 7)}
	return [][]xattr.Entry{small, large, {acl}, large, {large[4], large[2], large[0]}}
}

func layOracle(t *testing.T, args []string) {
	top := testimages.Scratch(t)
	img, src := filepath.Join(top, "lay.img"), filepath.Join(top, "src")
	if err := os.Mkdir(src, 0o755); err != nil {
		t.Fatal(err)
	}
	lists := layLists()
	for i := range lists {
		if err := os.WriteFile(fmt.Sprintf("%s/f%d", src, i), testimages.Content(uint64(i), 700), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	testimages.Mkfs(t, img, 8<<20, append([]string{"-t", "ext4", "-d", src}, args...)...)
	for i, list := range lists {
		layFile(t, img, fmt.Sprintf("f%d", i), list)
	}
	testimages.Fsck(t, img)
	for i, list := range lists {
		out := testimages.Debugfs(t, img, fmt.Sprintf("ea_list f%d", i))
		for _, e := range list {
			if want := fmt.Sprintf("(%d)", len(e.Value)); e.Index == disk.XattrUser && !strings.Contains(out, "user."+string(e.Name)+" "+want) {
				t.Errorf("f%d: no %s %s in %s", i, e.Name, want, out)
			}
		}
	}
	testimages.WithMount(t, img, "", func(dir string) {
		for i, list := range lists {
			layCompare(t, fmt.Sprintf("%s/f%d", dir, i), list)
		}
	})
	testimages.Fsck(t, img)
}

// layFile makes a file's only block that of its attributes, if they need one,
// and cuts its data.
func layFile(t *testing.T, img, name string, list []xattr.Entry) {
	t.Helper()
	f, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, err := f.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	record := slices.Clone(in.Raw())
	s := f.Super()
	block, err := xattr.Lay(xattr.Rules{BlockSize: f.BlockSize(), Seed: s.Seed()}, record, list, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(img, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if block != nil {
		m, err := in.Map()
		if err != nil {
			t.Fatal(err)
		}
		e, err := m.Find(0)
		if err != nil {
			t.Fatal(err)
		}
		xattr.SealBlock(block, e.Physical, 1, s.Seed(), s.HasMetadataCsum())
		if _, err := out.WriteAt(block, int64(e.Physical)*int64(f.BlockSize())); err != nil {
			t.Fatal(err)
		}
		copy(record.Block(), extent.EmptyRoot())
		record.SetSize(0)
		record.SetFileACL(e.Physical, true)
	}
	if s.HasMetadataCsum() {
		record.Seal(s.Seed(), in.Number())
	}
	bn, at, err := f.InodeLocation(in.Number())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.WriteAt(record, int64(bn)*int64(f.BlockSize())+int64(at)); err != nil {
		t.Fatal(err)
	}
}

// layCompare asks the kernel for the attributes, and changes one.
func layCompare(t *testing.T, path string, list []xattr.Entry) {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Listxattr(path, buf)
	if err != nil || bytes.Count(buf[:n], []byte{0}) != len(list) {
		t.Errorf("%s: %q, %v", path, buf[:max(n, 0)], err)
	}
	for _, e := range list {
		name := disk.XattrName(e.Index, e.Name)
		n, err := unix.Getxattr(path, name, buf)
		if err != nil || e.Index != disk.XattrACLAccess && !bytes.Equal(buf[:n], e.Value) {
			t.Errorf("%s: %s: %d bytes of %d, %v", path, name, n, len(e.Value), err)
		}
	}
	if err := unix.Setxattr(path, "user.a", []byte("changed"), 0); err != nil {
		t.Error(err)
	}
}
