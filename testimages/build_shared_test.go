package testimages

import (
	"os"
	"testing"
)

func TestBuildShared_builtOnce(t *testing.T) {
	RequireLoop(t)
	cache := Scratch(t)
	c := Case{Name: "shared", Size: 8 * mib, Mkfs: []string{"-b", "1024"}, Kernel: true,
		make: func(b *builder) error { return b.mkfs() }}
	first, err := buildShared(cache, c)
	if err != nil {
		t.Fatal(err)
	}
	was, err := os.Stat(first.Path)
	if err != nil {
		t.Fatal(err)
	}
	c.make = func(b *builder) error { t.Error("built twice"); return nil }
	second, err := buildShared(cache, c)
	if err != nil {
		t.Fatal(err)
	}
	is, err := os.Stat(second.Path)
	if err != nil || !os.SameFile(was, is) {
		t.Errorf("another file (%v)", err)
	}
	if d := Diff(first.Tree, second.Tree); d != "" || len(second.Tree) != 2 {
		t.Errorf("%d lines, %s", len(second.Tree), d)
	}
	if d := Diff(first.Stat, second.Stat); d != "" || len(second.Stat) != 2 {
		t.Errorf("%d lines, %s", len(second.Stat), d)
	}
	if err := Mounted(second.Path, "ro", func(string) error { return nil }); err != nil {
		t.Error(err)
	}
}
