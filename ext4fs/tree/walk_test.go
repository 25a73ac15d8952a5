package tree

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestKeepDirSymlinks lays directories over symbolic links to others, from
// every kind of source.
func TestKeepDirSymlinks(t *testing.T) {
	base := tarOf(t, tdir("usr"), tdir("usr/lib"), tdir("other"), tlink("lib64", "usr/lib"), tlink("bin", "/usr/bin"),
		tlink("loop", "loop"), tlink("out", "../../../usr/lib"), tlink("usr/top", "/"))
	var members []tar.Header
	host := t.TempDir()
	for _, name := range []string{
		"bin/", "bin/z", "lib64/", "lib64/deep/", "lib64/deep/x", "lib64/y", "loop/", "loop/l", "out/", "out/o", "usr/", "usr/top/", "usr/top/r",
	} {
		path := filepath.Join(host, filepath.FromSlash(name))
		err := error(nil)
		if name[len(name)-1] == '/' {
			members = append(members, tdir(name))
			err = os.Mkdir(path, 0o700)
		} else {
			members = append(members, tar.Header{Name: name})
			err = os.WriteFile(path, []byte(name), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	over := tarOf(t, members...)
	want := map[bool]string{
		true: "bin/|bin/z = bin/z|lib64 -> usr/lib|loop/|loop/l = loop/l|other/|out -> ../../../usr/lib|r = usr/top/r|" +
			"usr/|usr/lib/|usr/lib/deep/|usr/lib/deep/x = lib64/deep/x|usr/lib/o = out/o|usr/lib/y = lib64/y|usr/top -> /",
		false: "bin/|bin/z = bin/z|lib64/|lib64/deep/|lib64/deep/x = lib64/deep/x|lib64/y = lib64/y|loop/|loop/l = loop/l|other/|" +
			"out/|out/o = out/o|usr/|usr/lib/|usr/top/|usr/top/r = usr/top/r",
	}
	for kind, source := range map[string]func() Source{
		"tar": func() Source { return TarReader(bytes.NewReader(over)) },
		"dir": func() Source { return Dir(host) },
		"fs":  func() Source { return FS(os.DirFS(host)) },
	} {
		for keep, want := range want {
			x := loadAll(t, Options{KeepDirSymlinks: keep}, TarReader(bytes.NewReader(base)), source())
			if got := names(t, x); got != want {
				t.Errorf("%s, keep %v:\n%s, want\n%s", kind, keep, got, want)
			}
			if lib, ok := x.LookupPath("usr/lib"); !ok || x.Node(lib).Mode&0o777 != 0o750 {
				t.Errorf("%s, keep %v: the directory behind the link has other attributes now", kind, keep)
			}
		}
	}
}
