package extract

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/format"
	"github.com/e4kit/e4kit/ext4fs/host"
	"github.com/e4kit/e4kit/ext4fs/tree"
)

// withACLs is a file system with a file, a directory and a fifo of 0770, whose ACL
// gives the owning group no more than to read.
func withACLs(t *testing.T) *ext4fs.FS {
	t.Helper()
	acl := disk.EncodeCallACL([]disk.ACLEntry{
		{Tag: disk.ACLUserObj, Perm: 7}, {Tag: disk.ACLUser, Perm: 7, ID: 5}, {Tag: disk.ACLGroupObj, Perm: 4},
		{Tag: disk.ACLMask, Perm: 7}, {Tag: disk.ACLOther, Perm: 0},
	})
	tr := tree.New()
	for name, kind := range map[string]uint16{"file": disk.ModeRegular, "dir": disk.ModeDir, "fifo": disk.ModeFIFO} {
		id, err := tr.Add(tree.Root, name, tree.Node{Mode: kind | 0o770})
		if err != nil {
			t.Fatal(err)
		}
		tr.SetXattrs(id, []tree.Xattr{{Name: aclAccess, Value: acl}})
	}
	return fileSystem(t, tr)
}

// fileSystem has what the tree has.
func fileSystem(t *testing.T, tr *tree.Tree) *ext4fs.FS {
	t.Helper()
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
	t.Cleanup(func() { fsys.Close() })
	return fsys
}

// TestJob_withoutACL: where ACLs are not copied, the group gets what they gave the
// owning group, not the mask.
func TestJob_withoutACL(t *testing.T) {
	fsys := withACLs(t)
	root, err := fsys.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{Mode: true}, {}, {Mode: true, Xattrs: true}} {
		o.Error = func(path string, err error) { t.Errorf("%s: %v", path, err) }
		dir := t.TempDir()
		j := New(fsys, o)
		j.Add(Item{Inode: root, Path: "/", Dir: dir})
		if _, err := j.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := fs.FileMode(0o740)
		if !o.Mode {
			want &^= fs.FileMode(currentUmask())
		}
		for _, name := range []string{"file", "dir", "fifo"} {
			info, err := os.Lstat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if m := info.Mode().Perm(); m != want {
				t.Errorf("%+v: %s has %o, want %o", o, name, m, want)
			}
		}
	}
}

// poorHost is a file of a host that has no ACLs, or refuses them.
type poorHost struct {
	refusal error
	mode    uint16
}

func (*poorHost) chown(uint32, uint32) error             { return nil }
func (*poorHost) setTimes(time.Time, time.Time) error    { return nil }
func (*poorHost) removeXattr(string) error               { return nil }
func (h *poorHost) chmod(mode uint16) error              { h.mode = mode; return nil }
func (h *poorHost) setXattr(name string, _ []byte) error { return h.refusal }

// TestWorker_lostACL: the same where the host does not take the ACL.
func TestWorker_lostACL(t *testing.T) {
	fsys := withACLs(t)
	for _, refusal := range []error{nil, syscall.EOPNOTSUPP, syscall.EPERM, errNoSupport} {
		w := newWorker(t.Context(), New(fsys, Options{Mode: true, Xattrs: true, ACLs: true}))
		w.job.host.uid = 1000
		for _, name := range []string{"file", "dir", "fifo"} {
			i, err := fsys.Lookup(name)
			if err != nil {
				t.Fatal(err)
			}
			h := &poorHost{refusal: refusal}
			if err := w.attributes(h, i, made{perm: unknownPerm}, w.readXattrs(i)); err != nil {
				t.Error(err)
			}
			want := uint16(0o740)
			if refusal == nil {
				want = 0o770
			}
			if h.mode != want {
				t.Errorf("%s, %v: mode %s, want %s", name, refusal, fmt.Sprintf("%o", h.mode), fmt.Sprintf("%o", want))
			}
		}
	}
}

// TestJob_farTimes: times beyond 2038 and before 1970 get to the host, from machines
// with words of 32 bits too.
func TestJob_farTimes(t *testing.T) {
	tr := tree.New()
	want := map[string]time.Time{}
	for n, kind := range []uint16{disk.ModeRegular, disk.ModeDir, disk.ModeFIFO, disk.ModeRegular} {
		at := time.Unix(7258118400+int64(n), 250000000)
		if n == 3 {
			at = time.Unix(-1000000000, 0)
		}
		name := fmt.Sprint("f", n)
		want[name] = at
		if _, err := tr.Add(tree.Root, name, tree.Node{Mode: kind | 0o700, Mtime: tree.TimeOf(at), Atime: tree.TimeOf(at.Add(time.Hour))}); err != nil {
			t.Fatal(err)
		}
	}
	fsys := fileSystem(t, tr)
	root, err := fsys.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	j := New(fsys, Options{Times: true, Error: func(path string, err error) { t.Errorf("%s: %v", path, err) }})
	j.Add(Item{Inode: root, Path: "/", Dir: dir})
	if _, err := j.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, at := range want {
		path := filepath.Join(dir, name)
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		st, ok := host.StatPath(path, info)
		if !ok || !st.Mtime.Equal(at) || !st.Atime.Equal(at.Add(time.Hour)) {
			t.Errorf("%s: %v and %v, want %v", name, st.Mtime, st.Atime, at)
		}
	}
}
