package casefold

import (
	"bytes"
	"hash/crc32"
	"strings"
	"testing"
	"unicode/utf8"
)

func fold(t testing.TB, s string) string {
	t.Helper()
	f, ok := Append(nil, []byte(s))
	if !ok {
		t.Fatalf("Append(%q): not valid", s)
	}
	return string(f)
}

func TestAppend(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"empty", "", ""},
		{"ascii", "Hello, World! 09_[]{}", "hello, world! 09_[]{}"},
		{"nul ends the name", "AB\x00CD", "ab"},
		{"nul behind unicode", "É\x00CD", "e\u0301"},
		{"full folding", "Straße", "strasse"},
		{"capital sharp s", "ẞ", "ss"},
		{"final sigma", "ΟΔΟΣ οδος", "οδοσ οδοσ"},
		{"dotted capital i", "İI", "i\u0307i"},
		{"dotless i stays", "ı", "ı"},
		{"kelvin and angstrom", "\u212a\u212b", "ka\u030a"},
		{"decomposes", "Été", "e\u0301te\u0301"},
		{"decomposes in steps", "Ǻ", "a\u030a\u0301"},
		{"folding that decomposes", "ΐ", "ι\u0308\u0301"},
		{"ligature", "ﬃ", "ffi"},
		{"iota subscript is a letter", "ᾳ", "αι"},
		{"marks are sorted", "a\u0301\u0316", "a\u0316\u0301"},
		{"marks of a class keep their order", "a\u0301\u0300", "a\u0301\u0300"},
		{"marks of three classes", "q\u0301\u0316\u0334\u0300", "q\u0334\u0316\u0301\u0300"},
		{"a mark that folds to a letter", "q\u0301\u0345\u0316\u0334", "q\u0301ι\u0334\u0316"},
		{"marks in front", "\u0301\u0316A", "\u0316\u0301a"},
		{"decomposition joins the sorting", "é\u0316", "e\u0316\u0301"},
		{"hangul of two", "가", "\u1100\u1161"},
		{"hangul of three", "각힣", "\u1100\u1161\u11a8\u1112\u1175\u11c2"},
		{"ignorable vanishes", "a\u200db\u00adc\ufe0f", "abc"},
		{"only ignorables", "\u200b\u2060", ""},
		{"ignorable separates marks", "a\u0301\u200d\u0316", "a\u0301\u0316"},
		{"ignorable, not assigned", "x\u2065\U000e0fffy", "xy"},
		{"not assigned stays", "\u0378\U000e1000\U0010ffff", "\u0378\U000e1000\U0010ffff"},
		{"assigned after 12.1 stays", "\u2c2f\ua7c7", "\u2c2f\ua7c7"},
		{"noncharacter stays", "\uffff\ufffe\ufdd0", "\uffff\ufffe\ufdd0"},
		{"replacement character", "\ufffd", "\ufffd"},
		{"compatibility forms stay", "①Ａ", "①ａ"},
		{"cherokee folds up", "ꭰᏸ", "ᎠᏰ"},
		{"deseret", "\U00010400", "\U00010428"},
		{"cjk compatibility ideograph", "\U0002f800", "丽"},
		{"musical symbol", "\U0001d15e", "\U0001d157\U0001d165"},
		{"stray behind ascii", "A\x80B", "a\x80b"},
		{"stray behind a decomposition", "É\x80", "e\x80\u0301\x80"},
		{"stray among marks", "A\u0301\x80\u0316", "a\x80\x80\u0316\u0301\x80"},
		{"stray behind an ignorable", "\u200d\x80", "\x80"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fold(t, tt.in); got != tt.want {
				t.Errorf("Append(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestAppend_invalid(t *testing.T) {
	for _, s := range []string{
		"\x80", "\xbfabc", "\xff", "a\xfe", "abc\xc3", "\xe2\x82", "\xf0\x9f\x92",
		"\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xc3(",
	} {
		if f, ok := Append(nil, []byte(s)); ok {
			t.Errorf("Append(%q) = %q, want invalid", s, f)
		}
	}
}

func TestAppend_keepsDst(t *testing.T) {
	got, ok := Append([]byte("dst:"), []byte("ÀB"))
	if want := "dst:a\u0300b"; !ok || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, ok, want)
	}
}

