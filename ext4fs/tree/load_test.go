package tree

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// TestLoad_orderOfRules has all rules at once: the table sees what the sources
// made, labels and times are about what the table made.
func TestLoad_orderOfRules(t *testing.T) {
	clamp := UnixTime(1000, 0)
	fsys := fstest.MapFS{"etc/x": {Mode: 0o666, ModTime: time.Unix(2000, 7)}, "etc/old": {Mode: 0o600, ModTime: time.Unix(500, 7)}}
	table := must(ParseDevtable("t", strings.NewReader("/etc/x f 600 5 6\n/dev/null c 666 0 0 1 3\n")))
	labels := must(ParseFileContexts("l", strings.NewReader("/.* a:b:c\n/dev/null -c a:b:null\n")))
	tr := load(t, Options{
		SetOwner: &Owner{UID: 1, GID: 2}, Chmod: func(mode uint16) uint16 { return mode &^ 0o022 },
		Devtables: []*Devtable{table}, SELinux: labels, ClampTime: &clamp, Time: UnixTime(3000, 0), MtimeOnly: true,
	}, FS(fsys))
	want := []string{"/ 040555 1:2", "/dev 040755 0:0", "/dev/null 020666 0:0 1,3", "/etc 040555 1:2", "/etc/old 100600 1:2", "/etc/x 100600 5:6"}
	if got := lines(tr); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for id := range ID(tr.Len()) {
		n, label := tr.Node(id), "a:b:c\x00"
		if tr.Path(id) == "/dev/null" {
			label = "a:b:null\x00"
		}
		if x := tr.Xattrs(id); len(x) != 1 || string(x[0].Value) != label {
			t.Errorf("%s: %v", tr.Path(id), x)
		}
		mtime := clamp
		if tr.Path(id) == "/etc/old" {
			mtime = UnixTime(500, 7)
		}
		if n.Mtime != mtime || n.Atime != mtime || n.Ctime != mtime {
			t.Errorf("%s: %v %v %v", tr.Path(id), n.Atime, n.Mtime, n.Ctime)
		}
	}
}

func TestLoad_progress(t *testing.T) {
	fsys := fstest.MapFS{}
	for i := range 600 {
		fsys[fmt.Sprintf("f%03d", i)] = &fstest.MapFile{Data: []byte("12345")}
	}
	var told []ProgressInfo
	load(t, Options{Progress: func(p ProgressInfo) { told = append(told, p) }}, FS(fsys))
	if len(told) < 3 || told[0].Path != "/f255" || told[len(told)-1].Files != 600 || told[len(told)-1].Bytes != 3000 {
		t.Errorf("%+v", told)
	}
}

func TestLoad_failureClosesSources(t *testing.T) {
	var closed bool
	bad := errors.New("bad")
	_, err := Load(context.Background(), Options{}, func(_ context.Context, t *Tree, _ ID, _ *Options) error {
		t.closeWith(closer(func() error { closed = true; return nil }))
		return nil
	}, func(context.Context, *Tree, ID, *Options) error { return bad })
	if !errors.Is(err, bad) || !closed {
		t.Errorf("%v, closed %v", err, closed)
	}
}

type closer func() error

func (c closer) Close() error { return c() }

// TestLayer_replaces puts files over each other.
func TestLayer_replaces(t *testing.T) {
	l := must(newLayer(New(), Root, &Options{}))
	dir := must(l.put(Root, "d", &found{Node: directory(), xattrs: []Xattr{{"user.a", []byte("1")}}}))
	must(l.put(dir, "f", &found{Node: regular(1)}))
	again := must(l.put(Root, "d", &found{Node: Node{Mode: disk.ModeDir | 0o700, UID: 9}}))
	if again != dir || l.t.Count(dir) != 1 || l.t.Node(dir).UID != 9 || l.t.Xattrs(dir) != nil {
		t.Errorf("joined: %+v", l.t.Node(again))
	}
	link := must(l.put(Root, "d", &found{Node: Node{Mode: disk.ModeSymlink | 0o777}, target: "x"}))
	if l.t.Node(dir).Links != 0 || l.t.Target(link) != "x" {
		t.Error("not replaced")
	}
	if _, err := l.put(Root, "l", &found{Node: Node{Mode: disk.ModeSymlink | 0o777}}); !errors.Is(err, ErrTarget) {
		t.Errorf("no target: %v", err)
	}
}

func TestWantedXattr(t *testing.T) {
	for name, want := range map[string]bool{
		"user.x": true, "trusted.overlay.opaque": true, "security.selinux": true, "system.posix_acl_access": true, "system.posix_acl_default": true,
		"system.nfs4_acl": false, "btrfs.compression": false, "userx": false, "system.data": false,
	} {
		if wantedXattr(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}
