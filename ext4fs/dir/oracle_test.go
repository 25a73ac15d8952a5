package dir_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/casefold"
	"github.com/e4kit/e4kit/ext4fs/dir"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// TestFrom_kernelOrder compares the order of names with that of the kernel's
// readdir, which reaches user space unsorted.
func TestFrom_kernelOrder(t *testing.T) {
	testimages.RequireTool(t, "mke2fs", "debugfs")
	testimages.RequireRoot(t)
	testimages.RequireLoop(t)
	for _, name := range []string{"ext4-4k", "ext4-1k", "ext2-plain", "inline-data", "inline-data-1k", "encrypt-1k", "index-nocsum",
		"hash-half_md4-signed", "hash-half_md4-unsigned", "hash-tea-signed", "hash-tea-unsigned", "large-dir"} {
		t.Run(name, func(t *testing.T) {
			img := testimages.Build(t, testimages.Find(t, name))
			im := openImage(t, img)
			testimages.WithMount(t, img, "ro", func(top string) {
				im.walk(func(p string, c *dir.Config, _ []dir.Entry) {
					f, err := os.Open(filepath.Join(top, p))
					if err != nil {
						t.Error(err)
						return
					}
					defer f.Close()
					want, err := f.Readdirnames(-1)
					if err != nil {
						t.Error(err)
					}
					var got []string
					for e, err := range c.From(0) {
						if err != nil {
							t.Error(err)
						}
						if s := c.DisplayName(e); s != "." && s != ".." {
							got = append(got, s)
						}
					}
					if !slices.Equal(got, want) {
						t.Errorf("%s: other order:\n%.200q\nthe kernel's:\n%.200q", p, got, want)
					}
				})
			})
		})
	}
}

// TestLookup_casefold finds names in all their spellings. The kernel here has
// no casefold; e2fsck made the index.
func TestLookup_casefold(t *testing.T) {
	testimages.RequireTool(t, "mke2fs", "debugfs", "e2fsck")
	spellings := map[string][]string{
		"HELLO":           {"hello", "Hello"},
		"Straße":          {"STRASSE", "straſſe", "STRAẞE"},
		"Été":             {"été", "E\u0301TE\u0301", "e\u0301té"},
		"İstanbul":        {"i\u0307STANBUL"},
		"Ω-ohm":           {"Ω-OHM", "ω-ohm"},
		"K-kelvin":        {"k-KELVIN", "K-kelvin"},
		"ﬁle":             {"FILE", "fiLe"},
		"MiXeD.TxT":       {"mixed.txt"},
		"zero\u200bwidth": {"ZEROWIDTH", "zero\u00adwidth"},
	}
	for _, name := range []string{"casefold", "casefold-strict"} {
		im := openImage(t, testimages.Build(t, testimages.Find(t, name)))
		for _, p := range []string{"/folded", "/folded/INNER"} {
			c := im.find(p)
			for want, list := range spellings {
				for _, s := range append(list, want) {
					e, err := c.Lookup([]byte(s))
					if err != nil || string(e.Name) != want {
						t.Errorf("%s%s: Lookup(%q) = %q, %v", name, p, s, e.Name, err)
					}
				}
			}
			if _, err := c.Lookup([]byte("hell")); err == nil {
				t.Error("hell is found")
			}
		}
		large := im.find("/large")
		if !large.Indexed {
			t.Fatal("/large has no index")
		}
		large.NoFallback = true // the index must do
		for i := range 700 {
			for _, s := range []string{"Name-%04d-ÄÖÜ-ẞ", "name-%04d-äöü-ss", "NAME-%04d-A\u0308O\u0308U\u0308-SS"} {
				s = fmt.Sprintf(s, i)
				if e, err := large.Lookup([]byte(s)); err != nil || string(e.Name) != fmt.Sprintf("Name-%04d-ÄÖÜ-ẞ", i) {
					t.Fatalf("%s: Lookup(%q) = %q, %v", name, s, e.Name, err)
				}
			}
		}
	}
	im := openImage(t, testimages.Build(t, testimages.Find(t, "casefold")))
	c := im.find("/plain")
	for _, s := range []string{"Case", "case"} {
		if e, err := c.Lookup([]byte(s)); err != nil || string(e.Name) != s {
			t.Errorf("Lookup(%q) = %q, %v", s, e.Name, err)
		}
	}
	if _, err := c.Lookup([]byte("CASE")); err == nil {
		t.Error("a folder without the flag folds")
	}
}

