package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/testimages"
)

// tree lists what is below a folder.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, path); rel != "." {
			list = append(list, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// TestCp_destinations has the rules of cp(1). The folder has "dir" (empty),
// "file", "tolink" -> file, "todir" -> dir, "dangling" -> nowhere.
func TestCp_destinations(t *testing.T) {
	dir, err := demo()
	if err != nil {
		t.Fatal(err)
	}
	img := filepath.Join(dir, "demo.img")
	for _, tt := range []struct {
		name string
		args string // IMG stands for the image
		code int
		new  string // what is there now, besides what was
		says string // on standard error
	}{
		{"file to new name", "IMG:/etc/fstab new", 0, "new", ""},
		{"file into directory", "IMG:/etc/fstab dir", 0, "dir/fstab", ""},
		{"file into directory by slash", "IMG:/etc/fstab dir/", 0, "dir/fstab", ""},
		{"file into linked directory", "IMG:/etc/fstab todir", 0, "dir/fstab", ""},
		{"file to new name with slash", "IMG:/etc/fstab new/", 1, "", "not a directory"},
		{"file into missing directory", "IMG:/etc/fstab no/new", 1, "", "no such file"},
		{"file over file", "IMG:/etc/fstab file", 0, "", ""},
		{"file through link", "IMG:/etc/fstab tolink", 0, "", ""},
		{"file through dangling link", "IMG:/etc/fstab dangling", 1, "", "dangling"},
		{"files into directory", "IMG:/etc/fstab IMG:/etc/passwd dir", 0, "dir/fstab dir/passwd", ""},
		{"files to file", "IMG:/etc/fstab IMG:/etc/passwd file", 1, "", "not a directory"},
		{"files to nothing", "IMG:/etc/fstab IMG:/etc/passwd new", 1, "", "no such file"},
		{"glob into directory", "IMG:/etc/*s* dir", 0, "dir/fstab dir/passwd dir/shadow", ""},
		{"glob to nothing", "IMG:/etc/*s* new", 1, "", "no such file"},
		{"same name twice", "IMG:/etc/fstab IMG:/etc/../etc/fstab dir", 3, "dir/fstab", "just made"},
		{"directory without -r", "IMG:/etc new", 1, "", "without -r"},
		{"directory to new name", "-r IMG:/dev/../etc new", 0, "new new/fstab new/passwd new/shadow", ""},
		{"directory into directory", "-r IMG:/etc dir", 0, "dir/etc dir/etc/fstab dir/etc/passwd dir/etc/shadow", ""},
		{"directory with slash", "-r IMG:/etc/ dir", 0, "dir/etc dir/etc/fstab dir/etc/passwd dir/etc/shadow", ""},
		{"content into directory", "-r IMG:/etc/. dir", 0, "dir/fstab dir/passwd dir/shadow", ""},
		{"content to new name", "-r IMG:/etc/. new", 0, "new new/fstab new/passwd new/shadow", ""},
		{"content by dot dot", "-r IMG:/home/ada/.. dir", 0, "dir/ada dir/ada/empty dir/ada/notes dir/ada/notes/Überblick.txt", ""},
		{"directory over file", "-r IMG:/etc file", 1, "", "cannot overwrite"},
		{"-T over directory", "-rT IMG:/etc dir", 0, "dir/fstab dir/passwd dir/shadow", ""},
		{"-T file over directory", "-T IMG:/etc/fstab dir", 1, "", "cannot overwrite the directory"},
		{"-T with several", "-T IMG:/etc/fstab IMG:/etc/passwd dir", 2, "", "-T"},
		{"-t", "-t dir IMG:/etc/fstab IMG:/etc/passwd", 0, "dir/fstab dir/passwd", ""},
		{"-t missing", "-t new IMG:/etc/fstab", 1, "", "no such file"},
		{"-t and -T", "-T -t dir IMG:/etc/fstab", 2, "", "exclude"},
		{"link without -r", "IMG:/bin/ls new", 0, "new", ""},
		{"link to directory without -r", "IMG:/bin new", 1, "", "without -r"},
		{"link with -r", "-r IMG:/bin new", 0, "new", ""},
		{"link with -rH", "-rH IMG:/usr/src/shell new", 0, "new", ""},
		{"link with -P", "-P IMG:/bin dir", 0, "dir/bin", ""},
		{"inode into directory", "IMG:<40> dir", 0, "dir/#40", ""},
		{"device without -a", "-r IMG:/dev dir", 3, "dir/dev dir/dev/log", "device nodes are left out"},
		{"partly", "IMG:/nope IMG:/etc/fstab dir", 3, "dir/fstab", "/nope: no such file"},
		{"one left of two", "IMG:/nope IMG:/etc/fstab new", 1, "", "no such file"},
		{"no source", "IMG:/nope new", 1, "", "no such file"},
		{"one argument", "IMG:/etc/fstab", 2, "", "missing argument"},
		{"bad sparse", "--sparse=maybe IMG:/etc/fstab new", 2, "", "--sparse"},
		{"bad preserve", "--preserve=colour IMG:/etc/fstab new", 2, "", "colour"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			before := "dangling dir file todir tolink"
			os.Mkdir("dir", 0o755)
			os.WriteFile("file", []byte("old"), 0o644)
			os.Symlink("file", "tolink")
			os.Symlink("dir", "todir")
			os.Symlink("nowhere", "dangling")
			r := e4kit(append([]string{"cp"}, strings.Fields(strings.ReplaceAll(tt.args, "IMG", img))...)...)
			if r.code != tt.code {
				t.Errorf("exit %d, want %d: %s", r.code, tt.code, r.stderr)
			}
			if !strings.Contains(r.stderr, tt.says) || tt.says == "" && r.stderr != "" {
				t.Errorf("says %q, want %q", r.stderr, tt.says)
			}
			want := strings.Fields(before + " " + tt.new)
			slices.Sort(want)
			if got := tree(t, "."); !slices.Equal(got, want) {
				t.Errorf("there is %q, want %q", got, want)
			}
		})
	}
}

