package pax_test

import (
	"archive/tar"
	"bytes"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/format"
	"github.com/e4kit/e4kit/ext4fs/pax"
	"github.com/e4kit/e4kit/ext4fs/tree"
)

// TestWriter_withoutACL: a member whose ACL is left out gives its group what the
// ACL gives the owning group, not the mask.
func TestWriter_withoutACL(t *testing.T) {
	acl := disk.EncodeCallACL([]disk.ACLEntry{
		{Tag: disk.ACLUserObj, Perm: 7}, {Tag: disk.ACLUser, Perm: 7, ID: 5}, {Tag: disk.ACLGroupObj, Perm: 5},
		{Tag: disk.ACLMask, Perm: 6}, {Tag: disk.ACLOther, Perm: 0},
	})
	tr := tree.New()
	for name, mode := range map[string]uint16{"file": disk.ModeRegular | 0o4760, "dir": disk.ModeDir | 0o760, "plain": disk.ModeRegular | 0o664} {
		id, err := tr.Add(tree.Root, name, tree.Node{Mode: mode})
		if err != nil {
			t.Fatal(err)
		}
		if name != "plain" {
			tr.SetXattrs(id, []tree.Xattr{{Name: "system.posix_acl_access", Value: acl}})
		}
	}
	ram := device.NewRAM(8 << 20)
	j, err := format.Plan(t.Context(), format.Options{Size: 8 << 20, Zeroed: true}, tr)
	if err == nil {
		_, err = j.Write(t.Context(), ram)
	}
	if err != nil {
		t.Fatal(err)
	}
	fsys, err := ext4fs.Open(ram, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	root, err := fsys.Root()
	if err != nil {
		t.Fatal(err)
	}
	for no, want := range map[bool]map[string]int64{
		false: {"./file": 0o4760, "./dir/": 0o760, "./plain": 0o664},
		true:  {"./file": 0o4740, "./dir/": 0o740, "./plain": 0o664},
	} {
		var stream bytes.Buffer
		w := pax.NewWriter(fsys, &stream, pax.Options{NoXattrs: no, Error: func(path string, err error) { t.Errorf("%s: %v", path, err) }})
		if err := w.Add(t.Context(), root, ".", "/"); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		found := 0
		for r := tar.NewReader(&stream); ; found++ {
			h, err := r.Next()
			if err != nil {
				break
			}
			if m, ok := want[h.Name]; ok && h.Mode != m {
				t.Errorf("without attributes %v: %s has %o, want %o", no, h.Name, h.Mode, m)
			}
		}
		if found != len(want)+2 { // the root and lost+found
			t.Errorf("%d members", found)
		}
	}
}
