package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func regular(size int64) Node { return Node{Mode: disk.ModeRegular | 0o644, Size: size} }
func directory() Node         { return Node{Mode: disk.ModeDir | 0o755} }

func load(t testing.TB, o Options, sources ...Source) *Tree {
	t.Helper()
	tr, err := Load(context.Background(), o, sources...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

func TestTree_namesAndPaths(t *testing.T) {
	tr := New()
	a := must(tr.Add(Root, "a", directory()))
	b := must(tr.Add(a, "b", directory()))
	f := must(tr.Add(b, "f", regular(3)))
	if got := tr.Path(f); got != "/a/b/f" {
		t.Errorf("path %q", got)
	}
	if tr.Parent(f) != b || tr.Parent(a) != Root || tr.Parent(Root) != Root {
		t.Error("parents")
	}
	if err := tr.Link(a, "g", f); err != nil {
		t.Fatal(err)
	}
	if tr.Node(f).Links != 2 {
		t.Errorf("%d links", tr.Node(f).Links)
	}
	if id, ok := tr.LookupPath("/a/g"); !ok || id != f {
		t.Error("link not found")
	}
	if err := tr.Remove(b, "f"); err != nil {
		t.Fatal(err)
	}
	if got := tr.Path(f); got != "/a/g" {
		t.Errorf("path after removal %q", got)
	}
	tr.settle()
	if got := tr.Path(f); got != "/a/g" {
		t.Errorf("path after settling %q", got)
	}
	if err := tr.Remove(Root, "a"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []ID{a, b, f} {
		if tr.Node(id).Links != 0 || tr.Path(id) != "" {
			t.Errorf("%d is still there", id)
		}
	}
	if len(tr.Entries(Root)) != 0 || tr.Len() != 4 {
		t.Error("something is left")
	}
}

func TestTree_errors(t *testing.T) {
	tr := New()
	f := must(tr.Add(Root, "f", regular(0)))
	d := must(tr.Add(Root, "d", directory()))
	gone := must(tr.Add(d, "gone", directory()))
	if err := tr.Remove(d, "gone"); err != nil {
		t.Fatal(err)
	}
	add := func(dir ID, name string) error {
		_, err := tr.Add(dir, name, regular(0))
		return err
	}
	for _, c := range []struct {
		what string
		err  error
		want error
	}{
		{"exists", add(Root, "f"), fs.ErrExist},
		{"in a file", add(f, "x"), ErrNotDir},
		{"in nothing", add(999, "x"), fs.ErrNotExist},
		{"in what is gone", add(gone, "x"), ErrNotExist},
		{"empty", add(Root, ""), ErrName},
		{"dot", add(Root, "."), ErrName},
		{"dots", add(Root, ".."), ErrName},
		{"slash", add(Root, "a/b"), ErrName},
		{"zero", add(Root, "a\x00"), ErrName},
		{"long", add(Root, strings.Repeat("x", 256)), ErrNameTooLong},
		{"link to a directory", tr.Link(Root, "l", d), ErrIsDir},
		{"link to nothing", tr.Link(Root, "l", 4711), ErrNotExist},
		{"link to what is gone", tr.Link(Root, "l", gone), ErrNotExist},
		{"remove nothing", tr.Remove(Root, "nope"), ErrNotExist},
		{"target of a file", tr.SetTarget(f, "x"), ErrType},
		{"content of a directory", tr.SetContent(d, Bytes(nil)), ErrType},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, c.err, c.want)
		}
	}
	if _, err := tr.Add(Root, "weird", Node{Mode: 0o644}); !errors.Is(err, ErrType) {
		t.Errorf("no type: %v", err)
	}
	if err := add(Root, strings.Repeat("x", 255)); err != nil {
		t.Errorf("255 bytes: %v", err)
	}
	tr.max = tr.Len()
	if err := add(Root, "more"); !errors.Is(err, ErrTooMany) {
		t.Errorf("too many: %v", err)
	}
}

// TestTree_model does random operations on a tree and on maps.
func TestTree_model(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	tr := New()
	type dir = map[string]ID
	model := map[ID]dir{Root: {}}
	dirs := []ID{Root}
	var drop func(id ID)
	drop = func(id ID) {
		for _, sub := range model[id] {
			drop(sub)
		}
		delete(model, id)
	}
	for range 20000 {
		d := dirs[r.IntN(len(dirs))]
		name := fmt.Sprintf("n%d", r.IntN(40))
		entries, alive := model[d]
		old, exists := entries[name]
		switch op := r.IntN(10); {
		case op < 6:
			n := regular(0)
			if op < 2 {
				n = directory()
			}
			id, err := tr.Add(d, name, n)
			if ok := alive && !exists; ok != (err == nil) {
				t.Fatalf("add: %v", err)
			}
			if err == nil {
				entries[name] = id
				if n.IsDir() {
					model[id] = dir{}
					dirs = append(dirs, id)
				}
			}
		case op < 7 && exists && model[old] == nil:
			to := dirs[r.IntN(len(dirs))]
			_, there := model[to]["l"]
			err := tr.Link(to, "l", old)
			if ok := model[to] != nil && !there; ok != (err == nil) {
				t.Fatalf("link: %v", err)
			}
			if err == nil {
				model[to]["l"] = old
			}
		default:
			err := tr.Remove(d, name)
			if (alive && exists) != (err == nil) {
				t.Fatalf("remove: %v", err)
			}
			if err == nil {
				delete(entries, name)
				drop(old)
			}
		}
	}
	links := make(map[ID]uint32)
	for id, entries := range model {
		var names []string
		for name, sub := range entries {
			names = append(names, name)
			links[sub]++
			if got, ok := tr.Lookup(id, name); !ok || got != sub {
				t.Fatalf("lookup of %s: %d, %v", name, got, ok)
			}
		}
		slices.Sort(names)
		var got []string
		for _, e := range tr.Entries(id) {
			got = append(got, e.Name)
			if entries[e.Name] != e.ID {
				t.Fatalf("%s is %d", e.Name, e.ID)
			}
		}
		if !slices.Equal(names, got) || tr.Count(id) != len(got) {
			t.Fatalf("names %v, want %v", got, names)
		}
	}
	tr.settle()
	for id := ID(1); int(id) < tr.Len(); id++ {
		if tr.Node(id).Links != links[id] {
			t.Fatalf("node %d has %d links, want %d", id, tr.Node(id).Links, links[id])
		}
		if links[id] == 0 {
			continue
		}
		if got, ok := tr.LookupPath(tr.Path(id)); !ok || got != id {
			t.Fatalf("path %s of %d leads to %d", tr.Path(id), id, got)
		}
	}
}

func TestTime_roundTrip(t *testing.T) {
	for _, c := range []struct{ in, out time.Time }{
		{time.Unix(0, 0), time.Unix(0, 0)},
		{time.Unix(-1, 999999999), time.Unix(-1, 999999999)},
		{time.Unix(-1<<31, 1), time.Unix(-1<<31, 1)},
		{time.Unix(-1<<31-1, 5), time.Unix(-1<<31, 0)},
		{time.Unix(1<<34-1<<31-1, 999999999), time.Unix(1<<34-1<<31-1, 999999999)},
		{time.Unix(1<<40, 0), time.Unix(1<<34-1<<31-1, 999999999)},
		{time.Time{}, time.Unix(-1<<31, 0)},
		{time.Unix(1_700_000_000, 123456789), time.Unix(1_700_000_000, 123456789)},
	} {
		if got := TimeOf(c.in).Time(); !got.Equal(c.out) {
			t.Errorf("%v: %v, want %v", c.in, got, c.out)
		}
	}
	var zero Time
	if zero.Time().Unix() != 0 || TimeOf(time.Unix(-5, 0)).Compare(zero) >= 0 || TimeOf(time.Unix(1<<33, 0)).Compare(zero) <= 0 {
		t.Error("order")
	}
}

func TestTree_xattrSetsAreShared(t *testing.T) {
	tr := New()
	a := must(tr.Add(Root, "a", regular(0)))
	b := must(tr.Add(Root, "b", regular(0)))
	tr.SetXattrs(a, []Xattr{{"user.b", []byte("2")}, {"user.a", []byte("1")}})
	tr.SetXattrs(b, []Xattr{{"user.a", []byte("0")}, {"user.b", []byte("2")}, {"user.a", []byte("1")}})
	if tr.XattrSet(a) != tr.XattrSet(b) || tr.XattrSet(a) == 0 {
		t.Errorf("sets %d and %d", tr.XattrSet(a), tr.XattrSet(b))
	}
	if list := tr.Xattrs(b); len(list) != 2 || list[0].Name != "user.a" || string(list[0].Value) != "1" {
		t.Errorf("%v", list)
	}
	tr.SetXattrs(b, nil)
	if tr.Xattrs(b) != nil || len(tr.Xattrs(a)) != 2 {
		t.Error("removal")
	}
}

func TestTree_content(t *testing.T) {
	tr := New()
	f := must(tr.Add(Root, "f", regular(5)))
	if spans, err := tr.Spans(f); err != nil || spans == nil || len(spans) != 0 {
		t.Errorf("a file without content: %v, %v", spans, err)
	}
	if b, err := tr.ReadFile(context.Background(), f, 5); err != nil || string(b) != "\x00\x00\x00\x00\x00" {
		t.Errorf("%q, %v", b, err)
	}
	if err := tr.SetContent(f, Bytes([]byte("hello, world"))); err != nil {
		t.Fatal(err)
	}
	if b, err := tr.ReadFile(context.Background(), f, 5); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	tr.Node(f).Size = 20
	if _, err := tr.ReadFile(context.Background(), f, 20); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("too short: %v", err)
	}
	if _, err := tr.ReadFile(context.Background(), f, 19); !errors.Is(err, ErrTooMany) {
		t.Errorf("too long: %v", err)
	}
}

