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

// lines describes every node of a tree, for comparing.
func lines(tr *Tree) []string {
	var all []string
	var walk func(id ID, path string)
	walk = func(id ID, path string) {
		n := tr.Node(id)
		line := fmt.Sprintf("%s %06o %d:%d", path, n.Mode, n.UID, n.GID)
		if n.IsDevice() {
			line += fmt.Sprintf(" %d,%d", n.Major, n.Minor)
		}
		all = append(all, line)
		for _, e := range tr.Entries(id) {
			walk(e.ID, strings.TrimSuffix(path, "/")+"/"+e.Name)
		}
	}
	walk(Root, "/")
	return all
}

func TestDevtable_apply(t *testing.T) {
	tr := New()
	etc := must(tr.Add(Root, "etc", directory()))
	for name, text := range map[string]string{"passwd": "root:x:0:0::/:\nalice:x:1000:100::/:\nbroken\n", "group": "users:x:100:\n"} {
		id := must(tr.Add(etc, name, regular(int64(len(text)))))
		if err := tr.SetContent(id, Bytes([]byte(text))); err != nil {
			t.Fatal(err)
		}
	}
	home := must(tr.Add(Root, "home", directory()))
	must(tr.Add(home, "file", regular(0)))
	l := must(tr.Add(home, "link", Node{Mode: disk.ModeSymlink | 0o777}))
	if err := tr.SetTarget(l, "x"); err != nil {
		t.Fatal(err)
	}
	must(tr.Add(Root, "old", regular(0)))
	d, err := ParseDevtable("table", strings.NewReader(`
# <name>	<type>	<mode>	<uid>	<gid>	<major>	<minor>	<start>	<inc>	<count>
/		d	750	0	0	-	-	-	-	-
/dev		d	755	0	0	-	-	-	-	-
/dev/console	c	622	0	0	5	1	-	-	-
/dev/hda	b	640	0	6	3	0	0	0	-
/dev/hda	b	640	0	6	3	1	1	1	3
/dev/tty	c	666	0	5	4	0	0	2	2
/run/pipe	p	600	7	8	-	-	-	-	-
/run/sock	s	600	7	8
/old		c	600	0	0	1	3	-	-	-
/etc/passwd	f	4755	0	0	-	-	-	-	-
/etc/none	F	755	0	0	-	-	-	-	-
/home		r	-1	alice	users	-	-	-	-	-
/home/file	f	640	-	-	-	-	-	-	-	-
`))
	var le *LineError
	if !errors.As(err, &le) || le.Line != 15 || !errors.Is(err, ErrSyntax) {
		t.Fatalf("line with a field too many: %v", err)
	}
	_ = d
	d, err = ParseDevtable("table", strings.NewReader(`
/		d	750	0	0	-	-	-	-	-
/dev		d	755	0	0	-	-	-	-	-
/dev/console	c	622	0	0	5	1	-	-	-
/dev/hda	b	640	0	6	3	0	0	0	-
/dev/hda	b	640	0	6	3	1	1	1	3
/dev/tty	c	666	0	5	4	0	0	2	2
/run/pipe	p	600	7	8	-	-	-	-	-
/run/sock	s	600	7	8
/old		c	600	0	0	1	3	-	-	-
/etc/passwd	f	4755	0	0	-	-	-	-	-
/etc/none	F	755	0	0	-	-	-	-	-
/home		r	-1	alice	users	-	-	-	-	-
/home/file	f	640	2	3	-	-	-	-	-
`))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Apply(context.Background(), tr, &Options{}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"/ 040750 0:0", "/dev 040755 0:0", "/dev/console 020622 0:0 5,1",
		"/dev/hda 060640 0:6 3,0", "/dev/hda1 060640 0:6 3,1", "/dev/hda2 060640 0:6 3,2", "/dev/hda3 060640 0:6 3,3",
		"/dev/tty0 020666 0:5 4,0", "/dev/tty1 020666 0:5 4,2",
		"/etc 040755 0:0", "/etc/group 100644 0:0", "/etc/passwd 104755 0:0",
		"/home 040755 1000:100", "/home/file 100640 2:3", "/home/link 120777 1000:100",
		"/old 020600 0:0 1,3", "/run 040755 0:0", "/run/pipe 010600 7:8", "/run/sock 140600 7:8",
	}
	if got := lines(tr); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestDevtable_syntax(t *testing.T) {
	for _, line := range []string{
		"dev d 755 0 0 - - - - -",
		"/dev d 755 0",
		"/dev x 755 0 0 - - - - -",
		"/dev dd 755 0 0 - - - - -",
		"/dev d 999 0 0 - - - - -",
		"/dev d 17777 0 0 - - - - -",
		"/dev d -2 0 0 - - - - -",
		"/dev/x c -1 0 0 1 1 - - -",
		"/dev/../x c 644 0 0 1 1 - - -",
		"/dev/x c 644 0 0 4096 1 - - -",
		"/dev/x c 644 0 0 1 1048576 - - -",
		"/dev/x c 644 0 0 1 0 0 1 1048577",
		"/dev/x c 644 0 0 1 1048575 0 1 2",
		"/dev/x c 644 0 0 1 0 4294967294 1 2",
		"/dev/x c 644 0 0 1 0 0 1 -5",
		"/dev/x c 644 - 0 1 0 - - -",
		"/dev d 755 0 0 - - 0 1 5",
		"/ c 644 0 0 1 1 - - -",
		"/" + strings.Repeat("x", 256) + " p 644 0 0",
	} {
		_, err := ParseDevtable("file", strings.NewReader("# comment\n\n"+line+"\n"))
		var le *LineError
		if !errors.As(err, &le) || le.Line != 3 || le.File != "file" {
			t.Errorf("%s: %v", line, err)
		}
	}
	if _, err := ParseDevtable("file", strings.NewReader("/x p 1 1 1\n"+strings.Repeat("#", 2*maxDevLine))); err == nil {
		t.Error("a long line")
	}
}

func TestDevtable_applyErrors(t *testing.T) {
	for line, want := range map[string]error{
		"/none f 644 0 0":         ErrNotExist,
		"/none r 644 0 0":         ErrNotExist,
		"/file r 644 0 0":         ErrNotDir,
		"/dir f 644 0 0":          ErrType,
		"/file/x c 644 0 0 1 1":   ErrNotDir,
		"/file d 644 0 0":         ErrNotDir,
		"/dir c 644 0 0 1 1":      ErrIsDir,
		"/dev/x c 644 bob 0 1 1":  ErrSyntax,
		"/dev/x c 644 0 team 1 1": ErrSyntax,
		"/dev/" + strings.Repeat("x", 255) + " c 644 0 0 1 1 0 1 2": ErrNameTooLong,
	} {
		tr := New()
		must(tr.Add(Root, "file", regular(0)))
		must(tr.Add(Root, "dir", directory()))
		d, err := ParseDevtable("file", strings.NewReader("/ok p 644 0 0\n"+line))
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		err = d.Apply(context.Background(), tr, &Options{})
		var le *LineError
		if !errors.As(err, &le) || le.Line != 2 || !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", line, err, want)
		}
	}
}

func FuzzDevtable(f *testing.F) {
	f.Add("/dev d 755 0 0 - - - - -\n/dev/x c 644 0 0 1 1 0 1 20\n/dev r -1 3 3\n# c\n")
	f.Add("/a/b/c b 600 root wheel 3 4 - - -\n/a f 1 1 1")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDevtable("f", strings.NewReader(text))
		if err != nil {
			var le *LineError
			if !errors.As(err, &le) {
				t.Error(err)
			}
			return
		}
		tr := New()
		tr.max = 5000
		if err := d.Apply(context.Background(), tr, &Options{}); err != nil {
			var le *LineError
			if !errors.As(err, &le) {
				t.Error(err)
			}
		}
		for id := ID(1); int(id) < tr.Len(); id++ {
			if tr.Node(id).Links > 0 && tr.Path(id) == "" {
				t.Errorf("node %d has no path", id)
			}
		}
	})
}
