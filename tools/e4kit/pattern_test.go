package main

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// TestShellClass has the bracket expressions of POSIX shells, for path.Match
// (names) and as regular expressions (whole paths).
func TestShellClass(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"*[[:digit:]]", "hard2", true},
		{"*[[:digit:]]", "hard", false},
		{"[![:digit:]]*", "a1", true},
		{"[[:upper:]_]x", "_x", true},
		{"[[:space:]]*", "\tx", true},
		{"[[:punct:]]", "\\", true},
		{"[[:punct:]]", "a", false},
		{"[!a-m]*", "n", true},
		{"[!a-m]*", "b", false},
		{"[^a]", "a", false},
		{"[]a]", "]", true},
		{"[!]a]", "]", false},
		{"[a-]", "-", true},
		{"[-a]", "-", true},
		{"[a-]", "b", false},
		{`[\]]`, "]", true},
		{"[[]br]", "[br]", true},
		{`\[br]`, "[br]", true},
		{"[a^]", "^", true},
		{"[+--]", "-", true},
	} {
		got, err := path.Match(shellClass(tt.pattern), tt.name)
		if err != nil || got != tt.want {
			t.Errorf("%s on %q: %v, %v, want %v", tt.pattern, tt.name, got, err, tt.want)
		}
		re, err := anyGlob(tt.pattern, false)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
		} else if re.MatchString(tt.name) != tt.want {
			t.Errorf("%s as %s on %q: want %v", tt.pattern, re, tt.name, tt.want)
		}
	}
	for _, bad := range []string{"[a", "[", "[^", `[a\`, "[]"} {
		if _, err := path.Match(shellClass(bad), ""); err == nil {
			t.Errorf("%s: no error", bad)
		}
		if _, err := anyGlob(bad, false); err == nil {
			t.Errorf("%s as an expression: no error", bad)
		}
	}
}

// TestOctalText wants what setfattr --restore reads back, and nothing that
// steers a terminal.
func TestOctalText(t *testing.T) {
	for in, want := range map[string]string{
		"plain é":       "plain é",
		"a=b":           `a\075b`,
		"back\\slash":   `back\134slash`,
		"new\nline":     `new\012line`,
		"\x1b[31m":      `\033[31m`,
		"csi\u009b":     `csi\302\233`,
		"bad\xff":       `bad\377`,
		"rtl\u202e end": `rtl\342\200\256 end`,
	} {
		if got := octalText(in, `\=`); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	if got, want := xattrText([]byte("q\"\\\n\u009b"), "text"), `"q\"\\\012\302\233"`; got != want {
		t.Errorf("text: %s, want %s", got, want)
	}
}

// TestFind_owners: numbers with a sign are bounds, as for every number.
func TestFind_owners(t *testing.T) {
	for arg, want := range map[string]bool{"+99": true, "+100": false, "-101": true, "-100": false, "100": true, "1": false} {
		c, err := parseOwner(arg)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.holds(nil, 100); got != want {
			t.Errorf("%s on 100: %v", arg, got)
		}
	}
	if _, err := parseOwner("+x"); err == nil {
		t.Error("+x: no error")
	}
}

// TestGlob_goesOnAfterFailure: one file of several that cannot be reached is
// told, and does not keep the others back. ls names links that lead nowhere.
func TestGlob_goesOnAfterFailure(t *testing.T) {
	testimages.RequireTool(t, "mke2fs", "debugfs")
	img := filepath.Join(testimages.Scratch(t), "links.img")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("text\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	testimages.Mkfs(t, img, 1<<20, "-t", "ext2")
	testimages.DebugfsWrite(t, img, "symlink a1 nowhere", "symlink a2 a2", "write "+file+" a3")

	if r := e4kit("ls", img+":/a*"); r.code != 0 || r.stdout != "/a1\n/a2\n/a3\n" {
		t.Errorf("ls: %v", r)
	}
	if r := e4kit("ls", img+":/a1/"); r.code != 1 {
		t.Errorf("ls with a slash: %v", r)
	}
	r := e4kit("cat", img+":/a*")
	if r.code != 3 || r.stdout != "text\n" || strings.Count(r.stderr, "e4kit: "+img+": /a") != 2 {
		t.Errorf("cat: %v", r)
	}
	to := t.TempDir()
	if r := e4kit("cp", img+":/a*", to); r.code != 3 {
		t.Errorf("cp: %v", r)
	}
	if got := tree(t, to); !slices.Equal(got, []string{"a3"}) {
		t.Errorf("cp made %q", got)
	}
	if r := e4kit("diff", img+":/a[12]", img); r.code != 2 || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("diff: %v", r)
	}
}