// sparse is content with zeros that are not told as holes.
type sparse struct {
	b     []byte
	spans []Span
}

func (s sparse) Open() (File, error)    { return Bytes(s.b).Open() }
func (s sparse) Spans() ([]Span, error) { return s.spans, nil }

// spans makes spans of pairs of offset and length.
func spans(pairs ...int64) (list []Span) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, Span{Off: pairs[i], Len: pairs[i+1]})
	}
	return list
}

func TestTree_contentHoles(t *testing.T) {
	const k = 1 << 10
	b := make([]byte, 2048*k+100)
	b[100*k] = 1    // in the piece from 64k
	b[1000*k] = 1   // in the piece from 960k
	b[2048*k+1] = 1 // in the last
	tr := New()
	want := spans(64*k, 64*k, 960*k, 64*k, 2048*k, 100)
	for n, known := range [][]Span{nil, spans(100*k, 1, 101*k, 50*k, 1000*k, k, 2048*k, 100)} {
		f := must(tr.Add(Root, fmt.Sprint(n), regular(int64(len(b)))))
		if err := tr.SetContent(f, sparse{b, known}); err != nil {
			t.Fatal(err)
		}
		tr.contentHoles = true
		if got, err := tr.Spans(f); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v: %v, %v", known, got, err)
		}
		tr.contentHoles = false
		if got, err := tr.Spans(f); err != nil || !slices.Equal(got, known) {
			t.Errorf("without: %v, %v", got, err)
		}
	}
	tr.contentHoles = true
	small := must(tr.Add(Root, "small", regular(minHoles-1)))
	if got, err := tr.Spans(small); err != nil || got != nil {
		t.Errorf("small file: %v, %v", got, err)
	}
	full := must(tr.Add(Root, "full", regular(minHoles)))
	if err := tr.SetContent(full, Bytes(slices.Repeat([]byte{1}, minHoles))); err != nil {
		t.Fatal(err)
	}
	if got, err := tr.Spans(full); err != nil || got != nil {
		t.Errorf("full file: %v, %v", got, err)
	}
}