func TestCp_followsAndReplaces(t *testing.T) {
	inDemo(t)
	dest := t.TempDir()
	must := func(r result) {
		t.Helper()
		if r.code != 0 {
			t.Fatal(r)
		}
	}
	want := e4kit("cat", "demo.img:/usr/bin/ls").stdout
	must(e4kit("cp", "demo.img:/bin/ls", filepath.Join(dest, "ls")))
	if got, _ := os.ReadFile(filepath.Join(dest, "ls")); string(got) != want {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
	// -n leaves it alone, without -n it is replaced.
	os.WriteFile(filepath.Join(dest, "ls"), []byte("mine"), 0o644)
	must(e4kit("cp", "-n", "demo.img:/bin/ls", dest))
	if got, _ := os.ReadFile(filepath.Join(dest, "ls")); string(got) != "mine" {
		t.Error("-n replaced a file")
	}
	must(e4kit("cp", "demo.img:/bin/ls", dest))
	if got, _ := os.ReadFile(filepath.Join(dest, "ls")); string(got) != want {
		t.Error("the file was not replaced")
	}
	// -L follows links inside the tree.
	must(e4kit("cp", "-rL", "demo.img:/usr/bin", filepath.Join(dest, "bin")))
	if info, err := os.Lstat(filepath.Join(dest, "bin", "zcat")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("zcat: %v %v", info, err)
	}
}

func TestCp_stdout(t *testing.T) {
	inDemo(t)
	want := e4kit("cat", "demo.img:/etc/fstab", "demo.img:/etc/passwd")
	got := e4kit("cp", "demo.img:/etc/fstab", "demo.img:/etc/passwd", "-")
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if r := e4kit("cp", "-r", "demo.img:/etc", "-"); r.code != exitFailed || !strings.Contains(r.stderr, "e4kit tar") {
		t.Error(r)
	}
}

func TestCp_verboseAndJSON(t *testing.T) {
	inDemo(t)
	dest := t.TempDir()
	r := e4kit("cp", "-rv", "-j1", "demo.img:/home", dest)
	want := "'demo.img:/home' -> '" + filepath.Join(dest, "home") + "'\n"
	if r.code != 0 || !strings.HasPrefix(r.stdout, want) || strings.Count(r.stdout, "\n") != 5 {
		t.Errorf("%v, want first %q", r, want)
	}
	r = e4kit("cp", "-r", "--json", "demo.img:/home", dest)
	var sum cpRecord
	if err := json.Unmarshal([]byte(r.stdout), &sum); err != nil || sum.Files != 5 || sum.Bytes != 2500 || sum.Failed != 0 {
		t.Errorf("%v: %+v, %v", r, sum, err)
	}
	r = e4kit("cp", "-r", "--json", "demo.img:/dev", dest)
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	var final finalError
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &final); err != nil || final.Error.Exit != exitPartly ||
		final.Error.Failed != 2 || len(final.Error.Errors) != 2 || final.Error.Kind != "partly" {
		t.Errorf("%v: %+v, %v", r, final, err)
	}
}

// TestCp_archive compares a copy of the demo image with what the kernel said
// of it.
func TestCp_archive(t *testing.T) {
	testimages.RequireRoot(t)
	inDemo(t)
	dest := filepath.Join(testimages.Scratch(t), "new")
	if r := e4kit("cp", "-a", "demo.img:/", dest); r.code != 0 || r.stderr != "" {
		t.Fatal(r)
	}
	compareDemo(t, dest)
}

// compareDemo compares a tree with the demo image's manifest.
func compareDemo(t *testing.T, dir string) {
	t.Helper()
	got, err := testimages.ManifestDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(demoDir, testimages.DemoManifest))
	if err != nil {
		t.Fatal(err)
	}
	if diff := testimages.Diff(testimages.ParseManifest(string(text)), got); diff != "" {
		t.Errorf("copy differs (-want +got):\n%s", diff)
	}
}

func TestCp_interrupted(t *testing.T) {
	inDemo(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dest := t.TempDir()
	r := world{ctx: ctx}.run("cp", "-a", "demo.img:/", filepath.Join(dest, "new"))
	if r.code != exitInterrupted {
		t.Error(r)
	}
	for _, name := range tree(t, dest) {
		t.Errorf("left over: %s", name)
	}
}
