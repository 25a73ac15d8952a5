package tree

import (
	"errors"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestGlob_table(t *testing.T) {
	for _, c := range []struct {
		glob string
		yes  string // paths, separated by blanks; a slash at the end is a directory
		no   string
	}{
		{"*.o", "a.o dir/b.o .o", "a.oo a.o/x o"},
		{"/*.o", "a.o", "dir/b.o"},
		{"tmp/", "tmp/ a/tmp/", "tmp a/tmp tmpx/"},
		{"/tmp/", "tmp/", "a/tmp/ tmp"},
		{"doc/*.gz", "doc/a.gz usr/share/doc/x.gz", "doc/a/b.gz xdoc/a.gz"},
		{"a?c", "abc x/aéc", "ac a/c abbc"},
		{"[a-c]x", "ax bx cx", "dx -x"},
		{"[!a-c]x", "dx éx", "ax /x"},
		{"[^a-c]x", "dx", "ax"},
		{"[]x]", "] x", "y"},
		{"[a-]", "a -", "b"},
		{`[\]a]`, "] a", `\`},
		{"[é]", "é", "e"},
		{`\*`, "* d/*", "a"},
		{`a\[b`, "a[b", "ab"},
		{"**", "a a/b a/b/c", ""},
		{"/**/x", "x a/x a/b/x", "ax a/xx"},
		{"a/**/b", "a/b a/x/b a/x/y/b z/a/b", "a/xb ab axb"},
		{"/a/**", "a/b a/b/c", "a b/a/c"},
		{"/a**b", "ab a/b axxb a/x/yb", "ba"},
		{"/usr/**/*.pyc", "usr/a.pyc usr/lib/x/b.pyc", "usr/a.py lib/a.pyc"},
		{"*/x", "a/x b/a/x", "x"},
		{"/*/x", "a/x", "b/a/x x"},
		{"./x", "x a/x", "y"},
		{"x*y*z", "xyz xaybz d/x--yz", "xz x/yz xy/z"},
		{"*", "a a/b", ""},
		{"日?", "日本", "日 日本語"},
		{"*??", "日本 ab", "日 a"},
		{"a//", "a/", "a"},
		{"/", "/", "a a/"},
	} {
		g, err := ParseGlob(c.glob)
		if err != nil {
			t.Errorf("%s: %v", c.glob, err)
			continue
		}
		for want, paths := range map[bool]string{true: c.yes, false: c.no} {
			for _, p := range strings.Fields(paths) {
				dir := strings.HasSuffix(p, "/")
				if got := g.Match(strings.TrimSuffix(p, "/"), dir); got != want {
					t.Errorf("%q, %q: %v", c.glob, p, got)
				}
			}
		}
	}
	for _, bad := range []string{"", "[", "[a", "[b-a]", "[a/b]", `a\`, "a\x00b", "[!", strings.Repeat("a", maxGlob+1)} {
		if _, err := ParseGlob(bad); !errors.Is(err, ErrPattern) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

// globRegexp translates a pattern to an expression, slowly and plainly.
func globRegexp(text string) (*regexp.Regexp, bool) {
	anchored := strings.HasPrefix(text, "/")
	text = strings.TrimPrefix(strings.TrimLeft(text, "/"), "./")
	dirs := strings.HasSuffix(text, "/")
	text = strings.TrimRight(text, "/")
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	if !anchored {
		b.WriteString(`(?:.*/)?`)
	}
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '*':
			n := len(text[i:]) - len(strings.TrimLeft(text[i:], "*"))
			after := i == 0 || text[i-1] == '/' && (i < 2 || text[i-2] != '\\')
			i += n
			switch {
			case n == 1:
				b.WriteString("[^/]*")
			case after && strings.HasPrefix(text[i:], "/"):
				b.WriteString("(?:.*/)?")
				i++
			default:
				b.WriteString(".*")
			}
		case c == '?':
			b.WriteString("[^/]")
			i++
		case c == '\\':
			b.WriteString(regexp.QuoteMeta(text[i+1 : i+2]))
			i += 2
		default:
			b.WriteString(regexp.QuoteMeta(text[i : i+1]))
			i++
		}
	}
	b.WriteString(`\z`)
	return regexp.MustCompile(b.String()), dirs
}

// TestGlob_asRegexp compares matching with that of regular expressions.
func TestGlob_asRegexp(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	word := func(alphabet string, most int) string {
		b := make([]byte, r.IntN(most))
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		return string(b)
	}
	for range 20000 {
		pattern := word("ab/**?/", 9)
		path := strings.Trim(regexp.MustCompile("/+").ReplaceAllString(word("aab/", 10), "/"), "/")
		g, err := ParseGlob(pattern)
		if err != nil {
			continue
		}
		re, dirs := globRegexp(pattern)
		want := re.MatchString(path)
		if got := g.Match(path, true); got != want {
			t.Fatalf("%q, %q: %v, by %v %v", pattern, path, got, re, want)
		}
		if got := g.Match(path, false); got != (want && !dirs) {
			t.Fatalf("%q, %q: %v for a file", pattern, path, got)
		}
	}
}

func FuzzGlob(f *testing.F) {
	for _, s := range []string{"*.o", "/a/**/b[!x-z]?", `\[]`, "**/", "a//b", "[]-a]"} {
		f.Add(s, "a/b/c.o")
	}
	f.Fuzz(func(t *testing.T, pattern, path string) {
		g, err := ParseGlob(pattern)
		if err != nil {
			if !errors.Is(err, ErrPattern) {
				t.Error(err)
			}
			return
		}
		got := g.Match(path, true)
		if g.Match(path, false) && !got {
			t.Error("matches files that are no directories")
		}
		if strings.ContainsRune(pattern, '[') || !utf8.ValidString(pattern) || !utf8.ValidString(path) || strings.ContainsRune(pattern, '\\') || len(pattern) > 500 {
			return
		}
		if re, _ := globRegexp(pattern); re.MatchString(path) != got {
			t.Errorf("%q, %q: %v", pattern, path, got)
		}
	})
}

func TestFilter_paths(t *testing.T) {
	f := must(newFilter(&Options{Include: []string{"/usr/lib", "*.conf"}, Exclude: []string{"*.a", "/usr/lib/secret/"}}))
	for path, want := range map[string]choice{
		"":                  chooseMaybe,
		"usr":               chooseMaybe,
		"usr/lib":           chooseIn,
		"usr/lib/x":         chooseIn,
		"usr/lib/x.a":       chooseOut,
		"usr/lib/secret":    chooseOut,
		"usr/lib/secret/x":  chooseOut,
		"usr/bin":           chooseMaybe,
		"usr/bin/a.conf":    chooseIn,
		"usr/lib/dir/below": chooseIn,
	} {
		if got := f.path(path, !strings.Contains(path, ".")); got != want {
			t.Errorf("%q: %d, want %d", path, got, want)
		}
	}
	if f.path("usr/bin/x", false) != chooseOut {
		t.Error("a file that nothing includes")
	}
}
