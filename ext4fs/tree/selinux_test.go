package tree

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

const policy = `
# a comment
/.*					system_u:object_r:default_t:s0
/		-d	system_u:object_r:root_t:s0
/usr/.*					system_u:object_r:usr_t:s0
/usr/bin/passwd	--	system_u:object_r:passwd_exec_t:s0
/usr/(s)?bin/.*		--	system_u:object_r:bin_t:s0
/usr/lib(64)?(/.*)?	system_u:object_r:lib_t:s0
/usr/lib/.+\.so(\.[^/]*)*	--	system_u:object_r:shlib_t:s0
/dev/[^/]*	-c	system_u:object_r:device_t:s0
/dev/sd[a-z][0-9]*	-b	system_u:object_r:fixed_disk_t:s0
/dev/log	-s	system_u:object_r:devlog_t:s0
/run/p	-p	system_u:object_r:fifo_t:s0
/tmp/.*	<<none>>
/tmp/lost\+found	-d	system_u:object_r:lost_found_t:s0
/etc/x\.conf	system_u:object_r:one_t:s0
/etc/x\.conf	system_u:object_r:two_t:s0
/etc/x.conf	system_u:object_r:three_t:s0
/link	-l	system_u:object_r:link_t:s0
`

func TestFileContexts_lookup(t *testing.T) {
	c, err := ParseFileContexts("fc", strings.NewReader(policy))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []struct {
		path string
		mode uint16
		want string
	}{
		{"/", disk.ModeDir, "root_t"},
		{"/", disk.ModeRegular, "default_t"},
		{"/usr", disk.ModeDir, "default_t"},
		{"/usr/x", disk.ModeDir, "usr_t"},
		{"/usr/bin/passwd", disk.ModeRegular, "passwd_exec_t"}, // no special characters: before the later line
		{"/usr/bin/passwd", disk.ModeDir, "usr_t"},
		{"/usr/bin/ls", disk.ModeRegular, "bin_t"},
		{"/usr/sbin/ls", disk.ModeRegular, "bin_t"},
		{"/usr/bin/ls", disk.ModeSymlink, "usr_t"},
		{"/usr/lib", disk.ModeDir, "lib_t"},
		{"/usr/lib64/x", disk.ModeRegular, "lib_t"},
		{"/usr/lib32/x", disk.ModeRegular, "usr_t"},
		{"/usr/lib/a/libc.so", disk.ModeRegular, "shlib_t"},
		{"/usr/lib/a/libc.so.6", disk.ModeRegular, "shlib_t"},
		{"/usr/lib/a/libc.so.6/x", disk.ModeRegular, "lib_t"},
		{"/usr/lib/new\nline.so", disk.ModeRegular, "shlib_t"},
		{"/dev/null", disk.ModeChar, "device_t"},
		{"/dev/a/null", disk.ModeChar, "default_t"},
		{"/dev/sda12", disk.ModeBlock, "fixed_disk_t"},
		{"/dev/log", disk.ModeSocket, "devlog_t"},
		{"/run/p", disk.ModeFIFO, "fifo_t"},
		{"/tmp/x", disk.ModeRegular, ""},
		{"/tmp/lost+found", disk.ModeDir, "lost_found_t"},
		{"/etc/x.conf", disk.ModeRegular, "two_t"},
		{"/etc/xyconf", disk.ModeRegular, "three_t"},
		{"/link", disk.ModeSymlink, "link_t"},
		{"/link", disk.ModeRegular, "default_t"},
	} {
		got, ok := c.Lookup(l.path, l.mode|0o644)
		if want := "system_u:object_r:" + l.want + ":s0"; ok != (l.want != "") || ok && got != want {
			t.Errorf("%q 0%o: %q, want %q", l.path, l.mode, got, l.want)
		}
	}
	if err := c.Parse("local", strings.NewReader("/usr/bin/.* a:b:c\n/etc/x\\.conf a:b:d")); err != nil {
		t.Fatal(err)
	}
	if got, _ := c.Lookup("/usr/bin/ls", disk.ModeDir); got != "a:b:c" {
		t.Errorf("later file: %q", got)
	}
	if got, _ := c.Lookup("/etc/x.conf", disk.ModeDir); got != "a:b:d" {
		t.Errorf("later file: %q", got)
	}
}

