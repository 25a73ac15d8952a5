package tree

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/xattr"
	"github.com/e4kit/e4kit/testimages"
)

// TestFromTar_extraction: what a tar program packs makes the same tree as what
// GNU tar extracts from it.
func TestFromTar_extraction(t *testing.T) {
	testimages.RequireTool(t, "tar", "gzip", "zstd", "xz", "bzip2")
	testimages.RequireRoot(t)
	src := fixture(t)
	for _, tt := range []struct {
		tool string
		args []string
		o    dumpOptions
	}{
		{"tar", []string{"--format=pax", "-S", "--xattrs", "--xattrs-include=*", "--acls"}, dumpOptions{}},
		{"tar", []string{"--format=pax", "--xattrs", "--xattrs-include=*", "--acls", "-z"}, dumpOptions{}},
		{"tar", []string{"--format=pax", "-S", "--sparse-version=0.1", "--zstd"}, dumpOptions{}},
		{"tar", []string{"--format=pax", "-S", "--sparse-version=0.0", "-j"}, dumpOptions{}},
		{"tar", []string{"--format=gnu", "-S", "-J"}, dumpOptions{}},
		{"tar", []string{"--format=oldgnu", "-S"}, dumpOptions{}},
		{"tar", []string{"--format=ustar", "--exclude=long", "--exclude=hello", "--exclude=hard"}, dumpOptions{}},
		{"bsdtar", []string{"--format=pax", "--xattrs", "--acls"}, dumpOptions{}},
		{"bsdtar", []string{"--format=gnutar"}, dumpOptions{}},
	} {
		t.Run(strings.Join(append([]string{tt.tool}, tt.args...), " "), func(t *testing.T) {
			testimages.RequireTool(t, tt.tool)
			dir := testimages.Scratch(t)
			file, out := filepath.Join(dir, "x.tar"), filepath.Join(dir, "out")
			if err := os.Mkdir(out, 0o755); err != nil {
				t.Fatal(err)
			}
			args := []string{"-c", "-f", file, "-C", src}
			if tt.tool == "tar" {
				args = append(args, "--numeric-owner", "--warning=no-file-ignored")
			}
			testimages.Run(t, tt.tool, append(append(args, tt.args...), ".")...)
			testimages.Run(t, "tar", "-x", "-p", "-f", file, "-C", out, "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls")
			want := dump(t, loadAll(t, Options{}, Dir(out)), tt.o)
			o := Options{Warn: func(path string, err error) { t.Errorf("%s: %v", path, err) }, IDs: xattr.IDs{User: hostUser}}
			x := loadAll(t, o, Tar(file))
			if d := diff(want, dump(t, x, tt.o)); d != "" {
				t.Error(d)
			}
			in, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			if d := diff(want, dump(t, loadAll(t, o, TarReader(stream{in})), tt.o)); d != "" {
				t.Errorf("as a stream:\n%s", d)
			}
		})
	}
}

// hostUser finds a user of the host, as GNU tar does.
func hostUser(name string) (uint32, bool) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, false
	}
	id, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(id), err == nil
}