func TestEqual(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"", "", true},
		{"a", "A", true},
		{"a", "b", false},
		{"STRASSE", "straße", true},
		{"Ångström", "A\u030aNGSTRO\u0308M", true},
		{"a\u200d", "A", true},
		{"\xff", "\xff", true},
		{"\xffA", "\xffa", false},
		{"a", "\xff", false},
		{"\u200b", "", true},
	}
	for _, tt := range tests {
		if got := Equal([]byte(tt.a), []byte(tt.b)); got != tt.want {
			t.Errorf("Equal(%q, %q) = %v", tt.a, tt.b, got)
		}
		if got := Equal([]byte(tt.b), []byte(tt.a)); got != tt.want {
			t.Errorf("Equal(%q, %q) = %v", tt.b, tt.a, got)
		}
	}
}

func TestValid(t *testing.T) {
	for s, want := range map[string]bool{
		"": true, "abc": true, "é": true, "a\x80": false, "\x80": false, "\xed\xa0\x80": false,
		"a\x00\xff": true, "\u0378": true,
	} {
		if got := Valid([]byte(s)); got != want {
			t.Errorf("Valid(%q) = %v", s, got)
		}
	}
}

const (
	wantChanged = 18451
	wantSum     = 0x5ffc523a
)

// TestTables pins the folding of every code point. The sum was compared with
// one over the foldings computed by Python 3.8, whose unicodedata is 12.1.0.
func TestTables(t *testing.T) {
	sum, changed := uint32(0), 0
	var in, out [64]byte
	for r := rune(1); r <= utf8.MaxRune; r++ {
		if 0xd800 <= r && r <= 0xdfff {
			continue
		}
		n := utf8.EncodeRune(in[:], r)
		f, ok := Append(out[:0], in[:n])
		if !ok {
			t.Fatalf("%U: not valid", r)
		}
		if !bytes.Equal(f, in[:n]) {
			changed++
		}
		sum = crc32.Update(sum, crc32.IEEETable, f)
		sum = crc32.Update(sum, crc32.IEEETable, []byte{0})
	}
	if changed != wantChanged || sum != wantSum {
		t.Errorf("%d code points change, sum %#x; want %d, %#x", changed, sum, wantChanged, wantSum)
	}
}

func TestAppend_allocates(t *testing.T) {
	var buf [512]byte
	for _, s := range []string{"README.TXT", "Übergrößenträger", "각힣" + strings.Repeat("e\u0301", 20)} {
		name := []byte(s)
		if n := testing.AllocsPerRun(100, func() { Append(buf[:0], name) }); n != 0 {
			t.Errorf("%q: %v allocations", s, n)
		}
	}
}

func FuzzFold(f *testing.F) {
	for _, s := range []string{"", "Hello", "Straße", "a\u0301\u0316\u0345", "\x80", "A\u0301\x80\u0316", "가\u200d", "\xed\xa0\x80"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, name []byte) {
		folded, ok := Append(nil, name)
		if Valid(name) && !ok {
			t.Fatalf("%q is valid but has no folding", name)
		}
		if !ok {
			return
		}
		// A mark of one code point may give three; a stray byte is written
		// at most once for each of the 55 classes, and once more.
		if len(folded) > 56*len(name) {
			t.Fatalf("%q folds to %d bytes", name, len(folded))
		}
		if !Valid(name) {
			return // strays multiply: such a folding is not stable
		}
		again, ok := Append(nil, folded)
		if !ok || !stable(name) || bytes.Equal(again, folded) {
			return
		}
		t.Fatalf("%q folds to %q and then to %q", name, folded, again)
	})
}

// stable reports whether folding twice is the same as once: an ignorable that
// vanishes lets the marks around it be sorted the second time.
func stable(name []byte) bool {
	for _, r := range string(name) {
		if value(r) == ignorable {
			return false
		}
	}
	return true
}

func BenchmarkAppend(b *testing.B) {
	for _, bb := range []struct{ name, in string }{
		{"ascii", "Makefile.Common.in"},
		{"latin", "Übergrößenträger.txt"},
		{"hangul", "한국어파일이름.txt"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			var buf [512]byte
			name := []byte(bb.in)
			b.SetBytes(int64(len(name)))
			b.ReportAllocs()
			for b.Loop() {
				Append(buf[:0], name)
			}
		})
	}
}
