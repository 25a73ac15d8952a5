package main

import (
	"os"
	"testing"
)

func TestParseFSSize(t *testing.T) {
	for _, tt := range []struct {
		text  string
		block int
		want  int64
	}{
		{"1", 0, 1024}, {"100", 4096, 409600}, {"100", 1024, 102400},
		{"3s", 0, 1536}, {"3S", 4096, 1536}, {"1K", 0, 1024}, {"1k", 4096, 1024}, {"5M", 0, 5 << 20}, {"2G", 4096, 2 << 30},
		{"1T", 0, 1 << 40}, {"16t", 0, 16 << 40}, {"1GiB", 0, 1 << 30}, {"1GB", 0, 1e9}, {"8388607T", 0, 8388607 << 40},
	} {
		if got, err := parseFSSize(tt.text, tt.block); err != nil || got != tt.want {
			t.Errorf("%q with blocks of %d: %d, want %d (%v)", tt.text, tt.block, got, tt.want, err)
		}
	}
	for _, text := range []string{"", "0", "0s", "s", "x", "-1", "+1", "1.5G", "1Ks", "G", "9223372036854775807", "8388608T", "1 G", "0G"} {
		if got, err := parseFSSize(text, 0); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func TestCutTag(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("with:colon", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ arg, path, tag string }{
		{"layout", "layout", ""}, {"layout:latest", "layout", "latest"}, {"./a:b/layout", "./a:b/layout", ""},
		{"a/layout:3.22", "a/layout", "3.22"}, {"with:colon", "with:colon", ""}, {"with:colon:tag", "with:colon", "tag"},
		{"with:colon:host:5000/name:1.2", "with:colon", "host:5000/name:1.2"}, {"", "", ""},
	} {
		if path, tag := cutTag(tt.arg); path != tt.path || tag != tt.tag {
			t.Errorf("%q: %q and %q, want %q and %q", tt.arg, path, tag, tt.path, tt.tag)
		}
	}
}

func TestFormatByName(t *testing.T) {
	for name, want := range map[string]string{
		"a.img": "raw", "a": "raw", "a.simg": "android", "a.img.gz": "gz", "A.IMG.ZST": "zst", "gz": "raw", "/dev/sda": "raw",
	} {
		if got := formatByName(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