func TestFileContexts_errors(t *testing.T) {
	for _, line := range []string{
		"/x", "/x a b c", "/x -x a:b:c", "/x a", "/x a:b", "/x -- a:b", "/( a:b:c", "/(?!x) a:b:c", `/(a)\1 a:b:c`, "/x{2000} a:b:c", "/[ a:b:c", "/a) a:b:c", "/a)|(b a:b:c",
	} {
		_, err := ParseFileContexts("fc", strings.NewReader("#\n"+line+"\n"))
		var le *LineError
		if !errors.As(err, &le) || le.Line != 2 || !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestFileContexts_label(t *testing.T) {
	tr := New()
	usr := must(tr.Add(Root, "usr", directory()))
	bin := must(tr.Add(usr, "bin", directory()))
	ls := must(tr.Add(bin, "ls", regular(0)))
	tmp := must(tr.Add(Root, "tmp", directory()))
	x := must(tr.Add(tmp, "x", regular(0)))
	tr.SetXattrs(ls, []Xattr{{"user.a", []byte("1")}, {xattrSELinux, []byte("old\x00")}})
	tr.SetXattrs(x, []Xattr{{xattrSELinux, []byte("kept\x00")}})
	if err := tr.Link(tmp, "hard", ls); err != nil {
		t.Fatal(err)
	}
	c := must(ParseFileContexts("fc", strings.NewReader(policy)))
	if err := tr.Apply(context.Background(), &Options{SELinux: c}); err != nil {
		t.Fatal(err)
	}
	label := func(id ID) string {
		for _, a := range tr.Xattrs(id) {
			if a.Name == xattrSELinux {
				return string(a.Value)
			}
		}
		return ""
	}
	for id, want := range map[ID]string{Root: "root_t", usr: "default_t", bin: "usr_t", tmp: "default_t"} {
		if got := label(id); got != "system_u:object_r:"+want+":s0\x00" {
			t.Errorf("%s: %q, want %s", tr.Path(id), got, want)
		}
	}
	if label(x) != "kept\x00" {
		t.Errorf("%q", label(x))
	}
	// /tmp/hard comes first, and keeps its label.
	if label(ls) != "old\x00" || len(tr.Xattrs(ls)) != 2 {
		t.Errorf("%v", tr.Xattrs(ls))
	}
}

// TestFileContexts_labelIsLookup compares labels of a tree with those of one
// path after the other, and both with expressions tried plainly.
func TestFileContexts_labelIsLookup(t *testing.T) {
	tr := New()
	dirs := []ID{Root}
	for i := range 600 {
		dir := dirs[(i*7)%len(dirs)]
		name := []string{"usr", "bin", "lib", "dev", "tmp", "x.conf", "libc.so.6", "etc", "sda1", "log"}[i%10]
		n := directory()
		if i%3 == 0 {
			n = regular(0)
		}
		id, err := tr.Add(dir, name, n)
		if err == nil && n.IsDir() {
			dirs = append(dirs, id)
		}
	}
	c := must(ParseFileContexts("fc", strings.NewReader(policy)))
	if err := c.Label(context.Background(), tr); err != nil {
		t.Fatal(err)
	}
	for id := range ID(tr.Len()) {
		want, ok := c.Lookup(tr.Path(id), tr.Node(id).Mode)
		var list []Xattr
		if ok {
			list = []Xattr{{xattrSELinux, []byte(want + "\x00")}}
		}
		if !slices.EqualFunc(tr.Xattrs(id), list, sameXattr) {
			t.Errorf("%s: %v, want %v", tr.Path(id), tr.Xattrs(id), list)
		}
	}
	want, _ := c.Lookup("/lost+found", disk.ModeDir)
	if list := tr.Xattrs(LostFound); len(list) != 1 || string(list[0].Value) != want+"\x00" {
		t.Errorf("lost+found: %v, want %s", list, want)
	}
}

func FuzzFileContexts(f *testing.F) {
	f.Add(policy, "/usr/bin/x")
	f.Add("/a(b|c)+ -- u:r:t\n/a[x] u:r:t:s0\n", "/ab")
	f.Add("(?i)/A u:r:t\n^/a$ u:r:t\n", "/a")
	f.Fuzz(func(t *testing.T, text, path string) {
		c, err := ParseFileContexts("f", strings.NewReader(text))
		if err != nil {
			var le *LineError
			if !errors.As(err, &le) {
				t.Error(err)
			}
			return
		}
		for i := range c.specs {
			s := &c.specs[i]
			if s.re == nil || s.kind != 0 {
				continue
			}
			if s.re.MatchString(path) != s.matches(path, disk.ModeDir) {
				t.Errorf("%v, %q: literals %q %q %q", s.re, path, s.prefix, s.inner, s.suffix)
			}
		}
		c.Lookup(path, disk.ModeRegular)
	})
}

// bigPolicy is of the size and shape of those of distributions.
func bigPolicy() string {
	var b strings.Builder
	b.WriteString("/.* system_u:object_r:default_t:s0\n/usr/.* system_u:object_r:usr_t:s0\n/usr/lib(64)?/.*\\.so(\\.[^/]*)* -- system_u:object_r:lib_t:s0\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "/usr/s?bin/prog%d -- system_u:object_r:p%d_exec_t:s0\n", i, i)
		fmt.Fprintf(&b, "/var/lib/data%d(/.*)? system_u:object_r:d%d_t:s0\n", i, i)
		fmt.Fprintf(&b, "/usr/lib(64)?/mod%d/.*\\.ko -- system_u:object_r:m%d_t:s0\n", i, i)
	}
	return b.String()
}

func BenchmarkLabel(b *testing.B) {
	c := must(ParseFileContexts("fc", strings.NewReader(bigPolicy())))
	tr := New()
	usr := must(tr.Add(Root, "usr", directory()))
	for d := range 600 {
		dir := must(tr.Add(usr, fmt.Sprintf("dir%d", d), directory()))
		for f := range 100 {
			must(tr.Add(dir, fmt.Sprintf("file%d.so", f), regular(0)))
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Label(context.Background(), tr); err != nil {
			b.Fatal(err)
		}
	}
}
