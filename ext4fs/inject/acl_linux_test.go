package inject_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/inject"
	"github.com/e4kit/e4kit/testimages"
)

const access = "system.posix_acl_access"

// narrow gives the owning group less than its mask.
var narrow = []disk.ACLEntry{
	{Tag: disk.ACLUserObj, Perm: 7}, {Tag: disk.ACLUser, Perm: 7, ID: 5}, {Tag: disk.ACLGroupObj, Perm: 4},
	{Tag: disk.ACLMask, Perm: 7}, {Tag: disk.ACLOther, Perm: 0},
}

// narrowTree is a folder of the host with a file and a directory with that ACL.
func narrowTree(t *testing.T) string {
	t.Helper()
	top := filepath.Join(testimages.Scratch(t), "top")
	for _, err := range []error{
		os.Mkdir(top, 0o755), os.Mkdir(filepath.Join(top, "dir"), 0o755), os.WriteFile(filepath.Join(top, "file"), []byte("x"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"dir", "file"} {
		err := unix.Setxattr(filepath.Join(top, name), access, disk.EncodeCallACL(narrow), 0)
		if errors.Is(err, unix.EOPNOTSUPP) {
			testimages.Absent(t, "ACLs on the host's file system")
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return top
}

// modes compares the permissions of what was copied.
func modes(t *testing.T, fsys *ext4fs.FS, what, dir string, want uint16, acl bool) {
	t.Helper()
	for _, name := range []string{"dir", "file"} {
		i, err := fsys.Lookup(dir + "/" + name)
		if err != nil {
			t.Error(err)
			continue
		}
		_, err = i.Xattr(access)
		if m := i.Stat().RawMode & 0o7777; m != want || (err == nil) != acl {
			t.Errorf("%s: %s has %o, want %o; ACL: %v", what, name, m, want, err)
		}
	}
}

// TestJob_withoutACL: where ACLs are not copied into an image, the group gets what
// they gave the owning group, not the mask: from the host, from an image and from
// an archive.
func TestJob_withoutACL(t *testing.T) {
	top := narrowTree(t)
	text := map[string]string{"SCHILY.acl.access": "user::rwx,user:5:rwx,group::r--,mask::rwx,other::---"}
	data := archive(t,
		tar.Header{Name: "dir", Typeflag: tar.TypeDir, Mode: 0o770, Format: tar.FormatPAX, PAXRecords: text},
		tar.Header{Name: "file", Mode: 0o770, Format: tar.FormatPAX, PAXRecords: text})
	for n, tt := range []struct {
		mode, acls, xattrs bool
		want               uint16
	}{
		{true, true, true, 0o770}, {true, false, true, 0o740}, {true, false, false, 0o740}, {false, false, false, 0o740},
	} {
		edit(t, small(t), func(fsys *ext4fs.FS) {
			o := everything(t)
			o.Mode, o.ACLs, o.Xattrs = tt.mode, tt.acls, tt.xattrs
			run := func(what, to string, add func(j *inject.Job, to inject.Place)) {
				j := inject.New(fsys, o)
				add(j, mkdir(t, fsys, to))
				if _, err := j.Run(t.Context()); err != nil {
					t.Error(err)
				}
				modes(t, fsys, fmt.Sprintf("%d, %s", n, what), to, tt.want, tt.acls)
			}
			run("host", "host", func(j *inject.Job, to inject.Place) { j.AddHost(top, false, to) })
			// A file by itself is read in another way.
			run("one file", "one", func(j *inject.Job, to inject.Place) {
				j.AddHost(filepath.Join(top, "dir"), false, inject.Place{Dir: to.Dir, Name: "dir"})
				j.AddHost(filepath.Join(top, "file"), false, inject.Place{Dir: to.Dir, Name: "file"})
			})
			full := everything(t)
			j := inject.New(fsys, full)
			from := mkdir(t, fsys, "from")
			j.AddHost(top, false, from)
			if _, err := j.Run(t.Context()); err != nil {
				t.Error(err)
			}
			run("image", "image", func(j *inject.Job, to inject.Place) { j.AddImage(from.Dir, "img:", "/from", to) })
			if _, err := inject.Untar(t.Context(), bytes.NewReader(data), mkdir(t, fsys, "tar"), inject.TarOptions{Options: o}); err != nil {
				t.Error(err)
			}
			modes(t, fsys, fmt.Sprintf("%d, archive", n), "tar", tt.want, tt.acls)
		})
	}
}

// TestUntar_longACL: an ACL that has no room in the image gives its mask to nobody;
// one that has beside something else without room is kept.
func TestUntar_longACL(t *testing.T) {
	var long strings.Builder
	long.WriteString("user::rwx,group::r--,mask::rwx,other::---")
	for id := range 600 {
		fmt.Fprintf(&long, ",user:%d:rwx", id+1)
	}
	img := filepath.Join(testimages.Scratch(t), "img")
	testimages.Mkfs(t, img, 16<<20, "-b", "1024")
	edit(t, img, func(fsys *ext4fs.FS) {
		for _, tt := range []struct {
			records map[string]string
			want    uint16
		}{
			{map[string]string{"SCHILY.acl.access": long.String()}, 0o2740},
			{map[string]string{
				"SCHILY.acl.access":      "user::rwx,user:5:rwx,group::r--,mask::rwx,other::---",
				"SCHILY.xattr.user.long": strings.Repeat("x", 4000),
			}, 0o2770},
		} {
			failed := 0
			o := everything(t)
			o.Error = func(string, error) { failed++ }
			data := archive(t, tar.Header{Name: "f", Mode: 0o2770, Format: tar.FormatPAX, PAXRecords: tt.records})
			if _, err := inject.Untar(context.Background(), bytes.NewReader(data), mkdir(t, fsys, "in"), inject.TarOptions{Options: o}); err != nil {
				t.Fatal(err)
			}
			i, err := fsys.Lookup("in/f")
			if err != nil {
				t.Fatal(err)
			}
			if m := i.Stat().RawMode & 0o7777; m != tt.want || failed != 1 {
				t.Errorf("mode %o, want %o; %d errors", m, tt.want, failed)
			}
		}
	})
}
