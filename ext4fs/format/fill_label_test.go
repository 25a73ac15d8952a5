package format

import (
	"strconv"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/tree"
	"github.com/e4kit/e4kit/testimages"
)

// attrsOf reads the mode of a file of an image, and the values of its
// attributes by name.
func attrsOf(t *testing.T, img, path string) (uint16, map[string]string) {
	t.Helper()
	fsys, err := ext4fs.OpenFile(img, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	i, err := fsys.Lookup(path)
	if err != nil {
		t.Fatal(err)
	}
	list, err := i.Xattrs()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]string)
	for _, x := range list {
		values[x.Name] = string(x.Value)
	}
	return i.Raw().Mode(), values
}

// TestWrite_labelsLostFound: the lost+found that no source has gets the label
// that the rules give it, wherever attributes lie; one that a source has keeps
// what else there is.
func TestWrite_labelsLostFound(t *testing.T) {
	t.Parallel()
	testimages.RequireTool(t, "e2fsck")
	policy := "/.* u:r:default\n/lost\\+found -d u:r:lost:s0\n/lost\\+found/.* <<none>>\n"
	for _, o := range []Options{
		{}, {Features: []string{"inline_data"}}, {Features: []string{"^ext_attr"}},
		{Type: "ext2", InodeSize: 128, BlockSize: 1024}, {Features: []string{"bigalloc"}}, {Reproducible: true},
	} {
		for _, own := range []bool{false, true} {
			tr := tree.New()
			addFile(t, tr, "f", 0, nil)
			want := map[string]string{"security.selinux": "u:r:lost:s0\x00"}
			if own {
				id, err := tr.Add(tree.Root, "lost+found", tree.Node{Mode: disk.ModeDir | 0o711})
				if err != nil {
					t.Fatal(err)
				}
				tr.SetXattrs(id, []tree.Xattr{{Name: "user.a", Value: []byte("1")}})
				want["user.a"] = "1"
			}
			c, err := tree.ParseFileContexts("fc", strings.NewReader(policy))
			if err != nil {
				t.Fatal(err)
			}
			if err := tr.Apply(t.Context(), &tree.Options{SELinux: c}); err != nil {
				t.Fatal(err)
			}
			o.Size, o.Zeroed = 8<<20, true
			img, _ := writeImage(t, o, tr)
			testimages.Fsck(t, img)
			_, got := attrsOf(t, img, "/lost+found")
			if len(got) != len(want) || got["security.selinux"] != want["security.selinux"] || got["user.a"] != want["user.a"] {
				t.Errorf("%+v, own %v: %q", o, own, got)
			}
			if _, got := attrsOf(t, img, "/f"); got["security.selinux"] != "u:r:default\x00" {
				t.Errorf("%+v: %q", o, got)
			}
		}
	}
}

// TestWrite_rootPerms: root_perms counts whatever attributes the root has, as
// chmod of an ACL does.
func TestWrite_rootPerms(t *testing.T) {
	t.Parallel()
	acl := []disk.ACLEntry{
		{Tag: disk.ACLUserObj, Perm: 7}, {Tag: disk.ACLUser, Perm: 7, ID: 5}, {Tag: disk.ACLGroupObj, Perm: 5},
		{Tag: disk.ACLMask, Perm: 7}, {Tag: disk.ACLOther, Perm: 5},
	}
	const access = "system.posix_acl_access"
	for _, x := range []tree.Xattr{{Name: "user.a", Value: []byte("1")}, {Name: access, Value: disk.EncodeCallACL(acl)}} {
		tr := tree.New()
		tr.Node(tree.Root).Mode = disk.ModeDir | 0o775
		tr.SetXattrs(tree.Root, []tree.Xattr{x})
		// One with the mode that the root gets, whose ACL stays.
		id, err := tr.Add(tree.Root, "d", tree.Node{Mode: disk.ModeDir | 0o700})
		if err != nil {
			t.Fatal(err)
		}
		tr.SetXattrs(id, []tree.Xattr{x})
		o := Options{Size: 8 << 20, Zeroed: true}
		if err := o.ParseExtended("root_perms=700"); err != nil {
			t.Fatal(err)
		}
		img, _ := writeImage(t, o, tr)
		mode, got := attrsOf(t, img, "/")
		if mode != disk.ModeDir|0o700 || len(got) != 1 {
			t.Errorf("%s: root has %o, %q", x.Name, mode, got)
		}
		if x.Name != access {
			continue
		}
		want := append([]disk.ACLEntry(nil), acl...)
		want[3].Perm, want[4].Perm = 0, 0
		if got[access] != string(disk.EncodeCallACL(want)) {
			t.Errorf("ACL %s, not %s", strconv.Quote(got[access]), strconv.Quote(string(disk.EncodeCallACL(want))))
		}
		if mode, got := attrsOf(t, img, "/d"); mode != disk.ModeDir|0o775 || got[access] != string(x.Value) {
			t.Errorf("d has %o, %q", mode, got)
		}
	}
}
