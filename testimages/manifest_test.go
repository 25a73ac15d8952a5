package testimages

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	line := func(path, size string) string { return path + " f 0644 0 0 1 " + size + " 0.000000000 sha256:00 -" }
	for _, c := range []struct {
		name string
		a, b Manifest
		want string
	}{
		{"equal", Manifest{line("/a", "1")}, Manifest{line("/a", "1")}, ""},
		{"both empty", nil, nil, ""},
		{"missing", Manifest{line("/a", "1"), line("/b", "1")}, Manifest{line("/a", "1")}, "- " + line("/b", "1") + "\n"},
		{"extra", nil, Manifest{line("/a", "1")}, "+ " + line("/a", "1") + "\n"},
		{"field", Manifest{line("/a", "1")}, Manifest{line("/a", "2")}, "! /a SIZE 1 -> 2\n"},
		{"prefix path", Manifest{line("/a", "1"), line("/a/b", "1"), line("/ab", "1")}, Manifest{line("/a", "1"), line("/ab", "1")}, "- " + line("/a/b", "1") + "\n"},
	} {
		if got := Diff(c.a, c.b); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestDiff_boundsItsOutput(t *testing.T) {
	var a Manifest
	for range 1000 {
		a = append(a, "/x f")
	}
	if out := Diff(a, nil); strings.Count(out, "\n") != maxDiffs+1 || !strings.Contains(out, "1000 differences") {
		t.Errorf("%q", out)
	}
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"/plain-name.txt": "/plain-name.txt", " ": `\x20`, "a\nb": `a\x0ab`, `\`: `\x5c`, "!": `\x21`, `"`: `"`, "\xff": `\xff`, "é": `\xc3\xa9`, "\x7f": `\x7f`,
	} {
		if got := escape(in); got != want {
			t.Errorf("escape(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestLinkField(t *testing.T) {
	long := strings.Repeat("a", 513)
	for in, want := range map[string]string{
		"": "-", "-": `\x2d`, "--": "--", "to": "to", "a b": `a\x20b`,
		long: "513:sha256:02425c0f5b0dabf3d2b9115f3f7723a02ad8bcfb1534a0d231614fd42b8188f6",
	} {
		if got := linkField(in); got != want {
			t.Errorf("linkField(%.20q) = %s, want %s", in, got, want)
		}
	}
}

func TestXattrField(t *testing.T) {
	got := xattrField([]xattr{{"user.b", []byte{1, 2}}, {"user.a,=", nil}, {"trusted.long", make([]byte, 33)}})
	const want = "trusted.long=33:sha256:7f9c9e31ac8256ca2f258583df262dbc7d6f68f2a03043d5c99a4ae5a7396ce9,user.a\\x2c\\x3d=0x,user.b=0x0102"
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestManifest_selects(t *testing.T) {
	m := ParseManifest("/b/c f 0\n\n/ d 0\n/bc f 0\n/b d 0\n")
	if got := m.String(); got != "/ d 0\n/b d 0\n/b/c f 0\n/bc f 0\n" {
		t.Errorf("parsed as %q", got)
	}
	if got := m.Under("/b").String(); got != "/ d 0\n/c f 0\n" {
		t.Errorf("under /b: %q", got)
	}
	if got := m.Without("/", "/bc").String(); got != "/b d 0\n/b/c f 0\n" {
		t.Errorf("without: %q", got)
	}
	if got := m.Drop("MODE").String(); got != "/ d -\n/b d -\n/b/c f -\n/bc f -\n" {
		t.Errorf("drop: %q", got)
	}
}

func TestManifestDir_ofPlainFolder(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("ManifestDir is for Linux")
	}
	dir := Scratch(t)
	if err := os.WriteFile(filepath.Join(dir, "a b"), []byte("hello\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "a b"), filepath.Join(dir, "c")); err != nil {
		t.Fatal(err)
	}
	m, err := ManifestDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	const data = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
	for i, want := range []string{"/ d ", `/a\x20b f 0640 `, "/c f 0640 "} {
		if len(m) != 3 || !strings.HasPrefix(m[i], want) || i > 0 && !strings.Contains(m[i], " 2 6 ") || i > 0 && !strings.Contains(m[i], data) {
			t.Fatalf("manifest\n%s", m)
		}
	}
}

// A file beyond the limit is digested by its data alone: how it is stored,
// with holes or with zeros, must not matter.
func TestDigest_sparseIgnoresStoredZeros(t *testing.T) {
	dir := Scratch(t)
	const size = sparseLimit + 5000
	digests := make([]string, 2)
	for i := range digests {
		f, err := os.Create(filepath.Join(dir, string(rune('a'+i))))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if i == 1 {
			if _, err := f.WriteAt(make([]byte, 300_000), 100); err != nil {
				t.Fatal(err)
			}
		}
		for _, off := range []int64{5000, 1 << 20, size - 3} {
			if _, err := f.WriteAt([]byte("abc"), off); err != nil {
				t.Fatal(err)
			}
		}
		if digests[i], err = digestFile(f, size); err != nil {
			t.Fatal(err)
		}
	}
	if digests[0] != digests[1] || !strings.HasPrefix(digests[0], "sparse256:") {
		t.Errorf("%s and %s", digests[0], digests[1])
	}
}