var hashLine = regexp.MustCompile(`is 0x([0-9a-f]+) \(minor 0x([0-9a-f]+)\)`)

// TestFold_oracle hashes random names as casefolded directories do, and asks
// debugfs for the same.
func TestFold_oracle(t *testing.T) {
	testimages.RequireTool(t, "mke2fs", "debugfs")
	img := filepath.Join(testimages.Scratch(t), "empty.img")
	testimages.Mkfs(t, img, 4<<20, "-t", "ext4")
	var list []string
	var commands []string
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		s := randomName(r)
		if _, ok := casefold.Append(nil, []byte(s)); !ok {
			continue // debugfs refuses these
		}
		list = append(list, s)
		commands = append(commands, "dx_hash -h half_md4 -c -e utf8 "+s)
	}
	found := hashLine.FindAllStringSubmatch(testimages.Debugfs(t, img, commands...), -1)
	if len(found) != len(list) {
		t.Fatalf("%d answers to %d questions", len(found), len(list))
	}
	var seed [4]uint32
	for i, s := range list {
		f, _ := casefold.Append(nil, []byte(s))
		h, m, _ := disk.DirHash(disk.HashHalfMD4, &seed, f)
		if got, want := fmt.Sprintf("%x %x", h, m), found[i][1]+" "+found[i][2]; got != want {
			t.Errorf("%+q: hash %s, debugfs says %s", s, got, want)
		}
	}
}

// randomName is made of the kinds of code points that folding cares about.
func randomName(r *rand.Rand) string {
	ranges := [][2]rune{{'A', 'Z'}, {'a', 'z'}, {0xc0, 0x24f}, {0x300, 0x36f}, {0x370, 0x5ff}, {0x600, 0x6ff}, {0x900, 0x9ff},
		{0xe00, 0xeff}, {0x1e00, 0x1fff}, {0x200b, 0x200f}, {0x2060, 0x206f}, {0x2100, 0x21ff}, {0x3040, 0x30ff}, {0xac00, 0xd7a3},
		{0xf900, 0xfaff}, {0xfb00, 0xfb4f}, {0xfe00, 0xfe2f}, {0x10400, 0x104ff}, {0x1d15e, 0x1d1ff}, {0x1e900, 0x1e95f},
		{0x2f800, 0x2fa1d}, {0xe0100, 0xe01ef}, {0x378, 0x379}, {0x13a0, 0x13ff}, {0xab70, 0xabbf}}
	var b strings.Builder
	b.WriteByte('n')
	for range 1 + r.IntN(12) {
		x := ranges[r.IntN(len(ranges))]
		if r.IntN(3) == 0 {
			x = ranges[3] // combining marks, to be sorted
		}
		b.WriteRune(x[0] + r.Int32N(x[1]-x[0]+1))
		if r.IntN(40) == 0 {
			b.WriteByte(0x80 + byte(r.IntN(64))) // continues nothing
		}
	}
	return b.String()
}

// TestIndex64K: the kernel cannot mount blocks of this size, so mke2fs fills
// the directory and e2fsck makes the index.
func TestIndex64K(t *testing.T) {
	testimages.RequireTool(t, "mke2fs", "e2fsck")
	for _, features := range []string{"metadata_csum", "^metadata_csum"} {
		top := testimages.Scratch(t)
		if err := os.MkdirAll(top+"/src/many", 0o777); err != nil {
			t.Fatal(err)
		}
		for i := range 6000 {
			if err := os.WriteFile(fmt.Sprintf("%s/src/many/file-%05d-%s", top, i, strings.Repeat("z", i%60)), nil, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		img := top + "/64k.img"
		testimages.Mkfs(t, img, 128<<20, "-t", "ext4", "-b", "65536", "-O", features, "-N", "8192", "-d", top+"/src")
		testimages.Run(t, "sh", "-c", "e2fsck -fyD "+img+" || test $? = 1")
		im := openImage(t, img)
		c := im.find("/many")
		if !c.Indexed || c.Blocks < 4 {
			t.Fatalf("indexed %v, %d blocks", c.Indexed, c.Blocks)
		}
		var list []dir.Entry
		for e, err := range c.Entries() {
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, e)
		}
		if len(list) != 6002 {
			t.Errorf("%d names", len(list))
		}
		checkTree(t, "/many", c, list)
		checkDirectory(t, im, "/many", c, list)
	}
}
